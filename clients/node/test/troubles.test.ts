// Mistakes in an app's settings, and how whoever runs it learns of them.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";

import { Source, Verifier } from "../src/index.ts";
import { ISSUER, Issuer } from "./support/issuer.ts";
import { Publisher } from "./support/publisher.ts";
import { warningsWith } from "./support/warnings.ts";

const issuer = new Issuer();
const publisher = await Publisher.start();
publisher.publish(issuer.jwk);
after(() => publisher.stop());

test("tokens for somebody else are told of, without what is in them", async () => {
  const verifier = current();
  const iss = `http://${randomUUID()}.test`;
  const claims = { iss, aud: "the audience", email: "ada@example.org", sub: randomUUID() };
  const begin = Date.now();
  for (let at = 0; at < 50; at += 1) {
    assert.equal(verifier.verify(issuer.issue(claims), begin + at).refusal, "INVALID_TOKEN");
  }
  const [warning = "", ...more] = await warningsWith(iss);
  assert.deepEqual(more, []);
  assert.equal(verifier.status().tokenTrouble, warning);
  for (const told of [`issuer "${iss}"`, 'audience "the audience"', `expects "${ISSUER}"`]) {
    assert.ok(warning.includes(told), warning);
  }
  for (const kept of [claims.email, claims.sub, "eyJ"]) {
    assert.ok(!warning.includes(kept), warning);
  }
  // Once a minute, for as long as they come.
  verifier.verify(issuer.issue(claims), begin + 59_000);
  assert.equal((await warningsWith(iss)).length, 1);
  verifier.verify(issuer.issue(claims), begin + 60_000);
  assert.equal((await warningsWith(iss)).length, 2);
  // Until one is accepted.
  assert.ok(verifier.verify(issuer.issue()).claims);
  assert.equal(verifier.status().tokenTrouble, undefined);
});

test("either of the two is enough, and neither is told to the caller", async () => {
  for (const claim of ["iss", "aud"]) {
    const verifier = current();
    const other = `urn:${randomUUID()}`;
    const token = issuer.issue({ [claim]: other });
    assert.deepEqual(await verifier.authenticate(token), { refusal: "INVALID_TOKEN" });
    assert.ok(verifier.status().tokenTrouble?.includes(other));
  }
});

test("nothing that the service has not signed is told of", async () => {
  const verifier = current();
  const iss = `http://${randomUUID()}.test`;
  const good = issuer.issue();
  const stranger = new Issuer().issue({ iss });
  const [header] = good.split(".");
  const [, payload, signature] = stranger.split(".");
  const tokens = [stranger, `${header}.${payload}.${signature}`, "a.b.c", "", `${good}x`];
  tokens.push(issuer.issue({ exp: 1, iat: 0 }), issuer.issue({ sub: "nobody", iss }));
  for (const [at, token] of tokens.entries()) verifier.verify(token, Date.now() + at * 1000);
  assert.equal(verifier.status().tokenTrouble, undefined);
  assert.deepEqual(await warningsWith(iss), []);
});

test("a forgotten service key is told of at once", { timeout: 30_000 }, async () => {
  const verifier = new Verifier({ issuer: ISSUER });
  const stop = verifier.follow(new Source(publisher.origin, { serviceKey: undefined }));
  assert.match((await warningsWith("no service key")).join(), /^every token is refused: /);
  assert.match(verifier.status().feedTrouble ?? "", /^no service key: .*acceptUntilExpiry$/);
  // For longer than the test may take.
  await assert.rejects(verifier.ready(60_000), /revocations are not known: no service key/);
  // Whoever brings the revocations by other means needs none.
  verifier.revocations.hear();
  await verifier.ready();
  assert.equal(verifier.status().feedTrouble, undefined);
  stop();
});

test("who accepts tokens until they expire needs no service key", async () => {
  const before = (await warningsWith("no service key")).length;
  const verifier = new Verifier({ issuer: ISSUER, whenStale: "acceptUntilExpiry" });
  const stop = verifier.follow(new Source(publisher.origin));
  await verifier.ready();
  assert.equal(verifier.status().feedTrouble, undefined);
  assert.equal((await warningsWith("no service key")).length, before);
  stop();
});

function current(): Verifier {
  const verifier = new Verifier({ issuer: ISSUER });
  assert.ok(verifier.takeUpKeys(Buffer.from(JSON.stringify({ keys: [issuer.jwk] }))));
  verifier.revocations.hear();
  return verifier;
}
