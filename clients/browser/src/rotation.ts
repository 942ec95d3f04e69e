import { sleep, stopwatch } from "./clock.ts";
import { endReason, hasCode, isEnd, isTransient, type KeywardError } from "./error.ts";
import type { Tab } from "./tab.ts";
import { areTokens, type Grant, isDue, isGood, type Tokens } from "./tokens.ts";
import type { RefreshTurn, Turn, Turns } from "./turns.ts";
import type { EndReason } from "./types.ts";
import { read, unanswered } from "./wire.ts";

/** Sends a request to a route of the service, with the cookies. */
export type Call = (path: string, init: RequestInit) => Promise<Response>;

/** The browser's part in the rotation of the refresh token, and in whatever touches cookies. */
export class Rotation {
  readonly #tab: Tab;
  readonly #turns: Turns;
  readonly #call: Call;
  readonly #csrfCookie: () => string | undefined | false;
  #renewal: Promise<Grant> | undefined;
  /** The last try's error, for as long as the client rests after it. */
  #rest: (() => unknown) | undefined;
  #failures = 0;

  /** `csrfCookie` reads the cookie, where this page can. */
  constructor(tab: Tab, turns: Turns, call: Call, csrfCookie: () => string | undefined | false) {
    this.#tab = tab;
    this.#turns = turns;
    this.#call = call;
    this.#csrfCookie = csrfCookie;
  }

  /**
   * Tokens that are good for a request, other than those of the turn that was `refused`. Whoever
   * asks waits only where there are none; those that are about to expire are replaced meanwhile.
   */
  async grant(refused?: number): Promise<Grant> {
    const held = this.#held(refused);
    if (!held) return this.#renew(refused);
    if (isDue(held)) this.#renew(held.turn).catch(() => {});
    return held;
  }

  /** Sends a request that may be answered with tokens and cookies. */
  signIn<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#turns.take((turn) => this.#receive(turn, request));
  }

  /** Sends a request that ends the session where it succeeds. */
  end<T>(reason: EndReason, request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#turns.take(async (turn) => {
      const answer = await request(turn.signal);
      await this.#finish(turn, reason);
      return answer;
    });
  }

  /**
   * Signs out: in all tabs at once, and at the service as soon as it can be reached. Rejects where
   * that is not now; then the next refresh of any tab sees to it first.
   */
  async signOut(): Promise<void> {
    const csrf = this.#csrf();
    // All that is under way has a lower turn from here on, and what it is answered is too late.
    const wish = await this.#turns.begin();
    // Told as lower than it is, since it is not settled: a tab that cannot read the ledger for a
    // moment would take the wish in there for seen to, and write over it.
    this.#tab.finish({ turn: wish.turn - 0.5 }, "logout");
    return this.#turns.take(async (turn) => {
      // Another tab was faster, or somebody has signed in since.
      if (turn.leaving) await this.#leave(turn, csrf);
    }, wish.turn);
  }

  /** The CSRF token, where it is known without asking. */
  #csrf(): string | undefined {
    return this.#csrfCookie() || this.#tab.grant?.csrfToken;
  }

  /** Ends a rest after failures: something is different now. */
  resume(): void {
    this.#rest = undefined;
    this.#failures = 0;
  }

  #held(refused: number | undefined): Grant | undefined {
    const held = this.#tab.grant;
    return held && held.turn !== refused && isGood(held) ? held : undefined;
  }

  /** All who wait share one renewal; it outlives those who give up. */
  async #renew(refused: number | undefined): Promise<Grant> {
    const error = this.#tab.end ?? this.#rest?.();
    if (error) throw error;
    this.#renewal ??= this.#persist(refused).finally(() => {
      this.#renewal = undefined;
    });
    return this.#renewal;
  }

  /** Tries a few times, then rests: as long as the service asks for, and longer each time. */
  async #persist(refused: number | undefined): Promise<Grant> {
    for (let tries = 1; ; tries++) {
      try {
        const grant = await this.#turns.alone((signal) => this.#exchange(signal, refused));
        this.resume();
        return grant;
      } catch (error) {
        if (!isTransient(error)) throw error;
        const rest = Math.min(60_000, 250 * 2 ** this.#failures++);
        // Half of it is left to chance, so that not all tabs and browsers come back at once.
        const restMs = (error.retryAfter ?? 0) * 1000 + (rest * (1 + Math.random())) / 2;
        // A longer rest is left to whoever asks next.
        if (tries === 3 || restMs > 3_000) {
          const since = stopwatch();
          this.#rest = () => (since() < restMs ? error : undefined);
          throw error;
        }
        await sleep(restMs);
      }
    }
  }

  async #exchange(signal: AbortSignal, refused?: number): Promise<Grant> {
    let hasRaced = false;
    for (const since = stopwatch(); ; await sleep(20)) {
      // Another tab may have been faster; messages are not, always.
      const held = this.#held(refused);
      if (held) return held;
      if (this.#tab.end) throw this.#tab.end;
      const turn = await this.#turns.beginRefresh(signal, since() < 1_000);
      if (!turn) continue;
      try {
        await this.#refresh(turn);
        if (this.#tab.grant) return this.#tab.grant;
      } catch (error) {
        if (!hasCode(error, "REFRESH_RACE")) throw error;
        await this.#turns.settle(turn, true);
        if (hasRaced) throw error;
        // Once more, with what the cookie jar holds by then.
        hasRaced = true;
      }
    }
  }

  async #refresh(turn: RefreshTurn): Promise<void> {
    if (turn.leaving) return this.#leave(turn);
    try {
      const headers = { "Idempotency-Key": turn.key };
      const post = () => this.#post("/refresh", turn, headers);
      const answer = await this.#receive(turn, post, true);
      if (!areTokens(answer)) throw unanswered("UNEXPECTED_ANSWER", { status: 200 });
    } catch (error) {
      if (isEnd(error)) await this.#finish(turn, endReason(error), error);
      throw error;
    }
  }

  /** What a request is answered, after the tokens in it were taken up. */
  async #receive<T>(
    turn: Turn,
    request: (signal: AbortSignal) => Promise<T>,
    keepsWish?: boolean,
  ): Promise<T> {
    const age = stopwatch();
    const answer = await request(turn.signal);
    if (areTokens(answer)) {
      await this.#turns.settle(turn, keepsWish);
      this.#tab.adopt(answer, turn, age);
      this.resume();
    }
    return answer;
  }

  async #finish(turn: Turn, reason?: EndReason, error?: KeywardError): Promise<void> {
    await this.#turns.settle(turn);
    this.#tab.finish(turn, reason, error);
  }

  async #leave(turn: Turn, csrf?: string): Promise<void> {
    try {
      await this.#post("/logout", turn, {}, csrf);
    } catch (error) {
      // There is no session to end any more.
      if (!isEnd(error)) throw error;
    }
    await this.#finish(turn, "logout");
  }

  /** Posts with the CSRF token; with the one that the service names, where that does not fit. */
  async #post(
    path: string,
    { signal }: Turn,
    headers: Readonly<Record<string, string>>,
    csrf = this.#csrf(),
  ): Promise<unknown> {
    const post = (csrf: string) => {
      const init = { method: "POST", signal, headers: { ...headers, "X-CSRF-Token": csrf } };
      return this.#call(path, init).then(read);
    };
    try {
      if (csrf) return await post(csrf);
    } catch (error) {
      if (!hasCode(error, "CSRF_FAILED")) throw error;
    }
    const { csrfToken } = await this.#call("/csrf", { signal }).then(read<Tokens>);
    return post(csrfToken);
  }
}
