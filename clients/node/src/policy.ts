/** What signs access tokens and has a public key (RFC 7518, section 3.1; RFC 8037). */
export type Algorithm = "ES256" | "EdDSA" | "RS256";

/**
 * What happens to tokens while it is unknown whether they were revoked: before the first word of
 * the issuing service, and once it has been silent for too long.
 *
 * - `failClosed`: they are refused with a 503 until it is known again.
 * - `acceptUntilExpiry`: they are accepted until they expire, as by any verifier that knows of no
 *   revocations. Those known to be revoked are refused all the same.
 */
export type WhenStale = "failClosed" | "acceptUntilExpiry";

/** What a service expects of the tokens that it accepts. */
export interface VerifyPolicy {
  /** Exactly the `iss` claim: `access_token.issuer` of the issuing service. */
  readonly issuer: string;
  /**
   * Exactly the `aud` claim: `access_token.audience` of the issuing service. The issuer if absent.
   */
  readonly audience: string;
  /** What a published key may sign with. ES256 and EdDSA if absent. */
  readonly algorithms: readonly Algorithm[];
  /** Tolerated difference between the clocks, for `exp` and `iat`: 5 seconds if absent. */
  readonly leewaySecs: number;
  /** For how long keys count after they were fetched: an hour, the longest life of a token. */
  readonly keysAgeMaxSecs: number;
  /**
   * How long the issuing service may be silent before its revocations count as unknown: a minute,
   * four times the interval at which it speaks.
   */
  readonly stalenessMaxSecs: number;
  /** What happens to tokens while revocations are unknown: `failClosed` if absent. */
  readonly whenStale: WhenStale;
  /** How many verified tokens are remembered: 10 000, of two kilobytes or three each. */
  readonly tokensMax: number;
  /**
   * How many revocations are held: 2 000 000, of some 100 bytes each. Past it they count as
   * unknown, since forgetting one would let its token in.
   */
  readonly revocationsMax: number;
}

/** A policy as an app writes it: what is left out has its default. */
export type VerifyPolicyInit = Pick<VerifyPolicy, "issuer"> & Partial<VerifyPolicy>;

/**
 * The policy with its defaults.
 *
 * @throws {TypeError} where a value cannot be meant, with a sentence that names it.
 */
export function verifyPolicy(init: VerifyPolicyInit): VerifyPolicy {
  const policy: VerifyPolicy = {
    audience: init.issuer,
    algorithms: ["ES256", "EdDSA"],
    leewaySecs: 5,
    keysAgeMaxSecs: 3600,
    stalenessMaxSecs: 60,
    whenStale: "failClosed",
    tokensMax: 10_000,
    revocationsMax: 2_000_000,
    ...init,
  };
  // A name that is missing in JavaScript would otherwise be a claim that is missing in a token.
  for (const name of ["issuer", "audience"] as const) {
    if (typeof policy[name] !== "string" || policy[name] === "") {
      throw new TypeError(`${name} must be the text that access_token.${name} is configured to`);
    }
  }
  const unknown = policy.algorithms.find((algorithm) => !ALGORITHMS.includes(algorithm));
  if (unknown !== undefined || policy.algorithms.length === 0) {
    throw new TypeError(`algorithms takes ${ALGORITHMS.join(", ")}; others have no public keys`);
  }
  if (policy.whenStale !== "failClosed" && policy.whenStale !== "acceptUntilExpiry") {
    throw new TypeError("whenStale is failClosed or acceptUntilExpiry");
  }
  for (const name of BOUNDS) {
    if (!Number.isFinite(policy[name]) || policy[name] < 0) {
      throw new TypeError(`${name} must be a number, and not negative`);
    }
  }
  return Object.freeze(policy);
}

const ALGORITHMS: readonly Algorithm[] = ["ES256", "EdDSA", "RS256"];

const BOUNDS = [
  "leewaySecs",
  "keysAgeMaxSecs",
  "stalenessMaxSecs",
  "tokensMax",
  "revocationsMax",
] as const;
