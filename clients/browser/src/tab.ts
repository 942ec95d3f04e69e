import { stopwatch } from "./clock.ts";
import { type KeywardError, refusal } from "./error.ts";
import type { Entry } from "./ledger.ts";
import { type Grant, grantOf, type Tokens } from "./tokens.ts";
import type { Turn } from "./turns.ts";
import type { EndReason, SignedIn, State, User } from "./types.ts";

/** What tabs tell each other. Only pages of this origin hear it, and nothing of it is stored. */
interface News {
  readonly turn: number;
  /** When it was told (Unix milliseconds): a tab that stood still hears it late. */
  readonly at?: number;
  /** Without them a session has ended. */
  readonly tokens?: Tokens;
  readonly reason?: EndReason | undefined;
}

/** What one tab holds in memory: tokens, and who is signed in. */
export class Tab {
  readonly #name: string;
  readonly #learn: () => Promise<unknown>;
  readonly #listeners = new Set<(state: State) => void>();
  /** Who is signed in, as far as is known. */
  state: State;
  /** Whom the page was rendered for, by id, until one session replaces another. */
  initial: string | undefined;
  grant: Grant | undefined;
  /** Why nobody is signed in, where the service or the person said so. */
  end: KeywardError | undefined;
  /** The latest turn that this tab knows what came of. */
  turn = 0;
  /** The turn of the latest tokens: an end that came later is theirs. */
  #granted = 0;
  #channel: BroadcastChannel | undefined;

  /** `learn` asks the service who is signed in, where tokens came without a user. */
  constructor(name: string, state: State, learn: () => Promise<unknown>) {
    this.#name = name;
    this.state = state;
    this.initial = (state as Partial<SignedIn>).user?.id;
    this.#learn = learn;
  }

  /** Calls back whenever somebody signs in or out, in whichever tab. */
  subscribe(listener: (state: State) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Hears the other tabs from here on. A page that is rendered on a server never gets here. */
  listen(): void {
    if (!globalThis.BroadcastChannel) return;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }: MessageEvent<News>) => this.#hear(data);
  }

  close(): void {
    this.#channel?.close();
    this.#channel = undefined;
    this.#listeners.clear();
  }

  /**
   * Takes tokens up that a request was answered with, and hands them to the other tabs. They are
   * not taken where somebody has signed out, or in, since it was sent.
   */
  adopt(tokens: Tokens, { turn }: Turn, age: () => number): void {
    if (turn < this.turn) return;
    const grant = grantOf(tokens, turn, age);
    // Without what is known already of the user: another tab may know it better.
    this.#hand(grant);
    this.#take(grant);
  }

  /** Forgets the session that has ended, in all tabs. */
  finish({ turn }: Entry, reason?: EndReason, error?: KeywardError): void {
    this.#lose(turn, reason, error);
    this.#channel?.postMessage({ turn, reason } satisfies News);
  }

  /**
   * The service said whose session it is: where that is news, it is news to all tabs. Answers
   * whether the tab is still in that session; of another one, this says nothing.
   */
  know(user: User, asked: Grant): boolean {
    const grant = this.grant;
    if (grant?.csrfToken !== asked.csrfToken) return false;
    grant.user = user;
    if (this.#become({ status: "signed-in", user })) this.#hand(grant);
    return true;
  }

  #hear({ turn, at, tokens, reason }: News): void {
    if (!tokens) this.#lose(turn, reason);
    // Else the cookies are of a later turn by now.
    else if (turn >= this.turn) this.#take(grantOf(tokens, turn, stopwatch(at)));
  }

  #hand({ left, turn, ...tokens }: Grant): void {
    const handed = { ...tokens, expiresIn: left() };
    this.#channel?.postMessage({ turn, at: Date.now(), tokens: handed } satisfies News);
  }

  #take(grant: Grant): void {
    // A CSRF token belongs to one session.
    if (this.grant?.csrfToken === grant.csrfToken) grant.user ??= this.grant.user;
    else if (this.turn) this.initial = undefined;
    const { turn, user } = grant;
    this.grant = grant;
    this.turn = this.#granted = turn;
    this.end = undefined;
    if (user) this.#become({ status: "signed-in", user });
    else this.#learn().catch(() => {});
  }

  #lose(turn: number, told?: EndReason, error?: KeywardError): void {
    // Somebody has signed in since. Only why the tokens are gone may come late: the tab that was
    // told is not always heard before the service, which says no more than that they are.
    if (turn < this.#granted) return;
    // Whoever asks again learns less than the first: what is known already stays.
    const reason = told ?? (this.state as { reason?: EndReason }).reason;
    const why = reason && { reason };
    this.turn = Math.max(turn, this.turn);
    this.grant = undefined;
    this.end = error ?? refusal("NO_REFRESH_TOKEN", "Nobody is signed in.", why);
    this.#become({ status: "signed-out", ...why });
  }

  #become(state: State): boolean {
    if (JSON.stringify(state) === JSON.stringify(this.state)) return false;
    this.state = state;
    // Later, so that a listener that throws is reported and stops nothing here.
    for (const listener of this.#listeners) queueMicrotask(() => listener(state));
    return true;
  }
}
