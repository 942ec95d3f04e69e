// What is kept in memory is bounded, and what leaves it lets nothing in.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import { test } from "node:test";

import { type Claims, readClaims } from "../src/claims.ts";
import { localPath } from "../src/index.ts";
import { readJwkSet } from "../src/jwk.ts";
import { Pause } from "../src/remote/pause.ts";
import { Revocations } from "../src/revocations.ts";
import { isOwnRequest } from "../src/session/own-requests.ts";
import { readStrictObject } from "../src/strict-json.ts";
import { VerifiedTokens } from "../src/verified-tokens.ts";

const CLAIMS: Claims = Object.freeze({
  iss: "",
  aud: "",
  sub: "a user",
  client_id: "",
  sid: "a session",
  jti: "",
  iat: 1000,
  exp: 1900,
  auth_time: 1000,
  amr: [],
  roles: [],
  email: "",
  extra: {},
});

test("verified tokens are bounded, and those in use stay", () => {
  const verified = new VerifiedTokens(100);
  verified.insert("in use", CLAIMS);
  for (let at = 0; at < 10_000; at += 1) {
    verified.insert(`token ${at}`, CLAIMS);
    assert.ok(verified.find("in use"));
    assert.ok(verified.size <= 100);
  }
  assert.equal(verified.find("token 0"), undefined);
  const none = new VerifiedTokens(0);
  none.insert("a token", CLAIMS);
  assert.equal(none.find("a token"), undefined);
});

test("revocations leave once their tokens have expired, and not before", () => {
  const revocations = new Revocations(1000, 5);
  revocations.takeIn({ sid: CLAIMS.sid, exp: 1900 }, 1_000_000);
  revocations.takeIn({ sub: "another", exp: 1900, revokedAt: 1000 }, 1_000_000);
  revocations.hear(1_904_000);
  revocations.hear(1_904_000);
  assert.equal(revocations.size, 2);
  revocations.hear(1_940_000);
  revocations.hear(1_940_000);
  assert.equal(revocations.size, 0);
  // The clock is set back: the entry is gone, and its token is not good again.
  assert.equal(revocations.judge(CLAIMS).refusal, "TOKEN_EXPIRED");
  assert.ok(revocations.judge({ ...CLAIMS, exp: 1901 }).claims);
});

test("many revocations leave within a few words of the service", () => {
  const revocations = new Revocations(100_000, 0);
  for (let at = 0; at < 100_000; at += 1) revocations.takeIn({ sid: `${at}`, exp: 10 }, 0);
  assert.equal(revocations.takeIn({ sid: "one more", exp: 10 }, 0), false);
  assert.ok(revocations.takeIn({ sid: "5", exp: 10 }, 0));
  let words = 0;
  for (; revocations.size > 0; words += 1) revocations.hear(10_000);
  assert.ok(words < 1000, `${words}`);
});

test("a revocation that is told twice keeps the later of its times", () => {
  const revocations = new Revocations(10, 0);
  revocations.takeIn({ sub: "a user", exp: 3000, revokedAt: 1500 }, 0);
  revocations.takeIn({ sub: "a user", exp: 2000, revokedAt: 900 }, 0);
  assert.equal(revocations.judge(CLAIMS).refusal, "TOKEN_REVOKED");
  assert.ok(revocations.judge({ ...CLAIMS, iat: 1500 }).claims);
  assert.equal(revocations.size, 1);
});

test("a clock that was set back makes stale, not current", () => {
  const revocations = new Revocations(10, 0);
  assert.equal(revocations.stalenessMs(0), undefined);
  revocations.hear(100_000);
  assert.equal(revocations.stalenessMs(30_000), 70_000);
});

