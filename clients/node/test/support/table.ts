import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { type Revocation, Verifier } from "../../src/index.ts";
import type { Algorithm } from "../../src/policy.ts";

/** One token, and what a verifier answers. */
export interface Case {
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
  readonly keySet: { readonly keys: readonly object[] };
  readonly cases: readonly Case[];
  readonly sets: readonly { name: string; text: string; fits: boolean }[];
}

/** The table of cases that all verifiers share. */
export const TABLE: Table = JSON.parse(
  readFileSync(new URL("../../../../tests/cases/access-tokens.json", import.meta.url), "utf8"),
);

/** A verifier that knows what the case says, and follows nobody. */
export function verifierOf(one: Case): Verifier {
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
