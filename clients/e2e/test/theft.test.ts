// Somebody copies the cookies of a browser: the second one to refresh is found out, the session
// ends for both, and the person is told why.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { chromium } from "../src/world/chromium.ts";
import { CIRCUMSTANCES } from "../src/world/circumstances.ts";
import { Device } from "../src/world/device.ts";
import { register } from "../src/world/people.ts";
import { Scene } from "../src/world/scene.ts";

const now = chromium();

for (const place of CIRCUMSTANCES) {
  describe(place.name, () => {
    let scene: Scene;

    before(async () => {
      scene = await Scene.open(place, now.certificate);
    });

    after(() => scene.close());

    for (const first of ["thief", "victim"] as const) {
      test(`the cookies are stolen, and the ${first} refreshes first`, async (t) => {
        const victim = await Device.open(now.browser, scene, place.traits);
        const thief = await Device.open(now.browser, scene, place.traits);
        t.after(() => Promise.all([victim.close(), thief.close()]));
        const { email } = await register(await victim.openTab());
        await victim.openTabs(2);
        await victim.all(() => globalThis.tab.who());
        await thief.context.addCookies(await victim.context.cookies());
        const lair = await thief.openTab();

        if (first === "victim") await refresh(victim);
        const stolen = await lair.evaluate(() => globalThis.tab.who());
        assert.equal(stolen, first === "thief" ? email : null);
        await refresh(victim);

        // The tabs tell each other why, which may take a moment.
        await Promise.all(victim.tabs.map((tab) => tab.waitForFunction(isExplained)));
        await thief.sleep(NIGHT_MS);
        assert.notEqual(await lair.evaluate(() => globalThis.tab.work()), 200);
        const user = ["--user", email];
        const events = await scene.service.audit("--type", "session.reuse_detected", ...user);
        assert.equal(events.length, 1);
      });
    }
  });
}

async function refresh(device: Device): Promise<void> {
  await device.sleep(NIGHT_MS);
  await device.all(() => globalThis.tab.work());
}

function isExplained(): boolean {
  const { state } = globalThis.tab.client;
  return state.status === "signed-out" && state.reason === "reuse_detected";
}

const NIGHT_MS = 8 * 3_600_000;
