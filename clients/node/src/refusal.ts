import type { Claims } from "./claims.ts";

/**
 * Why a token was not accepted, by the code that clients of the issuing service know.
 *
 * - `TOKEN_EXPIRED`: it was good until it expired; refresh and try again.
 * - `INVALID_TOKEN`: it is no token of ours. Which check failed is not told, so that it cannot be
 *   probed.
 * - `TOKEN_REVOKED`: its session, or its user, was revoked.
 * - `STORE_UNAVAILABLE`: nobody can say at this moment, since keys or revocations are missing or
 *   too old. The token may be good, so its bearer is not signed out over it.
 */
export type Refusal = "TOKEN_EXPIRED" | "INVALID_TOKEN" | "TOKEN_REVOKED" | "STORE_UNAVAILABLE";

/** What comes of verifying a token. */
export type Verdict =
  | { readonly claims: Claims; readonly refusal?: undefined }
  | { readonly claims?: undefined; readonly refusal: Refusal };

/** A verdict without claims. */
export function refuse(refusal: Refusal): Verdict {
  return { refusal };
}
