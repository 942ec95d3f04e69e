import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";

import { decodeBase64url } from "./base64url.ts";
import type { Algorithm } from "./policy.ts";
import { type Json, type JsonObject, readStrictObject } from "./strict-json.ts";

/** The largest key set that is looked at, in bytes: a hundred RSA keys and more. */
export const JWK_SET_BYTES_MAX = 64 * 1024;

/** A published key, with the only header that its tokens have. */
export interface VerifyingKey {
  /** What each of its tokens begins with: the encoded header, up to the first dot. */
  readonly header: string;
  /** Whether it signed this message. */
  verifies(message: string, signature: Buffer): boolean;
}

/**
 * Reads the keys of these algorithms from a set (RFC 7517). Keys of other algorithms are passed
 * over, so that a newer service may publish them.
 *
 * The id of a key must be its thumbprint (RFC 7638): then an id cannot come to stand for another
 * key, whoever writes the set. `undefined` where the text is no key set, where any key of it is
 * secret or comes twice, or where one of these algorithms does not fit it, is too short or is for
 * another use: half a set would refuse tokens that are good, without anybody knowing why.
 */
export function readJwkSet(
  text: Uint8Array,
  algorithms: readonly Algorithm[],
): VerifyingKey[] | undefined {
  const members = text.length <= JWK_SET_BYTES_MAX && readStrictObject(text)?.members["keys"];
  if (!Array.isArray(members)) return undefined;
  const keys = new Map<string, VerifyingKey>();
  for (const jwk of members as readonly Json[]) {
    // Whoever publishes a secret has made everybody a signer.
    if (!isObject(jwk) || SECRET_MEMBERS.some((name) => Object.hasOwn(jwk, name))) return undefined;
    const algorithm = algorithms.find((known) => known === jwk["alg"]);
    if (algorithm === undefined) continue;
    const key = readJwk(jwk, algorithm);
    if (!key || keys.has(key.header)) return undefined;
    keys.set(key.header, key);
  }
  return [...keys.values()];
}

function readJwk(jwk: JsonObject, algorithm: Algorithm): VerifyingKey | undefined {
  const members = FORMS[algorithm](jwk);
  if (!isForVerifying(jwk) || !members) return undefined;
  // The members are in the order of the alphabet, as the thumbprint wants them.
  const id = createHash("sha256").update(JSON.stringify(members)).digest("base64url");
  if (jwk["kid"] !== id) return undefined;
  const key = publicKey(members);
  if (!key) return undefined;
  const header = JSON.stringify({ alg: algorithm, kid: id, typ: "at+jwt" });
  const [digest, options] = algorithm === "EdDSA" ? [null, { key }] : ["sha256", fixed(key)];
  return {
    header: Buffer.from(header).toString("base64url"),
    verifies: (message, signature) => verify(digest, Buffer.from(message), options, signature),
  };
}

/** RFC 7517, sections 4.2 and 4.3. Neither member has to be there. */
function isForVerifying(jwk: JsonObject): boolean {
  const { use, key_ops: operations } = jwk;
  const signs = use === undefined || use === "sig";
  return signs && (operations === undefined || isListWith(operations, "verify"));
}

function isListWith(value: Json, item: string): boolean {
  return Array.isArray(value) && value.includes(item);
}

/** The members that the thumbprint covers, where they have the form of the algorithm's keys. */
const FORMS: Record<Algorithm, (jwk: JsonObject) => Record<string, string> | undefined> = {
  ES256: ({ crv, kty, x, y }) => {
    const fits = crv === "P-256" && kty === "EC" && isOf32Bytes(x) && isOf32Bytes(y);
    return fits ? { crv, kty, x, y } : undefined;
  },
  EdDSA: ({ crv, kty, x }) => {
    const fits = crv === "Ed25519" && kty === "OKP" && isOf32Bytes(x);
    return fits ? { crv, kty, x } : undefined;
  },
  // Small exponents have a history; the issuing service's is always this one.
  RS256: ({ e, kty, n }) => {
    const fits = e === "AQAB" && kty === "RSA" && isModulus(n);
    return fits ? { e, kty, n } : undefined;
  },
};

function isOf32Bytes(value: Json | undefined): value is string {
  return typeof value === "string" && decodeBase64url(value)?.length === 32;
}

function isModulus(value: Json | undefined): value is string {
  const bytes = typeof value === "string" ? decodeBase64url(value) : undefined;
  return (
    bytes !== undefined &&
    bytes.length >= RSA_BYTES_MIN &&
    bytes.length <= RSA_BYTES_MAX &&
    bytes[0] !== 0
  );
}

function publicKey(members: Record<string, string>): KeyObject | undefined {
  try {
    return createPublicKey({ key: members, format: "jwk" });
  } catch {
    // A point that is not on its curve, for one.
    return undefined;
  }
}

/** RFC 7518, section 3.4: the two numbers side by side. Without meaning to RSA. */
function fixed(key: KeyObject) {
  return { key, dsaEncoding: "ieee-p1363" as const };
}

function isObject(value: Json): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** What only a secret key has (RFC 7518, sections 6.2.2, 6.3.2 and 6.4). */
const SECRET_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

const RSA_BYTES_MIN = 3072 / 8;
const RSA_BYTES_MAX = 8192 / 8;
