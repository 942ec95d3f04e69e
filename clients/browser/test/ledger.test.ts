import assert from "node:assert/strict";
import { afterEach, describe, it, mock } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { IDBDatabase, IDBFactory, IDBObjectStore } from "fake-indexeddb";
import type { Tab } from "./world/browser.ts";
import { ANSWER_MAX_MS, hangs, hurry, never, refuse } from "./world/disk.ts";
import { scene, signedIn } from "./world/scene.ts";
import { HEARD_MS, shiftClock, until } from "./world/time.ts";

describe("a database that fails once", () => {
  const now = scene();

  afterEach(() => mock.restoreAll());

  const failures = {
    "while it is opened": () => once(IDBFactory.prototype, "open", refuse),
    "since the connection was lost": () => once(IDBDatabase.prototype, "transaction", refuse),
    "before it is read": () => once(IDBObjectStore.prototype, "get", abort),
    "after it was read": () => once(IDBObjectStore.prototype, "put", abort),
  };

  for (const [when, fail] of Object.entries(failures)) {
    it(`hides no key that another tab waits with: ${when}`, async () => {
      (await signedIn(now)).crash();
      const [one, two] = [now.browser.open(), now.browser.open()];
      await one.client.user();
      one.network.expect("/refresh", "lose answer", "lose answer", "lose answer");
      shiftClock(20);
      await assert.rejects(one.client.sessions(), { code: "NETWORK" });
      const calls = fail();
      const { sessions, ended } = await two.client.sessions();
      assert.ok(calls() > 1);
      assert.equal(sessions.length, 1);
      assert.deepEqual(ended, []);
      assert.equal(one.client.state.status, "signed-in");
    });
  }
});

describe("a database that is slow", () => {
  const now = scene();

  afterEach(() => mock.restoreAll());

  it("is not waited for twice: one that never opens", async () => {
    const { crash } = await signedIn(now);
    crash();
    const opens = mock.method(IDBFactory.prototype, "open", () => ({}));
    hurry();
    const { client } = now.browser.open();
    await client.logout();
    // The wish, the turn, and what came of it.
    assert.equal(opens.mock.callCount(), 3);
  });

  it("undoes no later sign-in: told late what was stored at once", async () => {
    const { crash } = await signedIn(now);
    crash();
    const one = now.browser.open();
    await one.client.user();
    const real = IDBDatabase.prototype.transaction;
    const calls = once(IDBDatabase.prototype, "transaction", function (this: IDBDatabase) {
      const transaction = real.call(this, "ledger", "readwrite");
      // Nobody is told that it was stored.
      return Object.defineProperty(transaction, "oncomplete", { set: () => {} });
    });
    const giveUp = holdPatience();
    const out = one.client.logout();
    await until(() => calls() === 1);
    const two = now.browser.open();
    assert.equal(await two.client.user(), null);
    const other = now.service.somebody();
    await two.client.register(other);
    giveUp();
    await out;
    assert.equal((await two.client.user())?.email, other.email);
    assert.equal(one.network.count("/logout"), 0);
  });
});

