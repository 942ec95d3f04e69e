import { decodeBase64url } from "./base64url.ts";
import { type Claims, readClaims } from "./claims.ts";
import { readJwkSet, type VerifyingKey } from "./jwk.ts";
import type { Misaddressed } from "./misaddressed.ts";
import type { VerifyPolicy } from "./policy.ts";
import { refuse, type Verdict } from "./refusal.ts";
import { VerifiedTokens } from "./verified-tokens.ts";

/** The longest token that is looked at, in characters. Larger ones do not fit a cookie either. */
export const TOKEN_BYTES_MAX = 4096;

/** The published keys that are trusted now, and the tokens that they were seen to have signed. */
export class Keys {
  readonly #policy: VerifyPolicy;
  readonly #misaddressed: Misaddressed;
  /** By the header of their tokens. */
  #keys: ReadonlyMap<string, VerifyingKey> = new Map();
  #verified: VerifiedTokens;
  #fetchedAt: number | undefined;

  constructor(policy: VerifyPolicy, misaddressed: Misaddressed) {
    this.#policy = policy;
    this.#misaddressed = misaddressed;
    this.#verified = new VerifiedTokens(policy.tokensMax);
  }

  /** Trusts the keys of this set from now on, and no others. False where it is no fitting set. */
  takeUp(set: Uint8Array, fetchedAt: number): boolean {
    const keys = readJwkSet(set, this.#policy.algorithms);
    // Whoever signs publishes a key: an empty set is somebody else's answer, or a broken one.
    if (!keys || keys.length === 0) return false;
    this.#fetchedAt = fetchedAt;
    const isSame = keys.length === this.#keys.size && keys.every((key) => this.has(key.header));
    if (!isSame) {
      this.#keys = new Map(keys.map((key) => [key.header, key]));
      // Nothing that a dropped key signed is remembered as good.
      this.#verified = new VerifiedTokens(this.#policy.tokensMax);
    }
    return true;
  }

  /** Verifies a token as far as its keys can tell. */
  verify(token: string, now: number): Verdict {
    const age = this.ageMs(now);
    if (age === undefined || age > this.#policy.keysAgeMaxSecs * 1000) {
      return refuse("STORE_UNAVAILABLE");
    }
    if (token.length > TOKEN_BYTES_MAX) return refuse("INVALID_TOKEN");
    const seen = this.#verified.find(token);
    const claims = seen ?? this.#verifySignature(token);
    if (!claims) return refuse("INVALID_TOKEN");
    const verdict = judge(claims, this.#policy, now);
    if (verdict.claims) {
      if (!seen) this.#verified.insert(token, claims);
    } else if (!isAddressed(claims, this.#policy)) {
      this.#misaddressed.note(claims, now);
    }
    return verdict;
  }

  /** Whether a key with this header is here. */
  has(header: string): boolean {
    return this.#keys.has(header);
  }

  /** How long ago they were fetched: a clock that was set back makes them old, not young. */
  ageMs(now: number): number | undefined {
    return this.#fetchedAt === undefined ? undefined : Math.abs(now - this.#fetchedAt);
  }

  /**
   * Looks up the presented header as a whole, before any cryptography. There is nothing to
   * negotiate, so `alg` confusion, `crit`, `jku`, `jwk`, `x5u` and `kid` tricks have nothing to act
   * on (RFC 8725).
   */
  #verifySignature(token: string): Claims | undefined {
    const [header = "", payload = "", signatureText, ...more] = token.split(".", 4);
    const key = this.#keys.get(header);
    if (!key || signatureText === undefined || more.length > 0) return undefined;
    // Canonical base64url only, so that one signature has one text.
    const signature = decodeBase64url(signatureText);
    if (!signature) return undefined;
    if (!key.verifies(`${header}.${payload}`, signature)) return undefined;
    const bytes = decodeBase64url(payload);
    return bytes && readClaims(bytes);
  }
}

/**
 * The id of the key that a token claims to be signed with, where its header has the form that ours
 * have. Nothing is proved by it: it is for whoever may have missed a new key.
 */
export function claimedKey(token: string): string | undefined {
  const end = token.length > TOKEN_BYTES_MAX ? -1 : token.indexOf(".");
  const bytes = end < 0 ? undefined : decodeBase64url(token.slice(0, end));
  return bytes && HEADER.exec(bytes.toString("latin1"))?.[1];
}

/** Judges claims whose signature was verified; runs on every use of a token that is remembered. */
function judge(claims: Claims, policy: VerifyPolicy, nowMs: number): Verdict {
  const now = Math.floor(nowMs / 1000);
  if (!isAddressed(claims, policy)) return refuse("INVALID_TOKEN");
  // A little ahead is a clock that was set back, or another node's; an honest user must not be told
  // that the token is not ours. A token from far ahead was made by no clock of ours.
  const latest = now + policy.leewaySecs + AHEAD_SECS_MAX;
  if (claims.iat > latest || claims.exp < claims.iat) return refuse("INVALID_TOKEN");
  return now >= claims.exp + policy.leewaySecs ? refuse("TOKEN_EXPIRED") : { claims };
}

function isAddressed({ iss, aud }: Claims, { issuer, audience }: VerifyPolicy): boolean {
  return iss === issuer && aud === audience;
}

/** How far ahead of the verifier's clock the issuer's may be, besides the leeway. */
const AHEAD_SECS_MAX = 60;

const HEADER = /^\{"alg":"(?:ES256|EdDSA|RS256|HS256)","kid":"([A-Za-z0-9_-]*)","typ":"at\+jwt"\}$/;
