// Bad networks, sleeping devices and pages that go in mid-flight: nobody is signed out by them.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { chromium } from "../src/world/chromium.ts";
import { CIRCUMSTANCES } from "../src/world/circumstances.ts";
import { Device } from "../src/world/device.ts";
import { CALM, type Weather } from "../src/world/front.ts";
import { register } from "../src/world/people.ts";
import { Scene } from "../src/world/scene.ts";

const now = chromium();

for (const place of CIRCUMSTANCES) {
  describe(place.name, () => {
    let scene: Scene;
    let device: Device;
    let email: string;

    before(async () => {
      scene = await Scene.open(place, now.certificate, {
        KEYWARD_ACCESS_TOKEN__TTL: "2s",
      });
    });

    beforeEach(async () => {
      device = await Device.open(now.browser, scene, place.traits);
      email = (await register(await device.openTab())).email;
      await device.openTabs(2);
      await device.all(() => globalThis.tab.who());
    });

    afterEach(async () => {
      scene.front.weather = CALM;
      await device.close();
    });

    after(() => scene.close());

    test("every third answer is lost and every fifth request comes twice", async () => {
      let refreshes = 0;
      scene.front.weather = onRefresh(() => {
        refreshes += 1;
        return { lost: refreshes % 3 === 0, ...(refreshes % 5 === 0 && { again: 0 }) };
      });
      while (refreshes < 15) {
        await device.sleep(NIGHT_MS);
        assert.deepEqual(await device.all(() => globalThis.tab.work()), [200, 200, 200]);
      }
      await checkSignedIn();
    });

    test("a device sleeps for a night, and all its tabs wake at once", async () => {
      await device.sleep(NIGHT_MS);
      assert.deepEqual(await device.all(() => globalThis.tab.work()), [200, 200, 200]);
      await checkSignedIn();
    });

    test("a page is loaded anew while its refresh is under way", async () => {
      const [tab] = device.tabs;
      assert.ok(tab);
      let isUnderWay = () => {};
      const underWay = new Promise<void>((resolve) => {
        isUnderWay = resolve;
      });
      scene.front.weather = onRefresh(() => {
        isUnderWay();
        return { slow: 500 };
      });
      await device.sleep(NIGHT_MS);
      const work = tab.evaluate(() => globalThis.tab.work()).catch(() => "gone");
      await underWay;
      await device.reload(tab);
      assert.equal(await work, "gone");
      await checkSignedIn();
    });

    test("a device is offline for longer than the access token lives", async () => {
      await device.setOffline(true);
      await pause(2500);
      assert.deepEqual(await device.all(() => globalThis.tab.work()), Array(3).fill("NETWORK"));
      await device.setOffline(false);
      await checkSignedIn();
    });

    test("the disk is full, and every answer is lost for a while", async () => {
      const [tab] = device.tabs;
      assert.ok(tab);
      await device.fillDisk();
      scene.front.weather = onRefresh(() => ({ lost: true }));
      await device.sleep(NIGHT_MS);
      assert.equal(await tab.evaluate(() => globalThis.tab.work()), "NETWORK");
      scene.front.weather = CALM;
      await device.sleep(NIGHT_MS);
      assert.equal(await tab.evaluate(() => globalThis.tab.work()), 200);
      await checkSignedIn();
    });

    async function checkSignedIn(): Promise<void> {
      assert.deepEqual(await device.all(() => globalThis.tab.who()), Array(3).fill(email));
      const told = await device.all(() => globalThis.tab.told.map(({ status }) => status));
      assert.ok(!told.flat().includes("signed-out"));
      assert.deepEqual(await scene.service.audit("--type", "session.reuse_detected"), []);
    }
  });
}

function onRefresh(fate: Weather): Weather {
  return (request) => (request.path === "/api/auth/refresh" ? fate(request) : {});
}

const NIGHT_MS = 8 * 3_600_000;
