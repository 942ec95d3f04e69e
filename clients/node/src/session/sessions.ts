import { Caller } from "../http/caller.ts";
import type { Question } from "../remote/exchange.ts";
import type { Source } from "../remote/source.ts";
import type { Verifier } from "../verifier.ts";
import { Api, type ApiAnswer } from "./api.ts";
import { CookieJar, type CookieNames, type Cookies, readAppOrigin } from "./cookies.ts";
import { isObject, type Outcome, type Registration, refused, type SignIn } from "./outcomes.ts";
import { isOwnRequest, type SentBy } from "./own-requests.ts";
import { Rotation } from "./rotation.ts";
import { type BrowserRequest, signedOut, unknown, type Visit } from "./visit.ts";

/** How an app keeps its users signed in. */
export interface SessionsPolicy {
  /** The app's own origin, as browsers see it, such as `https://notes.example.org`. */
  readonly origin: string;
  /**
   * A secret of the app, 32 characters or more, that all of its processes share and nobody else
   * knows; `keyward secret` prints one. The Idempotency-Keys are derived from it.
   */
  readonly secret: string | undefined;
  /** The names of the service's cookies, where they are not those of its defaults. */
  readonly cookieNames?: CookieNames;
}

/**
 * Keeps the users of a server-rendered app signed in. The browser talks to the app alone, and the
 * app talks to the service: it verifies the access token of each request, exchanges the refresh
 * token when that has expired, and hands the new cookies on.
 *
 * The service must deliver access tokens in cookies (`access_token.delivery = "cookie"`), whose
 * retry window is made for it, and count the app among its `server.trusted_proxies`, since
 * otherwise limits would be shared by all users of the app.
 */
export class Sessions {
  readonly #verifier: Verifier;
  readonly #api: Api;
  readonly #jar: CookieJar;
  readonly #rotation: Rotation;
  readonly #origin: string;

  /** @throws {TypeError} where the policy is not safe. */
  constructor(verifier: Verifier, source: Source, policy: SessionsPolicy) {
    const { protocol, origin } = readAppOrigin(policy.origin);
    const { secret = "" } = policy;
    if (secret.length < SECRET_LENGTH_MIN) {
      throw new TypeError(
        `secret has less than ${SECRET_LENGTH_MIN} characters; try keyward secret`,
      );
    }
    const isSecure = protocol === "https:";
    this.#verifier = verifier;
    this.#api = new Api(source);
    this.#jar = new CookieJar(isSecure, policy.cookieNames);
    this.#rotation = new Rotation(this.#api, this.#jar, secret);
    this.#origin = origin;
  }

