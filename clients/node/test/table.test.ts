// The table of cases that all verifiers share: what one refuses, each of them does.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { type Claims, type Revocation, Verifier } from "../src/index.ts";
import type { Algorithm } from "../src/policy.ts";

interface Case {
  readonly name: string;
  readonly token: string;
  readonly verdict: string;
  readonly claims?: Record<string, unknown>;
  readonly revocations?: readonly Revocation[];
  readonly now?: number;
  readonly fetchedAt?: number | null;
  readonly heardAt?: number | null;
  readonly algorithms?: readonly Algorithm[];
}

interface Table {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly Algorithm[];
  readonly leewaySecs: number;
  readonly stalenessMaxSecs: number;
  readonly keysAgeMaxSecs: number;
  readonly now: number;
  readonly fetchedAt: number;
  readonly heardAt: number;
  readonly keySet: object;
  readonly cases: readonly Case[];
  readonly sets: readonly { name: string; text: string; fits: boolean }[];
}

const TABLE: Table = JSON.parse(
  readFileSync(new URL("../../../tests/cases/access-tokens.json", import.meta.url), "utf8"),
);

test("every token of the table is judged as it says, the first time and the second", () => {
  assert.ok(TABLE.cases.length > 100);
  for (const one of TABLE.cases) {
    const { now = TABLE.now } = one;
    const verifier = verifierOf(one);
    for (let time = 0; time < 2; time += 1) {
      const verdict = verifier.verify(one.token, now * 1000);
      assert.equal(verdict.refusal ?? "ACCEPTED", one.verdict, one.name);
      if (verdict.claims) assert.deepEqual(flat(verdict.claims), one.claims, one.name);
    }
  }
});

test("every key set of the table is taken up or not, as it says", () => {
  for (const { name, text, fits } of TABLE.sets) {
    const verifier = new Verifier({ issuer: "a", algorithms: TABLE.algorithms });
    assert.equal(verifier.takeUpKeys(Buffer.from(text)), fits, name);
  }
});

function verifierOf(one: Case): Verifier {
  const { issuer, audience, leewaySecs, stalenessMaxSecs, keysAgeMaxSecs } = TABLE;
  const algorithms = one.algorithms ?? TABLE.algorithms;
  const bounds = { leewaySecs, stalenessMaxSecs, keysAgeMaxSecs };
  const verifier = new Verifier({ issuer, audience, algorithms, ...bounds });
  const fetchedAt = one.fetchedAt === undefined ? TABLE.fetchedAt : one.fetchedAt;
  if (fetchedAt !== null) {
    const keySet = Buffer.from(JSON.stringify(TABLE.keySet));
    assert.ok(verifier.takeUpKeys(keySet, fetchedAt * 1000));
  }
  const heardAt = one.heardAt === undefined ? TABLE.heardAt : one.heardAt;
  for (const revocation of one.revocations ?? []) {
    assert.ok(verifier.revocations.takeIn(revocation, (heardAt ?? TABLE.now) * 1000));
  }
  if (heardAt !== null) verifier.revocations.hear(heardAt * 1000);
  return verifier;
}

/** Claims as they stood in the token. */
function flat({ extra, ...claims }: Claims): Record<string, unknown> {
  return { ...claims, ...extra };
}
