import { type Json, readStrictObject, type StrictObject } from "./strict-json.ts";

/**
 * What an access token says (RFC 9068, section 2.2). Times are Unix seconds. Frozen at every depth.
 */
export interface Claims {
  /** Who issued it. */
  readonly iss: string;
  /** For whom. */
  readonly aud: string;
  /** The user's id. */
  readonly sub: string;
  /** The client it was issued to. */
  readonly client_id: string;
  /** The id of the session that it dies with. */
  readonly sid: string;
  /** Names this token. */
  readonly jti: string;
  /** When it was issued. */
  readonly iat: number;
  /** When it stops being accepted. */
  readonly exp: number;
  /** When the user proved who they are. */
  readonly auth_time: number;
  /** How they proved it (RFC 8176). */
  readonly amr: readonly string[];
  /** The user's roles when it was issued. */
  readonly roles: readonly string[];
  /** The user's address when it was issued. */
  readonly email: string;
  /** What the user record adds. */
  readonly extra: { readonly [name: string]: Json };
}

/** Reads signed JSON text; `undefined` unless every claim is there, of its type, and understood. */
export function readClaims(bytes: Uint8Array): Claims | undefined {
  const object = readStrictObject(bytes);
  if (!object) return undefined;
  const { iss, aud, sub, client_id, sid, jti, iat, exp, auth_time, amr, roles, email, ...extra } =
    object.members;
  const times = readTimes(object);
  const fits =
    [iss, aud, client_id, jti, email].every((claim) => typeof claim === "string") &&
    isId(sub) &&
    isId(sid) &&
    isTexts(amr) &&
    isTexts(roles) &&
    times !== undefined &&
    // What is never written is not understood either: `nbf`, `cnf` and the like restrict a token,
    // and ignoring a restriction would widen it.
    !NOT_UNDERSTOOD.some((name) => Object.hasOwn(extra, name));
  if (!fits) return undefined;
  const claims = { iss, aud, sub, client_id, sid, jti, ...times, amr, roles, email, extra };
  // Shared by all requests that present the token: no route may change them for another.
  return freeze(claims as Json) as unknown as Claims;
}

/** Whether this is an id in its only form: a lower-case UUID with hyphens. */
export function isId(value: unknown): value is string {
  return typeof value === "string" && ID.test(value);
}

function readTimes({ wholeNumbers }: StrictObject) {
  const [iat, exp, auth_time] = ["iat", "exp", "auth_time"].map((name) => wholeNumbers.get(name));
  if (iat === undefined || exp === undefined || auth_time === undefined) return undefined;
  return { iat, exp, auth_time };
}

function isTexts(value: Json | undefined): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function freeze(value: Json): Json {
  if (value !== null && typeof value === "object") {
    Object.values(value).forEach(freeze);
    Object.freeze(value);
  }
  return value;
}

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * Names with a meaning to verifiers that the issuing service never gives them (RFC 7519, section
 * 4.1).
 */
const NOT_UNDERSTOOD = ["nbf", "acr", "cnf", "scope", "typ"];