  /**
   * Whether a request may change something: it comes from the app's own pages, or from no browser.
   */
  isOwn(request: SentBy): boolean {
    return isOwnRequest(request, this.#origin);
  }

  /**
   * Finds out who is there, and exchanges the refresh token where that is due. Never rejects. The
   * lines of `setCookies` must go with the answer: they hold the only token that works from now on.
   */
  async read(browser: BrowserRequest): Promise<Visit> {
    const cookies = this.#jar.read(browser.cookie);
    const verdict = cookies.access
      ? await this.#verifier.authenticate(cookies.access)
      : { refusal: "NO_TOKEN" };
    if ("claims" in verdict && verdict.claims) {
      const visitor = { status: "signedIn" as const, caller: new Caller(verdict.claims) };
      return { visitor, setCookies: [], accessToken: cookies.access };
    }
    // Another token would fare no better.
    if (verdict.refusal === "STORE_UNAVAILABLE") return visitOf(unknown("STORE_UNAVAILABLE"));
    return this.#exchange(cookies, browser);
  }

  /** Signs in with an address and a password. Another sign-in of this browser ends. */
  signIn(
    credentials: { readonly email: string; readonly password: string },
    browser: BrowserRequest,
  ): Promise<SignIn> {
    const { email, password } = credentials;
    return this.#open("/login", { email, password }, browser);
  }

  /** Finishes a sign-in with a second factor. */
  signInWithCode(
    step: { readonly mfaToken: string } & (
      | { readonly code: string }
      | { readonly recoveryCode: string }
    ),
    browser: BrowserRequest,
  ): Promise<SignIn> {
    return this.#open("/login/mfa", step, browser);
  }

  /**
   * Makes an account and signs in. Where the service confirms addresses first
   * (`accounts.registration = "verified"`), it sends a mail instead, and signs nobody in.
   */
  async register(
    account: { readonly email: string; readonly password: string; readonly name?: string },
    browser: BrowserRequest,
  ): Promise<Registration> {
    const { email, password, name } = account;
    const body = name === undefined ? { email, password } : { email, password, name };
    const answer = await this.#post("/register", body, this.#jar.read(browser.cookie), browser);
    const { status, setCookies } = answer;
    return status === 202 ? { status: "mailSent", setCookies } : this.#opened(answer);
  }

  /** Has a mail sent to whoever has forgotten the password. Says nothing about the account. */
  forgotPassword(email: string, browser: BrowserRequest): Promise<Outcome> {
    return this.#ask("/password/forgot", { email }, browser);
  }

  /** Sets a password with the token of a mail. Every session of the user ends, and none begins. */
  resetPassword(
    reset: { readonly token: string; readonly newPassword: string },
    browser: BrowserRequest,
  ): Promise<Outcome> {
    const { token, newPassword } = reset;
    return this.#ask("/password/reset", { token, newPassword }, browser);
  }

  /** Confirms the address with the token of a mail; the `user` is in the `body`. */
  verifyEmail(token: string, browser: BrowserRequest): Promise<Outcome> {
    return this.#ask("/email/verify", { token }, browser);
  }

  /**
   * Signs out. The browser's cookies are gone in any case; `isEnded` is false where the service
   * could not be told, and a copy of them would work until it is.
   */
  async signOut(browser: BrowserRequest): Promise<{ isEnded: boolean; setCookies: string[] }> {
    const { refresh, csrf } = this.#jar.read(browser.cookie);
    const setCookies = this.#jar.clear();
    if (!refresh || !csrf) return { isEnded: true, setCookies };
    const headers = { ...this.#jar.present({ refresh, csrf }), "X-CSRF-Token": csrf };
    const question = { method: "POST" as const, path: "/logout", headers };
    const first = await this.#api.send(question, browser);
    // Signing out twice does no harm, and a lost answer leaves nobody in doubt.
    const answer = first.status === 0 ? await this.#api.send(question, browser) : first;
    return { isEnded: answer.status === 200 || answer.status === 401, setCookies };
  }

  /**
   * Asks the service in the name of whoever is signed in: `GET /me`, `GET /sessions` and the like;
   * paths are below its base path. A status of 0 is no answer.
   */
  async call(
    visit: Visit,
    question: {
      readonly method?: Question["method"];
      readonly path: string;
      readonly body?: object;
    },
    browser: BrowserRequest,
  ): Promise<ApiAnswer> {
    if (visit.accessToken === undefined) throw new Error("nobody is signed in; see visitor.status");
    const { device } = this.#jar.read(browser.cookie);
    const headers = {
      ...this.#jar.present({ device }),
      Authorization: `Bearer ${visit.accessToken}`,
    };
    const { method = "GET", path, body } = question;
    const text = body === undefined ? {} : { body: JSON.stringify(body) };
    const answer = await this.#api.send({ method, path, headers, ...text }, browser);
    return { ...answer, setCookies: this.#jar.adopt(answer.setCookies) };
  }

  async #exchange(cookies: Cookies, browser: BrowserRequest): Promise<Visit> {
    const { refresh, csrf } = cookies;
    if (!refresh || !csrf) return visitOf(signedOut());
    const rotated = await this.#rotation.rotate(refresh, csrf, browser);
    if (rotated.not) return visitOf(rotated.not, rotated.setCookies);
    const { accessToken, setCookies } = rotated;
    const { claims, refusal } = await this.#verifier.authenticate(accessToken);
    if (claims) {
      return {
        visitor: { status: "signedIn", caller: new Caller(claims) },
        setCookies,
        accessToken,
      };
    }
    // It ended in this very moment. The browser keeps the cookies that it has, which may be of a
    // session that took the place of this one; the next request tells.
    if (refusal === "TOKEN_REVOKED") return visitOf(signedOut(refusal));
    // The token is good and not understood here: the issuer or audience is configured otherwise, or
    // a clock is wrong, and nobody is to be signed out over it.
    return visitOf(unknown(refusal), setCookies);
  }

  async #open(path: string, body: object, browser: BrowserRequest): Promise<SignIn> {
    return this.#opened(await this.#post(path, body, this.#jar.read(browser.cookie), browser));
  }

  #opened(answer: ApiAnswer): SignIn {
    const { status, setCookies } = answer;
    const { user, mfaToken } = answer.body;
    if (typeof mfaToken === "string") return { status: "mfaRequired", mfaToken, setCookies };
    const isOpen = status === 200 || status === 201;
    if (!isOpen || !isObject(user)) return refused(answer);
    if (!this.#jar.valuesIn(setCookies).access) {
      throw new Error(
        'no access token came in a cookie: set access_token.delivery = "cookie" in the service, ' +
          "and cookieNames here where its cookies have other names",
      );
    }
    return { status: "signedIn", user, setCookies };
  }

  async #ask(path: string, body: object, browser: BrowserRequest): Promise<Outcome> {
    const { device } = this.#jar.read(browser.cookie);
    const answer = await this.#post(path, body, { device }, browser);
    if (answer.status !== 200 && answer.status !== 202) return refused(answer);
    return { status: "done", body: answer.body, setCookies: answer.setCookies };
  }

  /**
   * Sends what needs no sign-in, with what the browser carries: the refresh token names the session
   * that a sign-in takes the place of, and the device shows that it is no stranger's guess.
   */
  async #post(
    path: string,
    body: object,
    carried: Partial<Cookies>,
    browser: BrowserRequest,
  ): Promise<ApiAnswer> {
    const headers = this.#jar.present(carried);
    const question = { method: "POST" as const, path, headers, body: JSON.stringify(body) };
    const answer = await this.#api.send(question, browser);
    return { ...answer, setCookies: this.#jar.adopt(answer.setCookies) };
  }
}

function visitOf(visitor: Visit["visitor"], setCookies: readonly string[] = []): Visit {
  return { visitor, setCookies, accessToken: undefined };
}

const SECRET_LENGTH_MIN = 32;
