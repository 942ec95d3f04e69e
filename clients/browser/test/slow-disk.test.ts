import assert from "node:assert/strict";
import { afterEach, describe, it, mock } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { IDBDatabase, IDBFactory } from "fake-indexeddb";
import type { Tab } from "./world/browser.ts";
import { hangs, hurry, never, refuse } from "./world/disk.ts";
import { scene, signedIn } from "./world/scene.ts";
import { HEARD_MS, shiftClock, until } from "./world/time.ts";

for (const hasLocks of [true, false]) {
  describe(`who signs in beside a slow disk, with ${hasLocks ? "Web Locks" : "the lease"}`, () => {
    const now = scene();
    const world = { hasLocks };

    afterEach(() => mock.restoreAll());

    it("is not signed out by a wish from before", async () => {
      const one = await signedIn(now);
      await one.client.user();
      one.network.expect("/logout", "lose request");
      await assert.rejects(one.client.logout(), { code: "NETWORK" });
      one.crash();
      const two = now.browser.open({}, world);
      hangs(IDBFactory.prototype, "open", 1, {});
      hurry();
      await two.client.login(one.person);
      mock.restoreAll();
      shiftClock(20);
      assert.equal((await two.client.sessions()).sessions.length, 1);
      assert.equal(two.network.count("/logout"), 0);
    });

    it("is not signed out by an earlier wish of a page that was just loaded", async () => {
      const [holder, two] = await twoTabs();
      await hangsAtSignIn(holder);
      const other = now.service.somebody();
      const signsIn = two.client.register(other);
      await pause(HEARD_MS);
      const fresh = now.browser.open({}, world);
      hangs(IDBFactory.prototype, "open", 1, {});
      hurry();
      const out = fresh.client.logout();
      await until(() => fresh.client.state.status === "signed-out");
      holder.crash();
      // Whoever crashed holds the lease until it is over.
      shiftClock(1);
      await signsIn;
      await out;
      mock.restoreAll();
      // With the lease, either may have been first.
      if (hasLocks) assert.equal(fresh.network.count("/logout"), 0);
      assert.equal((await two.client.user())?.email, other.email);
    });

    it("has one key for a token, though somebody crashed before", async () => {
      (await signedIn(now)).crash();
      const gone = now.browser.open({}, world);
      await hangsAtSignIn(gone);
      gone.crash();
      shiftClock(20);
      const { client, network } = now.browser.open({}, world);
      const open = mock.method(IDBFactory.prototype, "open", refuse);
      network.delayMs = 100;
      network.expect("/refresh", "lose answer");
      const asked = client.sessions();
      await until(() => network.count("/refresh") === 1);
      open.mock.restore();
      const { sessions, ended } = await asked;
      assert.equal(sessions.length, 1);
      assert.deepEqual(ended, []);
    });

    it("has another key for the next token, where the first was noted by memory", async () => {
      (await signedIn(now)).crash();
      const { client, network } = now.browser.open({}, world);
      const open = mock.method(IDBFactory.prototype, "open", refuse);
      network.delayMs = 100;
      const asked = client.sessions();
      await until(() => network.count("/refresh") === 1);
      open.mock.restore();
      await asked;
      shiftClock(20);
      await client.sessions();
      const refreshes = network.sent.filter(({ path }) => path.endsWith("/refresh"));
      const keys = refreshes.map(({ headers }) => headers.get("Idempotency-Key"));
      assert.equal(new Set(keys).size, 2);
    });

    if (hasLocks) {
      it("is not signed out by a wish from while the sign-in waited", async () => {
        const [one, two] = await twoTabs();
        await hangsAtSignIn(one);
        const other = now.service.somebody();
        const signsIn = two.client.register(other);
        await pause(HEARD_MS);
        one.client.logout().catch(() => {});
        await until(() => two.client.state.status === "signed-out");
        hangs(IDBDatabase.prototype, "transaction", 1, never);
        hurry();
        one.crash();
        await signsIn;
        mock.restoreAll();
        shiftClock(20);
        assert.equal((await two.client.user())?.email, other.email);
        assert.equal(two.network.count("/logout"), 0);
      });
    }

    async function hangsAtSignIn({ client, network }: Tab): Promise<void> {
      network.expect("/login", "hang");
      client.login(now.service.somebody()).catch(() => {});
      await until(() => network.hanging === 1);
    }

    /** Both have the same tokens. */
    async function twoTabs(): Promise<[Tab, Tab]> {
      (await signedIn(now)).crash();
      const [one, two] = [now.browser.open({}, world), now.browser.open({}, world)];
      await one.client.user();
      await two.client.user();
      await pause(HEARD_MS);
      return [one, two];
    }
  });
}
