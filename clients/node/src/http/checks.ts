import type { Refusal } from "../refusal.ts";
import { Seldom, WARN_EVERY_MS, warn } from "../seldom.ts";
import type { Verifier } from "../verifier.ts";
import { Caller, type RecentAuth } from "./caller.ts";
import { type Denial, deny } from "./denial.ts";
import { bearer } from "./request-headers.ts";

/** A request goes on with its caller, or is answered with a denial. */
export type Passage =
  | { readonly caller: Caller; readonly denial?: undefined }
  | { readonly caller?: undefined; readonly denial: Denial };

/** What a request must have for each check: pairs of name and value, as Node received them. */
export type RawHeaders = readonly string[];

/** Who is calling, by the `Authorization` header. Never rejects. */
export async function findCaller(verifier: Verifier, rawHeaders: RawHeaders): Promise<Passage> {
  const presented = bearer(rawHeaders);
  if (!("token" in presented)) return { denial: deny(presented.code, rawHeaders) };
  const verdict = await verifier.authenticate(presented.token);
  if (verdict.claims) return { caller: new Caller(verdict.claims) };
  return { denial: deny(verdict.refusal satisfies Refusal, rawHeaders) };
}

/** Checks that somebody is calling who has one of the roles; `undefined` where all is well. */
export function checkRole(
  caller: Caller | undefined,
  roles: readonly string[],
  rawHeaders: RawHeaders,
): Denial | undefined {
  if (!caller) return unguarded("requireRole", rawHeaders);
  const mayPass = roles.some((role) => caller.hasRole(role));
  return mayPass ? undefined : deny("INSUFFICIENT_PERMISSIONS", rawHeaders);
}

/** Checks that somebody is calling whose sign-in is recent and strong enough. */
export function checkRecentAuth(
  caller: Caller | undefined,
  recent: RecentAuth,
  rawHeaders: RawHeaders,
): Denial | undefined {
  if (!caller) return unguarded("requireRecentAuth", rawHeaders);
  return caller.hasSignedIn(recent) ? undefined : deny("REAUTHENTICATION_REQUIRED", rawHeaders);
}

/**
 * The denial by a check with nothing before it that finds out who is there: the app's own mistake.
 * Whoever runs the app is told what is missing.
 */
export function unguarded(check: keyof typeof MISSING, rawHeaders: RawHeaders): Denial {
  if (UNGUARDED_WARNED[check].take()) {
    warn(`${check} lets nobody through: put ${MISSING[check]} before it`);
  }
  return deny("INTERNAL", rawHeaders);
}

/**
 * The roles as they were written.
 *
 * @throws {TypeError} where there is none: nobody would have it.
 */
export function someRoles(roles: readonly string[]): readonly string[] {
  if (roles.length === 0) throw new TypeError("requireRole takes one role or more");
  return roles;
}

/**
 * The policy as it was written.
 *
 * @throws {TypeError} where the age is no number, with which every sign-in or none would do.
 */
export function someRecentAuth(recent: RecentAuth): RecentAuth {
  if (!(recent.maxAgeSecs >= 0))
    throw new TypeError("requireRecentAuth takes maxAgeSecs, a number");
  return recent;
}

const OF_A_CALLER =
  "authenticate(verifier), or both readSession(sessions) and requireSignIn(path),";

const MISSING = {
  requireRole: OF_A_CALLER,
  requireRecentAuth: OF_A_CALLER,
  requireSignIn: "readSession(sessions)",
} as const;

const UNGUARDED_WARNED = {
  requireRole: new Seldom(WARN_EVERY_MS),
  requireRecentAuth: new Seldom(WARN_EVERY_MS),
  requireSignIn: new Seldom(WARN_EVERY_MS),
};
