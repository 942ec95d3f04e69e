import { stopwatch } from "./clock.ts";
import type { User } from "./types.ts";

/** What sign-in and refresh answer. In cookie delivery there is no access token. */
export interface Tokens {
  readonly accessToken?: string;
  /** Seconds. */
  readonly expiresIn: number;
  readonly csrfToken: string;
  /** Whose they are, as soon as that is known. */
  user?: User | undefined;
}

/** Tokens with their age. They are in memory only. */
export interface Grant extends Tokens {
  /** The request that they came with; counts up in all tabs together. */
  readonly turn: number;
  /** Seconds that are left; never more than the service would say. */
  readonly left: () => number;
}

/** `age` is a stopwatch from before the request left: the service counts from later on. */
export function grantOf(tokens: Tokens, turn: number, age = stopwatch()): Grant {
  return { ...tokens, turn, left: () => tokens.expiresIn - age() / 1000 };
}

/** Whether a request that leaves now arrives before the token expires. */
export function isGood(grant: Grant): boolean {
  return grant.left() > Math.min(GOOD_LEFT_SECS, grant.expiresIn * GOOD_LEFT_SHARE);
}

/** Whether it is time to look for another one, so that no request has to wait for it. */
export function isDue(grant: Grant): boolean {
  return grant.left() < Math.min(DUE_LEFT_SECS, grant.expiresIn * DUE_LEFT_SHARE);
}

/** Whether an answer is one of the service, and not a page that a network put in its place. */
export function areTokens(answer: unknown): answer is Tokens {
  const { expiresIn, csrfToken } = (answer ?? {}) as Partial<Tokens>;
  return typeof expiresIn === "number" && typeof csrfToken === "string";
}

const GOOD_LEFT_SECS = 5;
const GOOD_LEFT_SHARE = 0.1;
const DUE_LEFT_SECS = 60;
const DUE_LEFT_SHARE = 0.2;
