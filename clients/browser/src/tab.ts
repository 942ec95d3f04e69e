import { KeywardError } from "./error.ts";
import { type Grant, grantOf, type Tokens } from "./tokens.ts";
import type { Turn } from "./turns.ts";
import type { EndReason, State, User } from "./types.ts";

/** What tabs tell each other. Only pages of this origin hear it, and nothing of it is stored. */
interface News {
  readonly turn: number;
  /** Without them a session has ended. */
  readonly tokens?: Tokens;
  readonly reason?: EndReason | undefined;
}

/** What one tab holds in memory: tokens, and who is signed in. */
export class Tab {
  readonly #name: string;
  readonly #learn: () => Promise<unknown>;
  readonly #listeners = new Set<(state: State) => void>();
  #state: State;
  #channel: BroadcastChannel | undefined;
  #turn = 0;
  /** The turn of the latest tokens: an end that came later is theirs. */
  #granted = 0;
  #grant: Grant | undefined;
  /** The session of which it is known whose it is: a CSRF token belongs to one session. */
  #known: string | undefined;
  #end: KeywardError | undefined;

  /** `learn` asks the service who is signed in, where tokens came without a user. */
  constructor(name: string, state: State, learn: () => Promise<unknown>) {
    this.#name = name;
    this.#state = state;
    this.#learn = learn;
  }

  get state(): State {
    return this.#state;
  }

  get grant(): Grant | undefined {
    return this.#grant;
  }

  /** Why nobody is signed in, where the service or the person said so. */
  get end(): KeywardError | undefined {
    return this.#end;
  }

  /** The latest turn that this tab knows what came of. */
  get turn(): number {
    return this.#turn;
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
    if (typeof BroadcastChannel === "undefined") return;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }: MessageEvent<News>) => this.#hear(data);
  }

  close(): void {
    this.#channel?.close();
    this.#channel = undefined;
    this.#listeners.clear();
  }

  /** Takes tokens up that a request was answered with, and hands them to the other tabs. */
  adopt(tokens: Tokens, { number }: Turn, age: () => number): Grant {
    const grant = grantOf(tokens, number, age);
    this.#take(grant);
    this.#hand(grant);
    return grant;
  }

  /** Forgets the session that has ended, in all tabs. */
  finish({ number }: Turn, reason?: EndReason, error?: KeywardError): void {
    this.#lose(number, reason, error);
    this.#channel?.postMessage({ turn: number, reason } satisfies News);
  }

  /**
   * The service said whose session it is: where that is news, it is news to all tabs. Answers
   * whether the tab is still in that session; of another one, this says nothing.
   */
  know(user: User, session = this.#known): boolean {
    const grant = this.#grant;
    if (!grant || grant.csrfToken !== session) return false;
    this.#known = session;
    if (this.#become({ status: "signed-in", user })) this.#hand({ ...grant, user });
    return true;
  }

  /** Asks the service again, though nobody was signed in a moment ago. */
  doubt(): void {
    this.#end = undefined;
  }

  #hear({ turn, tokens, reason }: News): void {
    // The cookies are of a later turn by now. Only why they are gone may come late: the tab that
    // was told is not always heard before the service, which says no more than that they are.
    if (turn < (tokens ? this.#turn : this.#granted)) return;
    if (tokens) this.#take(grantOf(tokens, turn));
    else this.#lose(turn, reason);
  }

  #hand({ left, turn, ...tokens }: Grant): void {
    this.#channel?.postMessage({ turn, tokens: { ...tokens, expiresIn: left() } } satisfies News);
  }

  #take(grant: Grant): void {
    const { user, csrfToken } = grant;
    this.#grant = grant;
    this.#turn = this.#granted = grant.turn;
    this.#end = undefined;
    if (user) {
      this.#known = csrfToken;
      this.#become({ status: "signed-in", user });
    } else if (this.#known !== csrfToken) this.#learn().catch(() => {});
  }

  #lose(turn: number, told?: EndReason, error?: KeywardError): void {
    // Whoever asks again learns less than the first: what is known already stays.
    const reason = told ?? (this.#state as { reason?: EndReason }).reason;
    const why = reason && { reason };
    this.#turn = Math.max(turn, this.#turn);
    this.#grant = this.#known = undefined;
    const message = "Nobody is signed in.";
    this.#end = error ?? new KeywardError("NO_REFRESH_TOKEN", { message, status: 401, ...why });
    this.#become({ status: "signed-out", ...why });
  }

  #become(state: State): boolean {
    if (JSON.stringify(state) === JSON.stringify(this.#state)) return false;
    this.#state = state;
    // Later, so that a listener that throws is reported and stops nothing here.
    for (const listener of this.#listeners) queueMicrotask(() => listener(state));
    return true;
  }
}
