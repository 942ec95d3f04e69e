// The table of cases that all verifiers share: what one refuses, each of them does, by itself and
// in each framework.

import assert from "node:assert/strict";
import type { Server } from "node:http";
import { mock, test } from "node:test";

import { type Claims, Verifier } from "../src/index.ts";
import { ask, close, FRAMEWORKS } from "./support/frameworks.ts";
import { openFeed, Publisher, until } from "./support/publisher.ts";
import { type Case, TABLE, verifierOf } from "./support/table.ts";

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

for (const [name, start] of Object.entries(FRAMEWORKS)) {
  test(`${name}: every token of the table is let through or refused as it says`, async (t) => {
    mock.timers.enable({ apis: ["Date"], now: TABLE.now * 1000 });
    const publisher = await Publisher.start();
    publisher.publish(...TABLE.keySet.keys);
    publisher.feed = (response) => void openFeed(response).write("event: synced\nid: c1\n\n");
    const { verifier, stop } = await followed(publisher);
    const common = await start(verifier);
    t.after(async () => {
      mock.timers.reset();
      close(common);
      stop();
      await publisher.stop();
    });
    for (const one of TABLE.cases) {
      mock.timers.setTime((one.now ?? TABLE.now) * 1000);
      if (isCommon(one)) {
        await check(common, one);
        continue;
      }
      // Whom to ask for a key that it does not know, matters to it as well.
      const own = one.algorithms && (await followed(publisher, one.algorithms));
      const server = await start(own?.verifier ?? verifierOf(one));
      await check(server, one);
      close(server);
      own?.stop();
    }
  });
}

async function check(server: Server, one: Case): Promise<void> {
  const headers = ["Authorization", `Bearer ${inHeader(one.token)}`];
  const { status, body } = await ask(server, "/me", headers);
  const verdict = status === 200 ? "ACCEPTED" : JSON.parse(body).code;
  assert.equal(verdict, verdictOfHeader(one), one.name);
  assert.equal(status, STATUS[verdict], one.name);
  if (status !== 200) return;
  const roles = one.claims?.["roles"] as readonly string[] | undefined;
  const mayPass = roles?.some((role) => role === "admin" || role === "editor");
  // One with a space behind it has no claims of its own in the table.
  if (roles) assert.equal((await ask(server, "/admin", headers)).status, mayPass ? 200 : 403);
}

/** A verifier that follows this publisher, and knows its keys and revocations. */
async function followed(publisher: Publisher, algorithms = TABLE.algorithms) {
  const { issuer, audience, leewaySecs } = TABLE;
  const verifier = new Verifier({ issuer, audience, algorithms, leewaySecs });
  // Keys that are not known are looked for at once.
  const stop = verifier.follow(publisher.source({ coolDownSecs: 0 }));
  await until(() => verifier.status().keysAgeMs === 0 && verifier.status().stalenessMs === 0);
  return { verifier, stop };
}

/** Whether nothing is different for it than for most. */
function isCommon({ now, fetchedAt, heardAt, algorithms, revocations }: Case): boolean {
  return [now, fetchedAt, heardAt, algorithms, revocations].every((given) => given === undefined);
}

/** A header is bytes, and letters are UTF-8. */
function inHeader(token: string): string {
  return Buffer.from(token).toString("latin1");
}

/** HTTP drops the spaces behind a value; and without a text that may be one, there is no token. */
function verdictOfHeader({ token, verdict }: Case): string {
  if (token === "" || /[^\x20-\x7e]/.test(token)) return "NO_TOKEN";
  const carried = token.replace(/ +$/, "");
  const same = TABLE.cases.find((other) => isCommon(other) && other.token === carried);
  return carried === token ? verdict : (same?.verdict ?? verdict);
}

const STATUS: Readonly<Record<string, number>> = {
  ACCEPTED: 200,
  INVALID_TOKEN: 401,
  NO_TOKEN: 401,
  STORE_UNAVAILABLE: 503,
  TOKEN_EXPIRED: 401,
  TOKEN_REVOKED: 401,
};

/** Claims as they stood in the token. */
function flat({ extra, ...claims }: Claims): Record<string, unknown> {
  return { ...claims, ...extra };
}