for (const hasLocks of [true, false]) {
  describe(`a database that is too slow, with ${hasLocks ? "Web Locks" : "the lease"}`, () => {
    const now = scene();
    const world = { hasLocks };

    afterEach(() => mock.restoreAll());

    const slow = {
      "two edits": () => slowDown(2, 0),
      "an edit, and a connection anew": () => slowDown(1, 1),
    };

    for (const [what, slowsDown] of Object.entries(slow)) {
      it(`hides no key that another tab waits with: ${what}`, async () => {
        const [one, two] = await twoTabs();
        await losesAnswers(one);
        slowsDown();
        await two.client.sessions();
        await staysSignedIn(two);
      });
    }

    it("hides no key from a page that was just loaded: the connection", async () => {
      const [one] = await twoTabs();
      await losesAnswers(one);
      slowDown(0, 2);
      const two = now.browser.open({}, world);
      await staysSignedIn(two);
    });

    it("is told of a sign-out at the service", async () => {
      const [one] = await twoTabs();
      slowDown(3, 0);
      await one.client.logout();
      assert.equal(one.network.count("/logout"), 1);
    });

    it("lets no refresh that is answered meanwhile undo a sign-out", async () => {
      const [one, two] = await twoTabs();
      shiftClock(20);
      one.network.delayMs = 300;
      const refreshed = one.client.sessions().catch(() => {});
      await until(() => one.network.count("/refresh") === 1);
      slowDown(1, 0);
      await two.client.logout();
      await refreshed;
      assert.equal(two.network.count("/logout"), 1);
      await until(() => one.client.state.status === "signed-out");
    });

    it("lets no page that was just loaded at the cookies beside a sign-in", async () => {
      const [one] = await twoTabs();
      one.network.expect("/login", "hang after arrival");
      one.client.login(now.service.somebody()).catch(() => {});
      await until(() => one.network.hanging === 1);
      slowDown(0, 1);
      const two = now.browser.open({}, world);
      const out = two.client.logout();
      assert.equal(await Promise.race([out, pause(500, "waits")]), "waits");
      assert.equal(two.network.sent.length, 0);
      one.crash();
      shiftClock(1);
      await out;
    });

    it("is given up where it never ends", async () => {
      const [one] = await twoTabs();
      slowDown(Infinity, 0);
      shiftClock(20);
      await assert.rejects(one.client.sessions(), { code: "TIMEOUT" });
      assert.equal(one.client.state.status, "signed-in");
    });

    it("lets no tab at the cookies beside another one", async () => {
      const [one, two] = await twoTabs();
      one.network.expect("/refresh", "hang after arrival");
      shiftClock(20);
      one.client.sessions().catch(() => {});
      await until(() => one.network.hanging === 1);
      slowDown(2, 0);
      const asked = two.client.sessions();
      const before = two.network.sent.length;
      assert.equal(await Promise.race([asked, pause(1_000, "waits")]), "waits");
      assert.equal(two.network.sent.length, before);
      one.crash();
      // Whoever crashed holds the lease until it is over.
      shiftClock(21);
      await asked;
      await staysSignedIn(two);
    });

    /** Both have the same tokens. */
    async function twoTabs(): Promise<[Tab, Tab]> {
      (await signedIn(now)).crash();
      const [one, two] = [now.browser.open({}, world), now.browser.open({}, world)];
      await one.client.user();
      await two.client.user();
      await pause(HEARD_MS);
      return [one, two];
    }

    async function losesAnswers(tab: Tab): Promise<void> {
      tab.network.expect("/refresh", "lose answer", "lose answer", "lose answer");
      shiftClock(20);
      await assert.rejects(tab.client.sessions(), { code: "NETWORK" });
    }

    /** The next edits and connections are given up almost at once. */
    function slowDown(edits: number, connections: number): void {
      hangs(IDBDatabase.prototype, "transaction", edits, never);
      hangs(IDBFactory.prototype, "open", connections, {});
      hurry();
    }

    async function staysSignedIn({ client }: Tab): Promise<void> {
      const { sessions, ended } = await client.sessions();
      assert.equal(sessions.length, 1);
      assert.deepEqual(ended, []);
    }
  });
}

describe("a lease that is given back and told of late", () => {
  const now = scene();

  afterEach(() => mock.restoreAll());

  it("undoes none that another tab has taken since", async () => {
    const { crash, person } = await signedIn(now);
    crash();
    const world = { hasLocks: false };
    const [one, two] = [now.browser.open({}, world), now.browser.open({}, world)];
    await two.client.user();
    const real = IDBDatabase.prototype.transaction;
    let calls = 0;
    const fake = function (this: IDBDatabase, ...given: unknown[]) {
      // The other tab has taken the lease, and is slow to begin.
      if (++calls === 6) return never;
      const transaction = Reflect.apply(real, this, given);
      // Taken, begun, settled and given back.
      if (calls !== 4) return transaction;
      return Object.defineProperty(transaction, "oncomplete", { set: () => {} });
    };
    mock.method(IDBDatabase.prototype, "transaction", fake as never);
    // Nothing else may be given up, on however busy a machine.
    hurry(1_000);
    await one.client.login(person);
    assert.equal(calls, 4);
    two.network.expect("/login", "hang after arrival");
    two.client.login(person).catch(() => {});
    await until(() => two.network.hanging === 1);
    const again = one.client.login(person);
    assert.equal(await Promise.race([again, pause(1_500, "waits")]), "waits");
    two.crash();
    shiftClock(1);
    await again;
  });
});

