import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Network } from "./world/network.ts";
import { type Scene, scene, signedIn } from "./world/scene.ts";
import { shiftClock } from "./world/time.ts";

for (const hasLocks of [true, false]) {
  describe(`where nothing more can be stored, with ${hasLocks ? "Web Locks" : "the lease"}`, () => {
    const now = scene();
    const world = { hasLocks };

    it("people sign in and out", async () => {
      now.browser.fillDisk();
      const { client } = now.browser.open({}, world);
      const person = now.service.somebody();
      await client.register(person);
      assert.equal((await client.sessions()).sessions.length, 1);
      await client.logout();
      assert.equal(await client.user(), null);
      await client.login(person);
      assert.equal((await client.user())?.email, person.email);
    });

    it("the key of a lost answer is kept by the tab that sent it", async () => {
      const { client, network } = await tabThatIsSignedIn();
      now.browser.fillDisk();
      const before = keys(network).length;
      // Three tries, and then whoever asks next.
      network.expect("/refresh", "lose answer", "lose body", "lose answer");
      shiftClock(20);
      await assert.rejects(client.sessions(), { code: "NETWORK" });
      shiftClock(40);
      await client.sessions();
      const tries = keys(network).slice(before);
      assert.equal(tries.length, 4);
      assert.equal(new Set(tries).size, 1);
      await staysSignedIn(now);
    });

    it("a tab still sends one request that touches cookies after the other", async () => {
      const { person, crash } = await signedIn(now);
      crash();
      const [touching, sent] = [new Set<Request>(), [] as number[]];
      const tab = now.browser.open(
        {
          fetch: async (input, init) => {
            const request = new Request(input, init);
            if (/(refresh|login)$/.test(request.url)) touching.add(request);
            sent.push(touching.size);
            return tab.network.fetch(request).finally(() => touching.delete(request));
          },
        },
        world,
      );
      tab.network.delayMs = 20;
      now.browser.fillDisk();
      for (const minutes of [20, 40, 60]) {
        shiftClock(minutes);
        await Promise.all([tab.client.user(), tab.client.login(person), tab.client.user()]);
      }
      assert.equal(Math.max(...sent), 1);
      assert.equal(tab.client.state.status, "signed-in");
    });

    it("there is room again some time, and the next page knows the key", async () => {
      const { client, network, crash } = await tabThatIsSignedIn();
      now.browser.fillDisk();
      network.expect("/refresh", "lose answer", "lose answer", "lose answer");
      shiftClock(20);
      await assert.rejects(client.sessions(), { code: "NETWORK" });
      now.browser.freeDisk();
      network.expect("/refresh", "lose answer", "lose answer", "lose answer");
      shiftClock(40);
      await assert.rejects(client.sessions(), { code: "NETWORK" });
      crash();
      shiftClock(60);
      const next = now.browser.open({}, world);
      await next.client.user();
      assert.equal(keys(next.network)[0], keys(network).at(-1));
      await staysSignedIn(now);
    });

    it("the turns that another tab has had since are not forgotten", async () => {
      const { client } = await tabThatIsSignedIn();
      now.browser.fillDisk();
      shiftClock(20);
      await client.sessions();
      now.browser.freeDisk();
      const other = now.browser.open({}, world);
      for (const minutes of [40, 60]) {
        shiftClock(minutes);
        await other.client.sessions();
      }
      other.network.expect("/refresh", "lose answer", "lose answer", "lose answer");
      shiftClock(80);
      await assert.rejects(other.client.sessions(), { code: "NETWORK" });
      other.crash();
      shiftClock(100);
      await client.sessions();
      await staysSignedIn(now);
    });

    it("fewer turns of another tab than it has had itself are not hidden by its own", async () => {
      const { client } = await tabThatIsSignedIn();
      now.browser.fillDisk();
      for (const minutes of [20, 40, 60, 80, 100, 120, 140]) {
        shiftClock(minutes);
        await client.sessions();
      }
      now.browser.freeDisk();
      const other = now.browser.open({}, world);
      await other.client.sessions();
      other.network.expect("/refresh", "lose answer", "lose answer", "lose answer");
      shiftClock(160);
      await assert.rejects(other.client.sessions(), { code: "NETWORK" });
      shiftClock(180);
      await client.sessions();
      await staysSignedIn(now);
    });

    async function tabThatIsSignedIn() {
      const { crash, person } = await signedIn(now);
      crash();
      const tab = now.browser.open({}, world);
      await tab.client.user();
      return { ...tab, person };
    }
  });
}

/** The key of each refresh that was sent. */
function keys(network: Network): (string | null)[] {
  return network.sent
    .filter(({ path }) => path.endsWith("/refresh"))
    .map(({ headers }) => headers.get("Idempotency-Key"));
}

/** A page that is loaded now is signed in, in the one session that there ever was. */
async function staysSignedIn({ browser }: Scene): Promise<void> {
  const { sessions, ended } = await browser.open().client.sessions();
  assert.equal(sessions.length, 1);
  assert.equal(ended.length, 0);
}
