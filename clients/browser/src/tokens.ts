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
export function grantOf(tokens: Tokens, turn: number, age: () => number): Grant {
  return { ...tokens, turn, left: () => tokens.expiresIn - age() / 1000 };
}

/** Whether a request that leaves now arrives in time: 5 seconds are left, or a tenth of all. */
export function isGood({ left, expiresIn }: Grant): boolean {
  return left() > Math.min(5, expiresIn / 10);
}

/** Whether it is time for another one, so that no request waits for it: a minute, or a fifth. */
export function isDue({ left, expiresIn }: Grant): boolean {
  return left() < Math.min(60, expiresIn / 5);
}

/** Whether an answer is one of the service, and not a page that a network put in its place. */
export function areTokens(answer: unknown): answer is Tokens {
  const { expiresIn, csrfToken } = (answer ?? {}) as Partial<Tokens>;
  return typeof expiresIn === "number" && typeof csrfToken === "string";
}
