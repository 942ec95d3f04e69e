import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { State } from "../src/index.ts";
import type { Tab } from "./world/browser.ts";
import { scene, signedIn } from "./world/scene.ts";
import { shiftClock, until } from "./world/time.ts";

for (const hasLocks of [true, false]) {
  describe(`signing out, with ${hasLocks ? "Web Locks" : "the lease"}`, () => {
    const now = scene();
    const world = { hasLocks };

    it("is seen in all tabs while the answer of a refresh is waited for", async () => {
      const { one, two, arrive } = await refreshing();
      const signedOut = two.client.logout();
      await until(() => areSignedOut(one, two));
      assert.equal(two.network.count("/logout"), 0);
      arrive();
      await signedOut;
      assert.equal(two.network.count("/logout"), 1);
      assert.equal(await now.browser.open({}, world).client.user(), null);
    });

    it("is not undone by the answer of a refresh that comes later", async () => {
      const { one, two, arrive, asked } = await refreshing();
      const heard: State[] = [];
      one.client.onChange((state) => heard.push(state));
      const signedOut = two.client.logout();
      await until(() => areSignedOut(one, two));
      arrive();
      assert.deepEqual(await asked, { code: "NO_REFRESH_TOKEN", reason: "logout" });
      await signedOut;
      assert.equal(await one.client.user(), null);
      assert.deepEqual(heard, [{ status: "signed-out", reason: "logout" }]);
      assert.ok(areSignedOut(one, two));
    });

    it("is done by the next page where this one was closed before the service knew", async () => {
      const { one, two } = await refreshing();
      two.client.logout().catch(() => {});
      await until(() => areSignedOut(one, two));
      one.crash();
      two.crash();
      // A lease that nobody gave back is over.
      shiftClock(1);
      const next = now.browser.open({}, world);
      assert.equal(await next.client.user(), null);
      assert.equal(next.network.count("/logout"), 1);
      assert.equal(now.browser.jar.value("refreshToken"), undefined);
    });

    for (const isAskedFirst of [false, true]) {
      const order = isAskedFirst ? "asked before it and waits" : "asks after it";
      it(`makes room for a sign-in that ${order}`, async () => {
        const { one, two, arrive } = await refreshing();
        const other = now.service.somebody();
        const asked = isAskedFirst && two.client.register(other);
        const signedOut = two.client.logout();
        await until(() => areSignedOut(one, two));
        const signedIn = asked || two.client.register(other);
        arrive();
        await Promise.all([signedOut, signedIn]);
        await until(() => emailIn(one.client.state) === other.email);
        assert.equal(emailIn(two.client.state), other.email);
        assert.equal((await now.browser.open({}, world).client.user())?.email, other.email);
        shiftClock(40);
        assert.equal((await one.client.sessions()).sessions.length, 1);
      });
    }

    it("is told before what comes after it", async () => {
      const { one, two } = await twoTabs();
      const heard: State["status"][] = [];
      one.client.onChange(({ status }) => heard.push(status));
      await two.client.logout();
      await two.client.register(now.service.somebody());
      await until(() => heard.includes("signed-in"));
      assert.deepEqual(heard, ["signed-out", "signed-in"]);
    });

    /** One of two tabs refreshes: the answer, with its cookies, is there when it may arrive. */
    async function refreshing() {
      let arrive = () => {};
      const arrival = new Promise<void>((resolve) => {
        arrive = resolve;
      });
      const tab = {} as { one: Tab };
      let isHeld = false;
      const fetch: typeof globalThis.fetch = async (input, init) => {
        const answer = await tab.one.network.fetch(input, init);
        if (isHeld && String(input).endsWith("/refresh")) await arrival;
        return answer;
      };
      const { one, two } = await twoTabs({ fetch }, tab);
      isHeld = true;
      shiftClock(20);
      const before = now.browser.jar.value("refreshToken");
      const asked = one.client.sessions().then(
        () => ({}),
        ({ code, reason }) => ({ code, reason }),
      );
      await until(() => now.browser.jar.value("refreshToken") !== before);
      return { one, two, arrive, asked };
    }

    async function twoTabs(options = {}, opened = {} as { one: Tab }) {
      (await signedIn(now)).crash();
      const [one, two] = [now.browser.open(options, world), now.browser.open({}, world)];
      opened.one = one;
      await two.client.user();
      await one.client.user();
      return { one, two };
    }
  });
}

function areSignedOut(...tabs: Tab[]): boolean {
  return tabs.every(({ client }) => client.state.status === "signed-out");
}

function emailIn(state: State): string | undefined {
  return state.status === "signed-in" ? state.user.email : undefined;
}
