import assert from "node:assert/strict";
import { afterEach, describe, it, mock } from "node:test";
import { IDBDatabase, IDBFactory, IDBObjectStore } from "fake-indexeddb";
import { scene, signedIn } from "./world/scene.ts";
import { shiftClock, until } from "./world/time.ts";

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

describe("a ledger that begins anew", () => {
  const now = scene();

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

function refuse(): never {
  throw new DOMException("The connection was lost.", "UnknownError");
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
