import assert from "node:assert/strict";
import { afterEach, describe, it, mock } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { IDBDatabase } from "fake-indexeddb";
import type { Network } from "./world/network.ts";
import { scene, signedIn } from "./world/scene.ts";
import { shiftClock, until } from "./world/time.ts";

for (const [how, fail] of Object.entries({ "fails twice": failTwice, "never answers": stall })) {
  describe(`one edit of the ledger that goes by memory, since the database ${how}`, () => {
    const now = scene();

    afterEach(() => mock.restoreAll());

    it("signs out for good, though others have had turns since the last of this one", async () => {
      const { earlier } = await twoTabs();
      const recover = fail();
      await earlier.client.logout();
      recover();
      assert.equal(earlier.network.count("/logout"), 1);
      assert.equal(await now.browser.open().client.user(), null);
    });

    it("keeps the key of a lost answer in such a tab", async () => {
      const { earlier } = await twoTabs();
      const before = keys(earlier.network).length;
      earlier.network.expect("/refresh", "lose answer");
      shiftClock(20);
      const recover = fail();
      await earlier.client.sessions();
      recover();
      const tries = keys(earlier.network).slice(before);
      assert.equal(tries.length, 2);
      assert.equal(tries[0], tries[1]);
      assert.equal(earlier.client.state.status, "signed-in");
    });

    it("keeps a wish to sign out that the service cannot be told yet", async () => {
      const { earlier } = await twoTabs();
      earlier.network.expect("/logout", "lose request");
      const recover = fail();
      await assert.rejects(earlier.client.logout(), { code: "NETWORK" });
      recover();
      earlier.crash();
      assert.equal(await now.browser.open().client.user(), null);
    });

    it("signs out though another tab is in the middle of a refresh", async () => {
      (await signedIn(now)).crash();
      let arrive = () => {};
      const arrival = new Promise<void>((resolve) => {
        arrive = resolve;
      });
      const one = now.browser.open();
      let isHeld = false;
      const two = now.browser.open({
        fetch: async (input, init) => {
          const answer = await two.network.fetch(input, init);
          if (isHeld && String(input).endsWith("/refresh")) await arrival;
          return answer;
        },
      });
      await two.client.user();
      await one.client.user();
      await pause(HEARD_MS);
      isHeld = true;
      shiftClock(20);
      const before = now.browser.jar.value("refreshToken");
      const asked = two.client.sessions().catch(() => {});
      await until(() => now.browser.jar.value("refreshToken") !== before);
      const recover = fail();
      const out = one.client.logout();
      await until(() => one.client.state.status === "signed-out");
      arrive();
      await Promise.all([out, asked]);
      recover();
      await until(() => two.client.state.status === "signed-out");
      assert.equal(one.client.state.status, "signed-out");
      assert.equal(await now.browser.open().client.user(), null);
    });

    it("hides nothing that is stored from a page that was just loaded", async () => {
      const world = { hasLocks: false };
      (await signedIn(now)).crash();
      const one = now.browser.open({}, world);
      await one.client.user();
      one.network.expect("/refresh", "lose answer", "lose answer", "lose answer");
      shiftClock(20);
      await assert.rejects(one.client.sessions(), { code: "NETWORK" });
      const fresh = now.browser.open({}, world);
      // Its look at the lease, and nothing else.
      const recover = fail();
      await fresh.client.user();
      recover();
      assert.equal(keys(fresh.network)[0], keys(one.network).at(-1));
      assert.equal(fresh.client.state.status, "signed-in");
    });

    it("keeps the key of a lost answer in a page that was just loaded", async () => {
      (await signedIn(now)).crash();
      const one = now.browser.open();
      await one.client.user();
      one.crash();
      const fresh = now.browser.open();
      fresh.network.expect("/refresh", "lose answer");
      const recover = fail();
      assert.notEqual(await fresh.client.user(), null);
      recover();
      const tries = keys(fresh.network);
      assert.equal(tries.length, 2);
      assert.equal(tries[0], tries[1]);
    });

    it("does not write over the wish of another tab, which has told of it", async () => {
      const { earlier, later } = await twoTabs();
      later.network.expect("/logout", "lose request");
      await assert.rejects(later.client.logout(), { code: "NETWORK" });
      await until(() => earlier.client.state.status === "signed-out");
      const recover = fail();
      await earlier.client.user().catch(() => {});
      recover();
      earlier.crash();
      later.crash();
      assert.equal(await now.browser.open().client.user(), null);
    });

    it("does not write over the wish of a tab that goes before its turn", async () => {
      const { earlier, later } = await twoTabs();
      let free = () => {};
      const held = new Promise<void>((resolve) => {
        free = resolve;
      });
      const lock = `keyward ${now.service.baseUrl}`;
      now.browser.locks.of({}).request(lock, {} as never, (() => held) as never);
      await pause(HEARD_MS);
      later.client.logout().catch(() => {});
      await until(() => earlier.client.state.status === "signed-out");
      later.crash();
      free();
      const recover = fail();
      await earlier.client.user().catch(() => {});
      recover();
      earlier.crash();
      assert.equal(await now.browser.open().client.user(), null);
    });

    it("knows no wish any more that others have seen to", async () => {
      const { earlier, later, person } = await twoTabs();
      earlier.network.expect("/logout", "lose request");
      await assert.rejects(earlier.client.logout(), { code: "NETWORK" });
      await later.client.login(person);
      await until(() => earlier.client.state.status === "signed-in");
      shiftClock(20);
      const recover = fail();
      await earlier.client.sessions();
      recover();
      assert.equal(earlier.network.count("/logout"), 1);
      assert.equal(earlier.client.state.status, "signed-in");
    });

    /** Both have the same tokens; the later one has had the last turn. */
    async function twoTabs() {
      const { person, crash } = await signedIn(now);
      crash();
      const [earlier, later] = [now.browser.open(), now.browser.open()];
      await earlier.client.user();
      await later.client.user();
      await pause(HEARD_MS);
      return { earlier, later, person };
    }
  });
}

/** The next edit fails at once, with both of its connections. Answers what ends this. */
function failTwice(): () => void {
  return meet(2, () => {
    throw new DOMException("The connection was lost.", "UnknownError");
  });
}

/** The next edit begins never, and is given up almost at once. Answers what ends this. */
function stall(): () => void {
  const real = globalThis.setTimeout;
  mock.method(globalThis, "setTimeout", (act: () => void, ms?: number) =>
    real(act, ms === ANSWER_MAX_MS ? 20 : ms),
  );
  return meet(1, () => ({ objectStore: () => ({ get: () => ({}) }) }));
}

/** The next transactions come to this; ends with a check that they did. */
function meet(times: number, act: () => unknown): () => void {
  const real = IDBDatabase.prototype.transaction;
  let calls = 0;
  const fake = function (this: IDBDatabase, ...given: unknown[]) {
    return calls++ < times ? act() : Reflect.apply(real, this, given);
  };
  mock.method(IDBDatabase.prototype, "transaction", fake as never);
  return () => {
    mock.restoreAll();
    assert.ok(calls > times);
  };
}

/** The key of each refresh that was sent. */
function keys(network: Network): (string | null)[] {
  return network.sent
    .filter(({ path }) => path.endsWith("/refresh"))
    .map(({ headers }) => headers.get("Idempotency-Key"));
}

/** By then tabs have heard what others told. */
const HEARD_MS = 50;

/** How long the client waits for a database. */
const ANSWER_MAX_MS = 5_000;
