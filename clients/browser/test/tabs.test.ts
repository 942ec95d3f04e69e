import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { State } from "../src/index.ts";
import { Browser, type Tab } from "./world/browser.ts";
import type { Fault } from "./world/network.ts";
import { scene, signedIn } from "./world/scene.ts";
import { shiftClock, until } from "./world/time.ts";

describe("many tabs", () => {
  const now = scene();

  it("refresh one after the other, and nobody is signed out", async () => {
    const { client } = await signedIn(now);
    const tabs = Array.from({ length: 20 }, () => now.browser.open());
    const users = await Promise.all(tabs.map((tab) => tab.client.user()));
    assert.ok(users.every((user) => user?.id === users[0]?.id));
    assert.ok(now.browser.locks.most > 1);
    assert.deepEqual((await client.sessions()).ended, []);
  });

  it("that wake together refresh once", async () => {
    await signedIn(now);
    const tabs = Array.from({ length: 20 }, () => now.browser.open());
    await Promise.all(tabs.map(({ client }) => client.user()));
    const refreshes = () => tabs.reduce((sum, { network }) => sum + network.count("/refresh"), 0);
    for (const minutes of [20, 40, 60]) {
      const before = refreshes();
      shiftClock(minutes);
      await Promise.all(tabs.map(({ client }) => client.sessions()));
      assert.equal(refreshes() - before, 1);
    }
  });

  it("that wake together ask once where the session has ended meanwhile", async () => {
    const { person } = await signedIn(now);
    const tabs = Array.from({ length: 10 }, () => now.browser.open());
    await Promise.all(tabs.map(({ client }) => client.user()));
    const elsewhere = new Browser(now.service);
    const { client } = elsewhere.open();
    await client.login(person);
    await client.logoutAll();
    elsewhere.close();
    const refreshes = () => tabs.reduce((sum, { network }) => sum + network.count("/refresh"), 0);
    const before = refreshes();
    shiftClock(20);
    for (const answer of await Promise.allSettled(tabs.map((tab) => tab.client.sessions()))) {
      assert.equal(answer.status, "rejected");
    }
    assert.equal(refreshes() - before, 1);
    const reasons = tabs.map(({ client: { state } }) => "reason" in state && state.reason);
    assert.deepEqual(reasons, Array(10).fill("logout_all"));
  });

  it("share one refresh among all requests of a tab", async () => {
    const { client, network } = await signedIn(now);
    await Promise.all(Array.from({ length: 20 }, () => client.sessions()));
    assert.equal(network.count("/refresh"), 1);
  });

  it("stay signed in over a bad network, clocks that jump and tabs that die", async (test) => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
    test.diagnostic(`SEED=${seed}`);
    const random = randomOf(seed);
    await signedIn(now);
    const tabs: Tab[] = [];
    for (let round = 0; round < 8; round++) {
      tabs.push(...Array.from({ length: 4 }, () => now.browser.open({ timeout: 200 })));
      for (const { network } of tabs) {
        network.delayMs = random() * 20;
        network.expect("/refresh", ...FAULTS.filter(() => random() < 0.3));
      }
      // A quarter of an hour more makes every token look expired.
      shiftClock(round % 3 === 2 ? -60 : round * 15);
      const ask = () => tabs.map((tab) => tab.client.sessions().catch(() => {}));
      await Promise.race(ask());
      for (const { crash } of tabs.splice(0, 3)) crash();
      await Promise.all(ask());
      assert.ok(tabs.every(({ client }) => client.state.status !== "signed-out"));
    }
    for (const { crash } of tabs) crash();
    const { sessions, ended } = await now.browser.open().client.sessions();
    assert.equal(sessions.length, 1);
    assert.deepEqual(ended, []);
  });

  for (const without of ["locks", "a database", "both"] as const) {
    it(`refresh one after the other in a browser without ${without}`, async () => {
      if (without !== "locks") now.browser.breakDatabase();
      const world = { hasLocks: without === "a database" };
      const first = now.browser.open({}, world);
      await first.client.register(now.service.somebody());
      first.crash();
      const tabs = Array.from({ length: without === "both" ? 1 : 5 }, () =>
        now.browser.open({}, world),
      );
      // Where nothing is stored, a tab alone knows the key of its request.
      if (without === "locks") tabs[0]?.network.expect("/refresh", "lose answer");
      await Promise.all(tabs.map(({ client }) => client.user()));
      const { sessions, ended } = await now.browser.open({}, world).client.sessions();
      assert.equal(sessions.length, 1);
      assert.deepEqual(ended, []);
    });
  }

  it("go on after a tab died that held the lease", async () => {
    const world = { hasLocks: false };
    const first = now.browser.open({}, world);
    await first.client.register(now.service.somebody());
    first.crash();
    const dying = now.browser.open({}, world);
    dying.network.expect("/refresh", "hang");
    dying.client.user().catch(() => {});
    await until(() => dying.network.count("/refresh") === 1);
    dying.crash();
    shiftClock(1);
    const next = now.browser.open({}, world);
    assert.ok(await next.client.user());
  });

  it("all hear why a stolen token ended the session", async () => {
    const { client } = await signedIn(now);
    await client.user();
    const stolen = now.browser.jar.value("refreshToken") ?? "";
    const csrf = now.browser.jar.value("csrfToken") ?? "";
    const thief = await fetch(`${now.service.baseUrl}/refresh`, {
      method: "POST",
      headers: {
        Cookie: `refreshToken=${stolen}; csrfToken=${csrf}`,
        "X-CSRF-Token": csrf,
      },
    });
    assert.equal(thief.status, 200);
    const other = now.browser.open();
    const heard: State[] = [];
    other.client.onChange((state) => heard.push(state));
    shiftClock(20);
    await assert.rejects(client.sessions(), { code: "REFRESH_TOKEN_REUSED" });
    await until(() => heard.length === 1);
    assert.deepEqual(heard[0], { status: "signed-out", reason: "reuse_detected" });
    assert.equal(now.browser.jar.value("refreshToken"), undefined);
  });
});

const FAULTS: readonly Fault[] = [
  "lose request",
  "lose answer",
  "lose body",
  "duplicate",
  "hang after arrival",
];

/** Mulberry32: the same numbers for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
