import { createHmac } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import type { Api, ApiAnswer } from "./api.ts";
import type { CookieJar } from "./cookies.ts";
import { type BrowserRequest, type SignedOut, signedOut, type Unknown, unknown } from "./visit.ts";

/** What the exchange of a refresh token came to. */
export type Rotated =
  | {
      readonly accessToken: string;
      readonly setCookies: readonly string[];
      readonly not?: undefined;
    }
  | { readonly not: SignedOut | Unknown; readonly setCookies: readonly string[] };

/**
 * Exchanges refresh tokens, each once, however many requests come with it.
 *
 * In one process all of them wait for one exchange, and those that come a little later are given
 * what it came to. Processes converge by the Idempotency-Key: it is derived from a secret that all
 * of them know and from the token, so the service answers each of them with the same successor.
 */
export class Rotation {
  readonly #api: Api;
  readonly #jar: CookieJar;
  readonly #secret: string;
  /** By Idempotency-Key. */
  readonly #exchanges = new Map<string, { outcome: Promise<Rotated>; since: number }>();

  constructor(api: Api, jar: CookieJar, secret: string) {
    this.#api = api;
    this.#jar = jar;
    this.#secret = secret;
  }

  /** Exchanges the token, or joins whoever does. */
  rotate(refreshToken: string, csrfToken: string, browser: BrowserRequest): Promise<Rotated> {
    const key = createHmac("sha256", this.#secret).update(refreshToken).digest("base64url");
    // Whoever has another CSRF token does not share in what this one opens.
    const place = `${key} ${csrfToken}`;
    this.#forgetOld();
    const known = this.#exchanges.get(place);
    if (known) return known.outcome;
    const question = {
      method: "POST" as const,
      path: "/refresh",
      headers: {
        ...this.#jar.present({ refresh: refreshToken, csrf: csrfToken }),
        "X-CSRF-Token": csrfToken,
        "Idempotency-Key": key,
      },
    };
    const outcome = this.#exchange(() => this.#api.send(question, browser)).then((rotated) => {
      // What nobody could say is asked again by the next request.
      if (rotated.not?.status === "unknown") this.#exchanges.delete(place);
      return rotated;
    });
    this.#exchanges.set(place, { outcome, since: performance.now() });
    return outcome;
  }

  /**
   * Sends a second time where the answer was lost, or another one was a step ahead; not oftener.
   */
  async #exchange(send: () => Promise<ApiAnswer>): Promise<Rotated> {
    let answer = await send();
    if (answer.status === 0 || answer.status === 409 || answer.status >= 500) {
      await sleep(SECOND_TRY_AFTER_MS);
      answer = await send();
    }
    return this.#read(answer);
  }

  #read({ status, body, setCookies }: ApiAnswer): Rotated {
    const { code: writtenCode, reason: writtenReason, retryAfter } = body;
    const code = typeof writtenCode === "string" ? writtenCode : "STORE_UNAVAILABLE";
    if (status === 200) {
      const lines = this.#jar.adopt(setCookies);
      const { access, refresh } = this.#jar.valuesIn(lines);
      // Tokens in the body would have to be kept by somebody; see Sessions.
      if (!access || !refresh) return { not: unknown("INTERNAL"), setCookies: [] };
      return { accessToken: access, setCookies: lines };
    }
    if (status === 401 && ENDED.includes(code)) {
      const reason = typeof writtenReason === "string" ? writtenReason : undefined;
      // The browser may have signed in anew meanwhile, or changed its password: what it holds by
      // now is not for this answer to take, and dead cookies do no harm.
      const isOver = reason !== "superseded" && reason !== "password_changed";
      return { not: signedOut(code, reason), setCookies: isOver ? this.#jar.clear() : [] };
    }
    // The cookies do not belong together, or are not the service's; only signing in mends that.
    if (code === "CSRF_FAILED" || code === "NO_REFRESH_TOKEN") {
      return { not: signedOut(code), setCookies: [] };
    }
    const wait = typeof retryAfter === "number" ? retryAfter : undefined;
    return { not: unknown(code, wait), setCookies: [] };
  }

  #forgetOld(): void {
    const now = performance.now();
    // In the order in which they began.
    for (const [place, { since }] of this.#exchanges) {
      if (now - since < REMEMBERED_FOR_MS && this.#exchanges.size <= EXCHANGES_MAX) return;
      this.#exchanges.delete(place);
    }
  }
}

/**
 * The only words by which a session is over; whatever else is answered may come from in between.
 */
const ENDED = [
  "INVALID_REFRESH_TOKEN",
  "REFRESH_TOKEN_REUSED",
  "SESSION_EXPIRED",
  "SESSION_REVOKED",
];

const SECOND_TRY_AFTER_MS = 150;

/**
 * For requests that left the browser before it had the new cookies. Far shorter than the service's
 * `retry_window`, so that an exchange that is forgotten here can be asked for again.
 */
const REMEMBERED_FOR_MS = 15_000;

const EXCHANGES_MAX = 10_000;
