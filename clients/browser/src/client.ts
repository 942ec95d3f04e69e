import { hasCode, isEnd, refusal } from "./error.ts";
import { type Call, Rotation } from "./rotation.ts";
import { Tab } from "./tab.ts";
import { Turns } from "./turns.ts";
import type * as api from "./types.ts";
import { bounded, isRefused, REFUSALS, read, unanswered, until } from "./wire.ts";

/** Runs a request of the service within its time, and under the lock where it touches cookies. */
type Run = <T>(request: (signal: AbortSignal) => Promise<T>) => Promise<T>;

/** The service, as one tab of a browser sees it. The tabs of one origin share a sign-in. */
export class Client {
  readonly #base: string;
  readonly #fetch: typeof globalThis.fetch;
  readonly #timeoutMs: number;
  readonly #origins: readonly (string | undefined)[];
  readonly #tab: Tab;
  readonly #rotation: Rotation;
  #learning: Promise<api.User> | undefined;
  #hearing: AbortController | undefined;

  constructor(options: api.ClientOptions) {
    const page = globalThis.location;
    const url = new URL(options.baseUrl, page?.href);
    this.#base = url.href.replace(/\/+$/, "");
    // The browser's own refuses to be called as a method of something else.
    this.#fetch = (input, init) => (options.fetch ?? globalThis.fetch)(input, init);
    this.#timeoutMs = options.timeout ?? 20_000;
    this.#origins = [page?.origin, url.origin, ...(options.origins ?? [])];
    const name = `keyward ${this.#base}`;
    this.#tab = new Tab(name, stateOf(options), () => this.#learn());
    const turns = new Turns(name, this.#timeoutMs, this.#tab);
    const canRead = page?.hostname === url.hostname;
    const csrfCookie = () => canRead && readCookie(options.csrfCookie ?? "csrfToken");
    this.#rotation = new Rotation(this.#tab, turns, this.#call, csrfCookie);
  }

  /** Who is signed in, as far as is known now. */
  get state(): api.State {
    return this.#tab.state;
  }

  /**
   * Calls back whenever somebody signs in or out, in whichever tab, and when the user has changed.
   * Returns a function that ends this.
   */
  onChange(listener: (state: api.State) => void): () => void {
    this.#open();
    return this.#tab.subscribe(listener);
  }

  /** Hears nothing more of the other tabs: for tests, and for modules that are replaced. */
  close(): void {
    this.#tab.close();
    // It stays set, so that what is still under way does not open it again.
    this.#hearing ??= new AbortController();
    this.#hearing.abort();
  }

  /** Makes an account and signs it in, or only sends a mail where the service wants that first. */
  async register(account: {
    readonly email: string;
    readonly password: string;
    readonly name?: string;
  }): Promise<api.SignedIn | api.MailSent> {
    const answer = await this.#send<SignInAnswer>("POST", "/register", account, this.#signIn);
    return signedIn(answer) ?? { status: "mail-sent" };
  }

  /** Signs in, or says which second factor is asked for. */
  async login(credentials: {
    readonly email: string;
    readonly password: string;
  }): Promise<api.SignedIn | api.MfaRequired> {
    const answer = await this.#send<SignInAnswer>("POST", "/login", credentials, this.#signIn);
    const { mfaToken = "", methods = [], expiresIn } = answer;
    return signedIn(answer) ?? { status: "mfa-required", mfaToken, methods, expiresIn };
  }

  /** Signs in with the second factor that `login` asked for. */
  async loginMfa(factor: api.SecondFactor): Promise<api.SignedIn> {
    const answer = await this.#send<SignInAnswer>("POST", "/login/mfa", factor, this.#signIn);
    return signedIn(answer) as api.SignedIn;
  }

  /**
   * Signs out, in all tabs at once. Rejects where the service cannot be told now; then it is told
   * before anything else that would sign in again.
   */
  logout(): Promise<void> {
    this.#open();
    return this.#rotation.signOut();
  }

  /** Signs out everywhere, and answers how many sessions ended. */
  async logoutAll(): Promise<number> {
    const end = this.#ending("logout_all");
    const answer = this.#api<{ revokedSessions: number }>("POST", "/logout-all", undefined, end);
    return (await answer).revokedSessions;
  }

  /** Who is signed in, by the word of the service; `null` is nobody. Call it when a page starts. */
  async user(): Promise<api.User | null> {
    // Though nobody was signed in a moment ago.
    this.#tab.end = undefined;
    return this.#learn().catch((error) => {
      if (isEnd(error)) return null;
      throw error;
    });
  }

  /** Changes what people may change about themselves; `null` removes the name. */
  async updateUser(change: { readonly name: string | null }): Promise<api.User> {
    return this.#show(await this.#api<api.SignedIn>("PATCH", "/me", change));
  }

  /** Deletes the account with all its sessions. */
  async deleteUser(password: string): Promise<void> {
    await this.#api("DELETE", "/me", { password }, this.#ending("user_deleted"));
  }

  /** The user's live sessions, and those that ended in the last 30 days. */
  sessions(): Promise<{ sessions: api.Session[]; ended: api.EndedSession[] }> {
    return this.#api("GET", "/sessions");
  }

  /** Ends one of the user's sessions. */
  async endSession(id: string): Promise<void> {
    await this.#api("DELETE", `/sessions/${encodeURIComponent(id)}`);
  }

  /** Sets another password. Every other session ends; this device gets a new one. */
  async changePassword(currentPassword: string, newPassword: string): Promise<void> {
    await this.#api("POST", "/password/change", { currentPassword, newPassword }, this.#signIn);
  }

  /** Has a mail sent to whoever has forgotten the password. Says nothing about the account. */
  async forgotPassword(email: string): Promise<void> {
    await this.#send("POST", "/password/forgot", { email });
  }

  /** Sets a password with the token of a mail. Every session of the user ends. */
  async resetPassword(token: string, newPassword: string): Promise<void> {
    await this.#send("POST", "/password/reset", { token, newPassword });
  }

  /** Confirms the address with the token of a mail. */
  async verifyEmail(token: string): Promise<api.User> {
    return this.#show(await this.#send<api.SignedIn>("POST", "/email/verify", { token }));
  }

  /** Calls any route of the service that needs a sign-in, with its path below the base URL. */
  request<T>(method: string, path: string, body?: unknown): Promise<T> {
    return this.#api(method, path, body);
  }

  /**
   * `fetch` with the access token, for the page's origin, the service and the listed `origins`. A
   * token that has expired is replaced first, one that is refused once. Rejects with a
   * `KeywardError` where nobody is signed in or no token is to be had now; else it does what
   * `fetch` does.
   */
  readonly fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const given: Given = input instanceof Request ? input : { url: String(input) };
    const target = {
      url: given.url,
      method: init?.method ?? given.method,
      signal: init?.signal ?? given.signal,
    };
    const go = ({ headers, ...others }: api.Pass) => {
      const request = new Request(given.clone?.() ?? input, { ...init, ...others });
      for (const [name, value] of Object.entries(headers)) request.headers.set(name, value);
      return this.#fetch(request);
    };
    const pass = await this.pass(target);
    const answer = await go(pass);
    // A stream is used up by the first request.
    if (init?.body instanceof ReadableStream || !(await isRefused(answer))) return answer;
    return go(await this.pass({ ...target, refused: pass }));
  };

  /**
   * The headers that prove who asks, for requests that are made by other means than `fetch`.
   * Rejects where somebody else has signed in since the request was begun.
   */
  async pass({
    url,
    method = "GET",
    signal,
    refused,
    user = refused ? refused.user : (this.state as Partial<api.SignedIn>).user?.id,
  }: api.PassFor): Promise<api.Pass> {
    this.#open();
    const { origin } = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    if (!this.#origins.includes(origin)) {
      throw new TypeError(`${origin}: list it in "origins".`);
    }
    let grant = await until(this.#rotation.grant(refused?.turn), signal);
    const isRead = ["GET", "HEAD", "OPTIONS"].includes(method);
    // A page reads at once for whom it was rendered, and changes nothing before that is confirmed.
    if (user && !(grant.user ? grant.user.id === user : isRead && this.#tab.initial === user)) {
      if (!grant.user) await until(this.#learn(), signal);
      grant = this.#tab.grant ?? grant;
      if (user !== grant.user?.id) {
        throw refusal("NO_TOKEN", "Somebody else is signed in.");
      }
    }
    const { accessToken, csrfToken, turn } = grant;
    // Not the cookie's, which may be somebody else's by now: the service compares them.
    const csrf = isRead ? {} : { "X-CSRF-Token": csrfToken };
    return {
      headers: accessToken ? { Authorization: `Bearer ${accessToken}` } : csrf,
      ...(!accessToken && { credentials: "include" }),
      turn,
      // As soon as that is known: another try is made for nobody else.
      get user() {
        return user ?? grant.user?.id;
      },
    };
  }

  /** A call that needs one: once more with another token, where the first one was refused. */
  async #api<T>(method: string, path: string, body?: unknown, run?: Run, user?: string) {
    const target = { url: this.#base + path, method, user };
    const go = ({ headers }: api.Pass) => this.#send<T>(method, path, body, run, headers);
    const pass = await this.pass(target);
    try {
      return await go(pass);
    } catch (error) {
      if (!hasCode(error, ...REFUSALS)) throw error;
      return go(await this.pass({ ...target, refused: pass }));
    }
  }

  /** A call that needs no sign-in, or comes with the proof of one. */
  #send<T>(
    method: string,
    path: string,
    body: unknown,
    run: Run = (request) => bounded(this.#timeoutMs, request),
    proof = {},
  ): Promise<T> {
    const headers = body === undefined ? proof : { "Content-Type": "application/json", ...proof };
    const init = { method, headers, body: JSON.stringify(body) };
    return run((signal) => this.#call(path, { ...init, signal }).then(read<T>));
  }

  readonly #call: Call = (path, init) =>
    this.#fetch(this.#base + path, { credentials: "include", ...init }).catch((error) => {
      // An abort stays an abort.
      throw init.signal?.aborted ? error : unanswered("NETWORK", { cause: error });
    });

  readonly #signIn: Run = (request) => {
    this.#open();
    return this.#rotation.signIn(request);
  };

  #ending(reason: api.EndReason): Run {
    return (request) => this.#rotation.end(reason, request);
  }

  #learn(): Promise<api.User> {
    this.#learning ??= this.#me().finally(() => {
      this.#learning = undefined;
    });
    return this.#learning;
  }

  /** Asks anew where somebody else has signed in before the answer came. */
  async #me(): Promise<api.User> {
    this.#open();
    const grant = await this.#rotation.grant();
    // Whoever it is.
    const { user } = await this.#api<api.SignedIn>("GET", "/me", undefined, undefined, "");
    return this.#tab.know(user, grant) ? user : this.#me();
  }

  /** What a user has changed is shown in all tabs, unless somebody else is signed in by now. */
  #show({ user }: api.SignedIn): api.User {
    const { grant } = this.#tab;
    if (grant?.user?.id === user.id) this.#tab.know(user, grant);
    return user;
  }

  /** Hears the other tabs and the browser. A page that is rendered on a server never gets here. */
  #open(): void {
    if (this.#hearing) return;
    this.#hearing = new AbortController();
    this.#tab.listen();
    const { signal } = this.#hearing;
    const on = globalThis.addEventListener;
    on?.("online", () => this.#rotation.resume(), { signal });
    // A page that comes back from the browser's cache has missed what the other tabs said.
    on?.("pageshow", ({ persisted }) => persisted && this.user().catch(() => {}), { signal });
  }
}

type Given = Partial<Request> & { readonly url: string };

interface SignInAnswer {
  readonly user?: api.User;
  readonly mfaToken?: string;
  readonly methods?: readonly string[];
  readonly expiresIn: number;
}

function stateOf({ initial }: api.ClientOptions): api.State {
  if (!initial) return { status: "unknown" };
  return signedIn(initial) ?? { status: "signed-out" };
}

function signedIn({ user }: { readonly user?: api.User | null }): api.SignedIn | undefined {
  return user ? { status: "signed-in", user } : undefined;
}

/** The cookie of this name, under whichever prefix the service gives it. */
function readCookie(name: string): string | undefined {
  const named = new RegExp(`(?:^|; )(?:__Host-|__Secure-)?${name}=([^;]+)`);
  return named.exec(globalThis.document?.cookie)?.[1];
}
