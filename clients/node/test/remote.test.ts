// Keys and revocations, from a service that says whatever a test wants.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { createServer } from "node:net";
import { afterEach, beforeEach, test } from "node:test";

import { Source, Verifier, type VerifyPolicyInit } from "../src/index.ts";
import { ISSUER, Issuer } from "./support/issuer.ts";
import { openFeed, Publisher, until } from "./support/publisher.ts";

const LIMIT = { timeout: 30_000 };
let publisher: Publisher;
let issuer: Issuer;
let stop: () => void = () => {};

beforeEach(async () => {
  publisher = await Publisher.start();
  issuer = new Issuer();
  publisher.publish(issuer.jwk);
  publisher.feed = (response) => openFeed(response).write("event: synced\nid: c0\n\n");
});

afterEach(async () => {
  stop();
  await publisher.stop();
});

test("a hundred tokens of a new key wait for one fetch", LIMIT, async () => {
  const verifier = await follow();
  const next = new Issuer();
  publisher.publish(issuer.jwk, next.jwk);
  const tokens = Array.from({ length: 100 }, () => next.issue());
  const verdicts = await Promise.all(tokens.map((token) => verifier.authenticate(token)));
  assert.ok(verdicts.every(({ claims }) => claims));
  assert.equal(publisher.asked.filter((path) => path.endsWith("jwks.json")).length, 2);
});

test("a key that is not there is looked for once, and junk not at all", LIMIT, async () => {
  const verifier = await follow();
  const stranger = new Issuer();
  for (let time = 0; time < 20; time += 1) {
    const { refusal } = await verifier.authenticate(stranger.issue());
    assert.equal(refusal, "INVALID_TOKEN");
    assert.equal((await verifier.authenticate("a.b.c")).refusal, "INVALID_TOKEN");
  }
  assert.equal(publisher.asked.filter((path) => path.endsWith("jwks.json")).length, 2);
});

test("fetches for unknown keys are apart, however many there are", LIMIT, async () => {
  const at: number[] = [];
  const since = performance.now();
  publisher.keys = (response) => {
    at.push(performance.now() - since);
    response.end(JSON.stringify({ keys: [issuer.jwk] }));
  };
  const verifier = await follow();
  for (let time = 0; time < 3; time += 1) await verifier.authenticate(new Issuer().issue());
  assert.equal(at.length, 4);
  // From the beginning, since one that arrives late comes closer to the one after it.
  for (const [place, time] of at.entries()) assert.ok(time > place * 190, at.join());
});

test("keys that are dropped count no more, and nothing that they signed", LIMIT, async () => {
  const verifier = await follow();
  const token = issuer.issue();
  assert.ok(verifier.verify(token).claims);
  const next = new Issuer();
  publisher.publish(next.jwk);
  assert.ok((await verifier.authenticate(next.issue())).claims);
  assert.equal(verifier.verify(token).refusal, "INVALID_TOKEN");
});

test("a broken key set leaves the keys as they were, and the trouble is told", LIMIT, async () => {
  const verifier = await follow();
  const answers: ((response: ServerResponse) => void)[] = [
    (response) => response.end("{"),
    (response) => response.end('{"keys":[]}'),
    (response) => response.end("x".repeat(100_000)),
    (response) => response.writeHead(302, { Location: "/elsewhere" }).end(),
    (response) => response.writeHead(500).end(),
    (response) => response.destroy(),
  ];
  for (const answer of answers) {
    publisher.keys = answer;
    const { refusal } = await verifier.authenticate(new Issuer().issue());
    assert.equal(refusal, "STORE_UNAVAILABLE");
    assert.ok(verifier.status().keysTrouble);
    assert.ok(verifier.verify(issuer.issue()).claims);
  }
  assert.ok(!publisher.asked.includes("/elsewhere"));
});

