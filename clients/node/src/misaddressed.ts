import type { Claims } from "./claims.ts";
import type { VerifyPolicy } from "./policy.ts";
import { Seldom, WARN_EVERY_MS, warn } from "./seldom.ts";

/**
 * Good tokens for somebody else: as a rule a mistake in the policy, which nothing else shows.
 *
 * Whoever presents such a token is told that it is not valid, and no more. Whoever operates the
 * verifier is told once a minute what is wrong, without the token.
 */
export class Misaddressed {
  readonly #policy: VerifyPolicy;
  readonly #warned = new Seldom(WARN_EVERY_MS);
  #trouble: string | undefined;

  constructor(policy: VerifyPolicy) {
    this.#policy = policy;
  }

  /** What is wrong, from the first such token until one is accepted. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Notes the claims of a token that a key of the service signed, and that is not for us. */
  note(claims: Claims, now: number): void {
    if (!this.#warned.take(now)) return;
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
