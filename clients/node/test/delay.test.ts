// A feed whose bytes are held back on the way: the verifier knows how late it is.

import assert from "node:assert/strict";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { type AddressInfo, createServer, connect as dial } from "node:net";
import { test } from "node:test";
import { setTimeout as sleepFor } from "node:timers/promises";

import { Feed } from "../src/feed/feed.ts";
import { Source, Verifier } from "../src/index.ts";
import { Revocations } from "../src/revocations.ts";
import { ISSUER, Issuer } from "./support/issuer.ts";
import { openFeed, Publisher, until } from "./support/publisher.ts";

const LIMIT = { timeout: 60_000 };

test("what is held back on the way makes it stale", () => {
  const { say } = connection();
  // The service's clock is in another century, and the answer took two seconds.
  assert.equal(say(": beat 7000\n\n", 12), undefined);
  assert.equal(say("event: synced\nid: c1\n\n", 12), 2);
  assert.equal(say(": beat 22000\n\n", 27), 2);
  // From here on everything takes twenty seconds more.
  assert.equal(say(": beat 37000\n\n", 62), 22);
  assert.equal(say("id: c2\n\n", 63), 23);
  assert.equal(say(": beat\n\n", 64), 24);
  assert.equal(say(": beat 52000\n\n", 77), 22);
  assert.equal(say(": beat 82000\n\n", 87), 2);
});

test("a clock of the service that is set hides no delay", () => {
  const { say } = connection();
  assert.equal(say("event: synced\n\n: beat 0\n", 10), 0);
  // Set on by a minute: no word comes before it was spoken.
  assert.equal(say(": beat 75000\n", 25), 0);
  assert.equal(say(": beat 90000\n", 60), 20);
  // Set back by an hour: nothing can be told apart from a delay.
  assert.equal(say(": beat 0\n", 70), 120);
});

test("a service that tells no times is taken to be near", () => {
  const { say } = connection();
  assert.equal(say("event: synced\n\n", 10), 0);
  for (const text of ["", "current", "beat", "beat ", "beat -1", "beat 1.5", "beat 1e3"]) {
    assert.equal(say(`: ${text}\n`, 90), 0, text);
  }
});

test("a steady delay that begins later is refused, and seen", LIMIT, async () => {
  const publisher = await Publisher.start();
  const issuer = new Issuer();
  publisher.publish(issuer.jwk);
  let feed: ServerResponse | undefined;
  publisher.feed = (response) => {
    feed = openFeed(response);
    feed.write(`${beat()}event: synced\nid: c1\n\n`);
  };
  const speaking = setInterval(() => feed?.write(beat()), 50);
  const wire = await Wire.to(publisher.origin);
  const verifier = new Verifier({ issuer: ISSUER, stalenessMaxSecs: 1 });
  const stop = verifier.follow(new Source(wire.origin, { serviceKey: "kwk_test" }));
  const isAccepted = () => verifier.verify(issuer.issue()).claims !== undefined;
  await until(isAccepted);
  wire.delayMs = 2000;
  await until(() => (verifier.status().stalenessMs ?? 0) > 1000);
  assert.equal(verifier.verify(issuer.issue()).refusal, "STORE_UNAVAILABLE");
  // Another connection is as late, and does not pass for one that is not.
  await until(() => /comes too late/.test(verifier.status().feedTrouble ?? ""));
  assert.ok(!isAccepted());
  wire.delayMs = 0;
  await until(isAccepted);
  stop();
  clearInterval(speaking);
  wire.stop();
  await publisher.stop();
});

/** One connection to a feed that was asked for at second ten. */
function connection() {
  const revocations = new Revocations(1000, 0);
  const connected = new Feed().connect(revocations, 10_000);
  /** Answers how stale it is in that second, in seconds. */
  const say = (text: string, at: number) => {
    connected.read(Buffer.from(text), at * 1000);
    const staleness = revocations.stalenessMs(at * 1000);
    return staleness === undefined ? undefined : staleness / 1000;
  };
  return { say };
}

function beat(): string {
  return `: beat ${Date.now()}\n\n`;
}

/** A wire on which what the service says takes time. */
class Wire {
  /** How long each byte takes that the service says from now on. */
  delayMs = 0;
  readonly #server;

  private constructor(service: URL) {
    this.#server = createServer((near) => {
      const far = dial(Number(service.port), service.hostname);
      let said: Promise<void> = Promise.resolve();
      const end = () => {
        near.destroy();
        far.destroy();
      };
      near
        .on("error", end)
        .on("close", end)
        .on("data", (piece) => far.write(piece));
      far
        .on("error", end)
        .on("close", end)
        .on("data", (piece) => {
          const due = sleepFor(this.delayMs);
          said = said.then(() => due).then(() => void near.write(piece));
        });
    });
  }

  static async to(service: string): Promise<Wire> {
    const wire = new Wire(new URL(service));
    wire.#server.listen(0, "127.0.0.1");
    await once(wire.#server, "listening");
    return wire;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.close();
  }
}