test("nothing in a token makes the verifier connect anywhere", LIMIT, async () => {
  let connections = 0;
  const trap = createServer((socket) => {
    connections += 1;
    socket.destroy();
  }).listen(0, "127.0.0.1");
  await once(trap, "listening");
  const address = trap.address();
  const port = typeof address === "object" ? address?.port : 0;
  const url = `http://127.0.0.1:${port}/jwks.json`;
  const verifier = await follow();
  const tricks = [{ jku: url }, { x5u: url }, { kid: url }, { jwk: issuer.jwk }, { crit: ["jku"] }];
  for (const header of tricks) {
    const { refusal } = await verifier.authenticate(issuer.issue({ iss: url }, header));
    assert.equal(refusal, "INVALID_TOKEN");
  }
  assert.equal(connections, 0);
  assert.deepEqual(new Set(publisher.asked).size, 2);
  trap.close();
});

test("a revocation counts as soon as it arrives", LIMIT, async () => {
  let feed: ServerResponse | undefined;
  publisher.feed = (response) => {
    feed = openFeed(response);
    feed.write("event: synced\nid: c0\n\n");
  };
  const verifier = await follow();
  const [sid, sub] = [randomUUID(), randomUUID()];
  const [ofSession, ofUser] = [issuer.issue({ sid }), issuer.issue({ sub })];
  assert.ok(verifier.verify(ofSession).claims && verifier.verify(ofUser).claims);
  feed?.write(revoked({ sid, exp: inAnHour() }, "c1"));
  await until(() => verifier.verify(ofSession).refusal === "TOKEN_REVOKED");
  assert.ok(verifier.verify(ofUser).claims);
  const revokedAt = now() + 1;
  feed?.write(revoked({ sub, exp: inAnHour(), revokedAt }, "c2"));
  await until(() => verifier.verify(ofUser).refusal === "TOKEN_REVOKED");
  assert.ok(verifier.verify(issuer.issue({ sub, iat: revokedAt })).claims);
});

test("before all of the live set has arrived, nothing counts", LIMIT, async () => {
  publisher.feed = (response) => {
    const feed = openFeed(response);
    feed.end(`: hello\n\n${revoked({ sid: randomUUID(), exp: inAnHour() }, "c7")}`);
  };
  const verifier = new Verifier({ issuer: ISSUER });
  stop = verifier.follow(publisher.source());
  await until(() => publisher.cursors.length === 2);
  assert.equal(publisher.cursors[1], undefined);
  assert.ok(verifier.revocations.size > 0);
  assert.equal(verifier.status().stalenessMs, undefined);
  assert.equal(verifier.verify(issuer.issue()).refusal, "STORE_UNAVAILABLE");
});

test("a cursor that the service does not know is dropped", LIMIT, async () => {
  publisher.feed = (response, request) => {
    if (request.headers["last-event-id"]) response.writeHead(400).end();
    else openFeed(response).end("event: synced\nid: c1\n\n");
  };
  await follow();
  await until(() => publisher.cursors.length >= 3);
  assert.deepEqual(publisher.cursors.slice(0, 3), [undefined, "c1", undefined]);
});

test("a feed that is cut goes on from where it was", LIMIT, async () => {
  publisher.feed = (response) => {
    const feed = openFeed(response);
    feed.end(`event: synced\nid: c${publisher.cursors.length}\n\n`);
  };
  await follow();
  await until(() => publisher.cursors.length > 2);
  assert.deepEqual(publisher.cursors.slice(0, 3), [undefined, "c1", "c2"]);
});

test("what is not understood begins anew, before it counts", LIMIT, async () => {
  const id = randomUUID();
  const lies = [
    "event: news\ndata: {}\nid: c9\n\n",
    "event: revoked\ndata: {}\nid: c9\n\n",
    `event: revoked\ndata: {"sid":"${id}","exp":1,"exp":2}\nid: c9\n\n`,
    `event: revoked\ndata: {"sid":"${id}","sub":"${id}","exp":1}\nid: c9\n\n`,
    `event: revoked\ndata: {"sid":"${id}","exp":1.5}\nid: c9\n\n`,
    `data: ${"x".repeat(5000)}\n\n`,
    Buffer.from([0x64, 0x61, 0x74, 0x61, 0x3a, 0xff, 0x0a]),
  ];
  for (const lie of lies) {
    publisher.cursors.length = 0;
    publisher.feed = (response) => {
      const feed = openFeed(response);
      feed.write("event: synced\nid: c1\n\n");
      if (publisher.cursors.length === 1) feed.write(lie);
    };
    const verifier = await follow();
    await until(() => publisher.cursors.length === 2);
    assert.equal(publisher.cursors[1], undefined, String(lie));
    assert.equal(verifier.revocations.size, 0);
    stop();
  }
});

