import assert from "node:assert/strict";
import { afterEach, describe, it, mock } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { ClientOptions } from "../src/index.ts";
import { scene, signedIn } from "./world/scene.ts";
import { shiftClock, until } from "./world/time.ts";

describe("a tab that stood still", () => {
  const now = scene();

  afterEach(() => mock.restoreAll());

  it("takes no token for a young one that it was handed long ago", async () => {
    (await signedIn(now)).crash();
    const [one, frozen] = [now.browser.open(), now.browser.open()];
    const thaw = freezeNews(() => frozen.client.onChange(() => {}));
    await one.client.user();
    shiftClock(60);
    thaw();
    await until(() => frozen.client.state.status === "signed-in");
    assert.equal(frozen.network.count("/refresh"), 1);
  });

  it("takes a token that it is handed at once, though the clock was set back", async () => {
    (await signedIn(now)).crash();
    const [one, frozen] = [now.browser.open(), now.browser.open()];
    const thaw = freezeNews(() => frozen.client.onChange(() => {}));
    await one.client.user();
    shiftClock(-60);
    thaw();
    await until(() => frozen.client.state.status === "signed-in");
    assert.equal(frozen.network.count("/refresh"), 0);
  });

  it("with the lock in hand keeps the others waiting for a while only", async () => {
    const { client } = await signedIn(now);
    // A page that shows a dialog, or a debugger, in the middle of its turn.
    const standing = now.browser.locks.of({});
    standing.request(`keyward ${now.service.baseUrl}`, {}, () => new Promise(() => {}));
    const real = globalThis.setTimeout;
    mock.method(globalThis, "setTimeout", (act: () => void, ms?: number) =>
      real(act, ms === PATIENCE_MS ? 20 : ms),
    );
    await assert.rejects(client.sessions(), { code: "TIMEOUT", status: 0 });
    assert.deepEqual(client.state, { status: "unknown" });
  });

  it("keeps its lease, though another one would not have leased for so long", async () => {
    const slow = await holdLease({ timeout: 600_000 });
    const other = now.browser.open({}, { hasLocks: false });
    const hasWaited = await Promise.race([other.client.user(), pause(500, "waits")]);
    assert.equal(hasWaited, "waits");
    slow.crash();
    other.crash();
  });

  it("has no lease any more once the clock was set back", async () => {
    shiftClock(1);
    await holdLease({});
    shiftClock(0);
    const patient = now.browser.open({ timeout: 600_000 }, { hasLocks: false });
    assert.ok(await patient.client.user());
  });

  /** A tab in the middle of a refresh, in a browser without locks. */
  async function holdLease(options: Partial<ClientOptions>) {
    (await signedIn(now)).crash();
    const tab = now.browser.open(options, { hasLocks: false });
    tab.network.expect("/refresh", "hang");
    tab.client.user().catch(() => {});
    await until(() => tab.network.hanging === 1);
    return tab;
  }
});

/** The channel that is opened meanwhile hears nothing until what is answered is called. */
function freezeNews(open: () => void): () => void {
  const Channel = globalThis.BroadcastChannel;
  const held: (() => void)[] = [];
  let isFrozen = true;
  class Frozen extends Channel {
    override set onmessage(hear: (event: MessageEvent) => void) {
      super.onmessage = (event: MessageEvent) =>
        isFrozen ? held.push(() => hear(event)) : hear(event);
    }
  }
  globalThis.BroadcastChannel = Frozen as never;
  open();
  globalThis.BroadcastChannel = Channel;
  return () => {
    isFrozen = false;
    for (const act of held) act();
  };
}

/** How long the client waits for the lock: its timeout, and 15 seconds. */
const PATIENCE_MS = 35_000;
