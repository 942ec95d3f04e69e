// A tab goes while a refresh of its is under way, and it is its turn: the others go on.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import type { Page } from "playwright-core";

import { chromium } from "../src/world/chromium.ts";
import { Device } from "../src/world/device.ts";
import { CALM, type Front } from "../src/world/front.ts";
import { register } from "../src/world/people.ts";
import { Scene } from "../src/world/scene.ts";

const now = chromium();
let scene: Scene;

before(async () => {
  const place = { name: "dying", isTls: true, pages: "same origin" } as const;
  scene = await Scene.open(place, now.certificate);
});

after(() => scene.close());

/** Ends what never does. */
const LIMIT = { timeout: 60_000 };

/** How a tab goes. */
const ENDS: Readonly<Record<string, (device: Device, tab: Page) => Promise<void>>> = {
  "is closed": (device, tab) => device.closeTab(tab),
  "is loaded anew": (device, tab) => device.reload(tab),
  crashes: (device, tab) => device.crashTab(tab),
};

for (const lacksLocks of [false, true]) {
  for (const [end, happen] of Object.entries(ENDS)) {
    const how = lacksLocks ? "without Web Locks" : "with Web Locks";
    test(`a tab ${end} in mid-refresh, ${how}`, LIMIT, async (t) => {
      const device = await Device.open(now.browser, scene, { lacksLocks });
      t.after(() => device.close());
      const dying = await device.openTab();
      const { email } = await register(dying);
      await device.openTabs(2);
      await device.all(() => globalThis.tab.who());
      await device.sleep(NIGHT_MS);
      // From here on no lease ends by itself.
      await device.stopClock();

      const { isUnderWay, release } = holdNextRefresh(scene.front);
      t.after(release);
      const lost = dying.evaluate(() => globalThis.tab.work()).catch(() => "gone");
      await isUnderWay;
      const sent = scene.front.seen.length;
      await happen(device, dying);
      assert.equal(await lost, "gone");
      const work = device.all(() => globalThis.tab.work());
      if (end === "crashes" && lacksLocks) {
        // Nobody can tell it from a tab that is slow: the others wait its lease out.
        await pause(PATIENCE_MS);
        assert.deepEqual(scene.front.seen.slice(sent), []);
        await device.sleep(LEASE_MS);
      }
      assert.deepEqual(await work, Array(device.tabs.length).fill(200));

      // The answer that the tab has not lived to see does no harm when it comes after all.
      release();
      await device.sleep(NIGHT_MS);
      assert.deepEqual(
        await device.all(() => globalThis.tab.who()),
        Array(device.tabs.length).fill(email),
      );
      const told = await device.all(() => globalThis.tab.told.map(({ status }) => status));
      assert.ok(!told.flat().includes("signed-out"));
      assert.deepEqual(await scene.service.audit("--type", "session.reuse_detected"), []);
    });
  }
}

/** The service does what the next refresh asks, and its answer waits until it is released. */
function holdNextRefresh(front: Front) {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const isUnderWay = new Promise<void>((resolve) => {
    front.weather = ({ path }) => {
      if (path !== "/api/auth/refresh") return {};
      front.weather = CALM;
      resolve();
      return { held };
    };
  });
  return { isUnderWay, release };
}

const NIGHT_MS = 8 * 3_600_000;

/** What the client holds a lease for at most: its timeout, and a quarter of a minute. */
const LEASE_MS = 35_000;

/** Some tries to take the lease. */
const PATIENCE_MS = 300;
