import { sleep, stopwatch } from "./clock.ts";
import { endReason, hasCode, isEnd, isTransient, KeywardError } from "./error.ts";
import type { Tab } from "./tab.ts";
import { areTokens, type Grant, isDue, isGood } from "./tokens.ts";
import type { RefreshTurn, Turn, Turns } from "./turns.ts";
import type { EndReason } from "./types.ts";
import { read } from "./wire.ts";

/** Sends a request to a route of the service, with the cookies. */
export type Call = (path: string, init: RequestInit) => Promise<Response>;

/** The browser's part in the rotation of the refresh token, and in whatever touches cookies. */
export class Rotation {
  readonly #tab: Tab;
  readonly #turns: Turns;
  readonly #call: Call;
  readonly #csrfCookie: () => string | undefined;
  #renewal: Promise<Grant> | undefined;
  /** The last try's error, for as long as the client rests after it. */
  #rest: (() => unknown) | undefined;
  #failures = 0;

  /** `csrfCookie` reads the cookie, where this page can. */
  constructor(tab: Tab, turns: Turns, call: Call, csrfCookie: () => string | undefined) {
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
    return this.#turns.take(async (turn) => {
      const age = stopwatch();
      const answer = await request(turn.signal);
      if (areTokens(answer)) {
        await this.#turns.settle(turn);
        this.#tab.adopt(answer, turn, age);
        this.resume();
      }
      return answer;
    });
  }

  /** Sends a request that ends the session where it succeeds. */
  end<T>(reason: EndReason, request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#turns.take(async (turn) => {
      const answer = await request(turn.signal);
      await this.#turns.settle(turn);
      this.#tab.finish(turn, reason);
      return answer;
    });
  }

  /**
   * Signs out: in all tabs at once, and at the service as soon as it can be reached. Rejects where
   * that is not now; then the next refresh of any tab sees to it first.
   */
  signOut(): Promise<void> {
    return this.#turns.take(async (turn) => {
      const csrf = this.csrf();
      this.#tab.finish(turn, "logout");
      await this.#leave(turn, csrf);
    }, true);
  }

  /** The CSRF token, where it is known without asking. */
  csrf(): string | undefined {
    return this.#csrfCookie() ?? this.#tab.grant?.csrfToken;
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
        const restMs = this.#restMs(error);
        if (tries === TRIES_MAX || restMs > REST_WITHIN_MAX_MS) {
          const since = stopwatch();
          this.#rest = () => (since() < restMs ? error : undefined);
          throw error;
        }
        await sleep(restMs);
      }
    }
  }

  /** Half of it is left to chance, so that not all tabs and browsers come back at once. */
  #restMs({ retryAfter = 0 }: KeywardError): number {
    const rest = Math.min(REST_MAX_MS, REST_MIN_MS * 2 ** this.#failures++);
    return retryAfter * 1000 + rest * (0.5 + Math.random() / 2);
  }

  async #exchange(signal: AbortSignal, refused?: number): Promise<Grant> {
    let hasRaced = false;
    for (const since = stopwatch(); ; await sleep(NEWS_POLL_MS)) {
      // Another tab may have been faster; messages are not, always.
      const held = this.#held(refused);
      if (held) return held;
      if (this.#tab.end) throw this.#tab.end;
      const turn = await this.#turns.beginRefresh(signal, since() < NEWS_MAX_MS);
      try {
        if (turn) return await this.#refresh(turn);
      } catch (error) {
        if (hasRaced || !hasCode(error, "REFRESH_RACE")) throw error;
        // Once more, with what the cookie jar holds by then.
        hasRaced = true;
      }
    }
  }

  async #refresh(turn: RefreshTurn): Promise<Grant> {
    if (turn.leaving) {
      await this.#leave(turn);
      this.#tab.finish(turn, "logout");
      throw this.#tab.end;
    }
    const age = stopwatch();
    try {
      const headers = { "Idempotency-Key": turn.key };
      const answer = await this.#post("/refresh", turn, this.csrf(), headers);
      if (!areTokens(answer)) throw new KeywardError("UNEXPECTED_ANSWER", { status: 200 });
      await this.#turns.settle(turn);
      return this.#tab.adopt(answer, turn, age);
    } catch (error) {
      if (hasCode(error, "REFRESH_RACE") || isEnd(error)) await this.#turns.settle(turn);
      if (isEnd(error)) this.#tab.finish(turn, endReason(error), error);
      throw error;
    }
  }

  async #leave(turn: Turn, csrf = this.csrf()): Promise<void> {
    try {
      await this.#post("/logout", turn, csrf);
    } catch (error) {
      // There is no session to end any more.
      if (!isEnd(error)) throw error;
    }
    await this.#turns.settle(turn);
  }

  /** Posts with the CSRF token; with the one that the service names, where that does not fit. */
  async #post(
    path: string,
    { signal }: Turn,
    csrf: string | undefined,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<unknown> {
    const post = async (csrf: string) => {
      const init = { method: "POST", signal, headers: { ...headers, "X-CSRF-Token": csrf } };
      return read(await this.#call(path, init));
    };
    try {
      if (csrf) return await post(csrf);
    } catch (error) {
      if (!hasCode(error, "CSRF_FAILED")) throw error;
    }
    const { csrfToken } = await read<{ csrfToken: string }>(await this.#call("/csrf", { signal }));
    return post(csrfToken);
  }
}

const NEWS_POLL_MS = 20;
const NEWS_MAX_MS = 1_000;

const TRIES_MAX = 3;
const REST_MIN_MS = 250;
const REST_MAX_MS = 60_000;

/** A longer rest is left to whoever asks next. */
const REST_WITHIN_MAX_MS = 3_000;