describe("a database that told late, and then fails", () => {
  const now = scene();

  afterEach(() => mock.restoreAll());

  it("brings no wish back that this tab has seen to", async () => {
    const { client, network, person } = await signedIn(now);
    await client.user();
    const real = IDBDatabase.prototype.transaction;
    let calls = 0;
    const fake = function (this: IDBDatabase, ...given: unknown[]) {
      if (calls++ > 0) return refuse();
      const transaction = Reflect.apply(real, this, given);
      return Object.defineProperty(transaction, "oncomplete", { set: () => {} });
    };
    mock.method(IDBDatabase.prototype, "transaction", fake as never);
    hurry();
    await client.logout();
    await client.login(person);
    mock.restoreAll();
    shiftClock(20);
    await client.sessions();
    assert.equal(network.count("/logout"), 1);
  });
});

describe("a ledger that begins anew", () => {
  const now = scene();

  for (const how of ["is deleted", "cannot be stored"]) {
    it(`has later turns than before, for tabs that come later: one that ${how}`, async () => {
      const { client, crash } = await signedIn(now);
      const user = await client.user();
      crash();
      const name = `keyward ${now.service.baseUrl}`;
      if (how === "is deleted") await deleteDatabase(name);
      else now.browser.breakDatabase();
      const idle = now.browser.open({ initial: { user } });
      shiftClock(1);
      const later = now.browser.open();
      await later.client.user();
      if (how === "is deleted") await deleteDatabase(name);
      await idle.client.logout();
      await until(() => later.client.state.status === "signed-out");
    });
  }

  for (const how of ["is deleted", "cannot be stored"]) {
    it(`counts on, so that older tabs hear of every sign-out: one that ${how}`, async () => {
      if (how === "cannot be stored") now.browser.breakDatabase();
      const one = now.browser.open();
      await one.client.register(now.service.somebody());
      for (const minutes of [20, 40, 60]) {
        shiftClock(minutes);
        await one.client.sessions();
      }
      if (how === "is deleted") await deleteDatabase(`keyward ${now.service.baseUrl}`);
      const two = now.browser.open();
      await two.client.user();
      await two.client.logout();
      await until(() => one.client.state.status === "signed-out");
    });
  }
});

/** The method does this once, and then what it always does. Answers how often it was called. */
function once(prototype: object, name: string, act: (this: never) => unknown): () => number {
  const real = Reflect.get(prototype, name);
  let calls = 0;
  const method = mock.method(prototype as Record<string, () => unknown>, name);
  method.mock.mockImplementation(function (this: never, ...given: unknown[]) {
    return calls++ === 0 ? act.call(this) : Reflect.apply(real, this, given);
  });
  return () => calls;
}

/** What waits for a database gives it up when this is called. */
function holdPatience(): () => void {
  const real = globalThis.setTimeout;
  const held: (() => void)[] = [];
  mock.method(globalThis, "setTimeout", (act: () => void, ms?: number) => {
    if (ms === ANSWER_MAX_MS) held.push(act);
    return real(act, ms);
  });
  return () => {
    for (const act of held) act();
  };
}

/** Ends its transaction. */
function abort(this: IDBObjectStore): unknown {
  this.transaction.abort();
  return {};
}

function deleteDatabase(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.onsuccess = () => resolve();
    request.onerror = reject;
  });
}
