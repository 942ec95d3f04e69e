// When a signature is checked, over the table of cases that all verifiers share: never where that
// need not be, and always for a token that was not itself seen to be good.

import assert from "node:assert/strict";
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { mock, test } from "node:test";

import { type Case, TABLE, verifierOf } from "./support/table.ts";

test("no signature is checked that need not be", (t) => {
  const check = mock.method(crypto, "verify");
  syncBuiltinESMExports();
  t.after(() => {
    check.mock.restore();
    syncBuiltinESMExports();
  });
  const counts = { spared: 0, refused: 0, remembered: 0 };
  for (const one of TABLE.cases) {
    const verifier = verifierOf(one);
    const checks = () => {
      check.mock.resetCalls();
      verifier.verify(one.token, (one.now ?? TABLE.now) * 1000);
      return check.mock.callCount();
    };
    const isOurs = hasKeys(one) && isOfOurForm(one);
    assert.equal(checks(), isOurs ? 1 : 0, one.name);
    // What is remembered is good in itself; whether it was revoked is asked of it each time.
    const isRemembered = isOurs && !["INVALID_TOKEN", "TOKEN_EXPIRED"].includes(one.verdict);
    assert.equal(checks(), isOurs && !isRemembered ? 1 : 0, `${one.name}, again`);
    counts[isRemembered ? "remembered" : isOurs ? "refused" : "spared"] += 1;
  }
  const { spared, refused, remembered } = counts;
  assert.ok(spared > 350 && refused > 200 && remembered > 30, JSON.stringify(counts));
});

test("no other token passes for one that was seen before", () => {
  const goods = TABLE.cases.filter(({ name }) => name.endsWith(": good"));
  assert.equal(goods.length, 2);
  for (const good of goods) {
    const verifier = verifierOf(good);
    const verdict = (token: string) => verifier.verify(token, TABLE.now * 1000).refusal;
    assert.equal(verdict(good.token), undefined);
    const [header, payload = "", signature = ""] = good.token.split(".");
    const claims = { ...good.claims, roles: ["admin"] };
    const ofAdmin = Buffer.from(JSON.stringify(claims)).toString("base64url");
    const others = [`${header}.${ofAdmin}.${signature}`, `.${signature}`, signature];
    for (let at = 0; at < signature.length; at += 1) {
      const other = signature[at] === "A" ? "B" : "A";
      const changed = signature.slice(0, at) + other + signature.slice(at + 1);
      others.push(`${header}.${payload}.${changed}`);
    }
    for (const token of others) assert.equal(verdict(token), "INVALID_TOKEN", token);
    // The whole table, too, by one that remembers.
    for (const { name, token, verdict: expected, ...different } of TABLE.cases) {
      if (expected !== "INVALID_TOKEN" || "algorithms" in different) continue;
      assert.equal(verdict(token), "INVALID_TOKEN", name);
    }
    assert.equal(verdict(good.token), undefined);
  }
});

/** Whether the keys are not too old for this case. */
function hasKeys({ fetchedAt = TABLE.fetchedAt, now = TABLE.now }: Case): boolean {
  return fetchedAt !== null && Math.abs(now - fetchedAt) <= TABLE.keysAgeMaxSecs;
}

/** Three parts, not too long, under the very header of a key that counts, with bytes at the end. */
function isOfOurForm({ token, algorithms = TABLE.algorithms }: Case): boolean {
  const parts = token.split(".");
  const signature = Buffer.from(parts[2] ?? "", "base64url").toString("base64url");
  const keys = TABLE.keySet.keys as readonly { alg: string; kid: string }[];
  const headers = keys
    .filter(({ alg }) => algorithms.some((known) => known === alg))
    .map(({ alg, kid }) => JSON.stringify({ alg, kid, typ: "at+jwt" }))
    .map((header) => Buffer.from(header).toString("base64url"));
  const isShort = token.length <= 4096;
  return (
    isShort && parts.length === 3 && headers.includes(parts[0] ?? "") && signature === parts[2]
  );
}
