import type { Keys } from "./keys.ts";
import type { VerifyPolicy } from "./policy.ts";
import { Seldom, WARN_EVERY_MS, warn } from "./seldom.ts";

/**
 * Good tokens for somebody else: as a rule a mistake in the policy, which nothing else shows.
 *
 * Whoever presents such a token is told that it is not valid, and no more. Whoever operates the
 * verifier is told once a minute what is wrong, without the token. Junk cannot make this dear: one
 * token a second is looked at, for one check of a signature.
 */
export class Misaddressed {
  readonly #keys: Keys;
  readonly #policy: VerifyPolicy;
  readonly #looked = new Seldom(LOOK_EVERY_MS);
  readonly #warned = new Seldom(WARN_EVERY_MS);
  #trouble: string | undefined;

  constructor(keys: Keys, policy: VerifyPolicy) {
    this.#keys = keys;
    this.#policy = policy;
  }

  /** What is wrong, from the first such token until one is accepted. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Looks at a token that was refused, unless another one was looked at just now. */
  lookAt(token: string, now: number): void {
    if (!this.#warned.isDue(now) || !this.#looked.take(now)) return;
    const claims = this.#keys.misaddressed(token);
    if (!claims) return;
    this.#warned.take(now);
    const { issuer, audience } = this.#policy;
    const [iss, aud, ownIssuer, ownAudience] = [claims.iss, claims.aud, issuer, audience].map(
      (text) => JSON.stringify(text),
    );
    this.#trouble =
      `a token of the service is refused: it is by issuer ${iss} for audience ${aud}, and this ` +
      `verifier expects ${ownIssuer} and ${ownAudience}; see VerifyPolicy`;
    warn(this.#trouble);
  }

  /** Notes that a token was accepted. */
  accept(): void {
    this.#trouble = undefined;
  }
}

const LOOK_EVERY_MS = 1000;