test("JSON that two readers could understand differently is none", () => {
  const read = (text: string) => readStrictObject(Buffer.from(text));
  const deep = (depth: number) => `{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
  const good = [
    '{"a":1}',
    ' {"a":{"a":[{"a":"a"},{"a":"\\\\"}]}} ',
    '{"a":"\\ud83d\\ude00"}',
    deep(127),
  ];
  const bad = [
    "[]",
    '"a"',
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"b":[{"a":1,"a" :2}]}',
    '{"a":"\\ud83d"}',
    '{"\\ude00":1}',
    '{"a":1e400}',
    '{"a":1} {}',
    '\ufeff{"a":1}',
    deep(128),
  ];
  for (const text of good) assert.ok(read(text), text);
  for (const text of bad) assert.equal(read(text), undefined, text);
  const numbers = read('{"a":1,"b":1.0,"c":1e3,"d":-0,"e":9223372036854775808,"f":[7],"g":"1"}');
  assert.deepEqual([...(numbers?.wholeNumbers ?? [])], [["a", 1]]);
  const named = read('{"__proto__":{"roles":["admin"]},"a":1}');
  assert.equal(Object.getPrototypeOf(named?.members), Object.prototype);
});

test("an RSA key of less than 3072 bits is none", () => {
  for (const [bits, fits] of [
    [2048, false],
    [3072, true],
  ] as const) {
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: bits });
    const { e = "", kty = "", n = "" } = publicKey.export({ format: "jwk" });
    const members = { e, kty, n };
    const kid = createHash("sha256").update(JSON.stringify(members)).digest("base64url");
    const set = JSON.stringify({ keys: [{ ...members, alg: "RS256", kid }] });
    assert.equal(readJwkSet(Buffer.from(set), ["RS256"]) !== undefined, fits, `${bits}`);
  }
});

test("claims are frozen at every depth", () => {
  const claims = {
    ...CLAIMS,
    sub: "01010101-0101-0101-0101-010101010101",
    sid: "02020202-0202-0202-0202-020202020202",
    roles: ["user"],
    tenant: { plans: ["free"] },
  };
  const { extra: _, ...written } = claims;
  const read = readClaims(Buffer.from(JSON.stringify(written)));
  assert.ok(read && Object.isFrozen(read) && Object.isFrozen(read.roles));
  const { tenant } = read.extra;
  assert.ok(Object.isFrozen(read.extra) && Object.isFrozen(tenant));
});

test("pauses grow to a bound, and differ", () => {
  const pause = new Pause();
  const waits = Array.from({ length: 40 }, () => pause.next());
  assert.ok(waits.every((wait) => wait >= 125 && wait <= 15_000));
  assert.ok(new Set(waits).size > 1);
  pause.reset();
  assert.ok(pause.next() <= 250);
});

test("only the app's own pages may change something", () => {
  const own = "https://notes.example.org";
  const sent = { method: "POST", origin: undefined, referer: undefined, site: undefined };
  const good = [
    sent,
    { ...sent, origin: own },
    { ...sent, referer: `${own}/page?a=b` },
    { ...sent, origin: "null", site: "same-origin" },
    { ...sent, method: "GET", origin: "https://evil.test", site: "cross-site" },
  ];
  const bad = [
    { ...sent, origin: "null" },
    { ...sent, origin: "https://evil.test" },
    { ...sent, origin: `${own}.evil.test` },
    { ...sent, origin: "http://notes.example.org" },
    { ...sent, referer: "https://evil.test/https://notes.example.org/" },
    { ...sent, referer: "no address" },
    { ...sent, origin: own, site: "cross-site" },
    { ...sent, site: "same-site" },
    { ...sent, method: "post", origin: "https://evil.test" },
    { ...sent, method: "BREW", origin: "https://evil.test" },
  ];
  for (const one of good) assert.ok(isOwnRequest(one, own), JSON.stringify(one));
  for (const one of bad) assert.ok(!isOwnRequest(one, own), JSON.stringify(one));
});

test("nobody is sent on to a foreign page", () => {
  for (const good of ["/", "/account?a=1", "/a//b"]) assert.equal(localPath(good), good);
  const bad = [
    "//evil.test",
    "/\\evil.test",
    "https://evil.test",
    "/\t/evil.test",
    "",
    undefined,
    ["/a"],
  ];
  for (const one of bad) assert.equal(localPath(one), "/", String(one));
});