test("answers that are no feed are told by what mends them", LIMIT, async () => {
  const answers: [number, string, RegExp][] = [
    [401, "text/event-stream", /service key is unknown/],
    [403, "text/event-stream", /lacks the scope/],
    [404, "application/json", /basePath/],
    [200, "text/html", /no event stream/],
  ];
  for (const [status, type, expected] of answers) {
    publisher.feed = (response) => response.writeHead(status, { "Content-Type": type }).end();
    const verifier = new Verifier({ issuer: ISSUER });
    stop = verifier.follow(publisher.source());
    await until(() => expected.test(verifier.status().feedTrouble ?? ""));
    await assert.rejects(verifier.ready(100), expected);
    assert.equal(verifier.verify(issuer.issue()).refusal, "STORE_UNAVAILABLE");
    stop();
  }
});

test("more revocations than there is room for make it stop, not forget", LIMIT, async () => {
  publisher.feed = (response) => {
    const feed = openFeed(response);
    for (let at = 0; at < 4; at += 1) feed.write(revoked({ sid: randomUUID(), exp: inAnHour() }));
    feed.write("event: synced\n\n");
  };
  const verifier = new Verifier({ issuer: ISSUER, revocationsMax: 3 });
  stop = verifier.follow(publisher.source());
  await until(() => /revocationsMax/.test(verifier.status().feedTrouble ?? ""));
  assert.equal(verifier.verify(issuer.issue()).refusal, "STORE_UNAVAILABLE");
});

test(
  "silence makes it stale: refused, or accepted until expiry, as the policy says",
  LIMIT,
  async () => {
    for (const whenStale of ["failClosed", "acceptUntilExpiry"] as const) {
      const verifier = await follow({ whenStale });
      const [sid, later] = [randomUUID(), Date.now() + 61_000];
      verifier.revocations.takeIn({ sid, exp: inAnHour() });
      const verdict = verifier.verify(issuer.issue(), later);
      assert.equal(verdict.refusal, whenStale === "failClosed" ? "STORE_UNAVAILABLE" : undefined);
      assert.equal(verifier.verify(issuer.issue({ sid }), later).refusal, "TOKEN_REVOKED");
      stop();
    }
  },
);

test("a connection that says nothing is given up", LIMIT, async () => {
  await follow({ stalenessMaxSecs: 0.2 });
  await until(() => publisher.cursors.includes("c0"));
});

test("a source is safe, or there is none", () => {
  for (const origin of [
    "",
    "auth.example.org",
    "http://auth.example.org",
    "http://10.0.0.1",
    "https://a@b.c",
    "https://a.b/c",
    "file:///etc/passwd",
    "http://localhost.example.org",
    "http://127.0.0.1.nip.io",
  ]) {
    assert.throws(() => new Source(origin), TypeError, origin);
  }
  for (const origin of [
    "http://localhost:8080",
    "http://[::1]:8080/",
    "http://127.0.0.1",
    "https://auth.example.org:8443",
  ]) {
    assert.ok(new Source(origin), origin);
  }
  assert.throws(() => new Source("http://localhost", { serviceKey: "a\r\nb" }), TypeError);
  const source = new Source("http://localhost", { serviceKey: "kwk_secret" });
  assert.ok(!JSON.stringify(source).includes("kwk_secret"));
});

async function follow(policy: Partial<VerifyPolicyInit> = {}): Promise<Verifier> {
  const verifier = new Verifier({ issuer: ISSUER, ...policy });
  stop = verifier.follow(publisher.source());
  await verifier.ready();
  return verifier;
}

function revoked(data: object, id = "c1"): string {
  return `event: revoked\ndata: ${JSON.stringify(data)}\nid: ${id}\n\n`;
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}

function inAnHour(): number {
  return now() + 3600;
}
