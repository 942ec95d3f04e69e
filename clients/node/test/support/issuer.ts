import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";

/** Signs tokens as the service does, with a key of its own. */
export class Issuer {
  readonly jwk: Record<string, string>;
  readonly #key = generateKeyPairSync("ec", { namedCurve: "P-256" });

  constructor() {
    const { crv = "", kty = "", x = "", y = "" } = this.#key.publicKey.export({ format: "jwk" });
    const members = { crv, kty, x, y };
    const kid = createHash("sha256").update(JSON.stringify(members)).digest("base64url");
    this.jwk = { ...members, alg: "ES256", use: "sig", kid };
  }

  /** A good token, but for what is given. */
  issue(claims: object = {}, header: object = {}): string {
    const now = Math.floor(Date.now() / 1000);
    const all = {
      iss: ISSUER,
      aud: ISSUER,
      sub: randomUUID(),
      client_id: "keyward",
      sid: randomUUID(),
      jti: randomUUID(),
      iat: now,
      exp: now + 900,
      auth_time: now,
      amr: ["pwd"],
      roles: ["user"],
      email: "ada@example.org",
      ...claims,
    };
    const { kid } = this.jwk;
    const signed = [{ alg: "ES256", kid, typ: "at+jwt", ...header }, all]
      .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
      .join(".");
    const key = { key: this.#key.privateKey, dsaEncoding: "ieee-p1363" as const };
    return `${signed}.${sign("sha256", Buffer.from(signed), key).toString("base64url")}`;
  }
}

/** The issuer of every token that is made here. */
export const ISSUER = "https://auth.example.org";
