// Apps that ask by axios, from another origin than the service's: with tokens, and with cookies.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Page } from "playwright-core";

import { chromium } from "../src/world/chromium.ts";
import { Device } from "../src/world/device.ts";
import { register } from "../src/world/people.ts";
import { Scene } from "../src/world/scene.ts";

const now = chromium();

for (const delivery of ["body", "cookie"]) {
  test(`axios across origins, delivery by ${delivery}`, async (t) => {
    const place = { name: "axios", isTls: false, pages: "cross origin" } as const;
    const settings = { KEYWARD_ACCESS_TOKEN__DELIVERY: delivery };
    const scene = await Scene.open(place, now.certificate, settings);
    t.after(() => scene.close());
    const device = await Device.open(now.browser, scene);
    t.after(() => device.close());
    const tab = await device.openTab();
    await register(tab);
    assert.deepEqual(await work(tab), [200, 200]);
    assert.equal(refreshesOf(scene), 0);
    await device.sleep(HOUR_MS);
    assert.deepEqual(await work(tab), [200, 200]);
    assert.equal(refreshesOf(scene), 1);
    await refuseNext(tab, scene);
    assert.deepEqual(await work(tab), [200, 200]);
    assert.equal(refreshesOf(scene), 2);
  });
}

/** Reads something and changes something, which takes a CSRF token where cookies say who asks. */
async function work(tab: Page): Promise<number[]> {
  const read = await tab.evaluate(() => globalThis.tab.workByAxios("get"));
  const change = await tab.evaluate(() => globalThis.tab.workByAxios("patch", { name: "Ada" }));
  return [read, change];
}

/** The next request with an access token is answered as if that had expired. */
async function refuseNext(tab: Page, { baseUrl }: Scene): Promise<void> {
  const json = { error: "The access token has expired.", code: "TOKEN_EXPIRED" };
  await tab.route(
    `${baseUrl}/me`,
    async (route) => route.fulfill({ response: await route.fetch(), status: 401, json }),
    { times: 1 },
  );
}

function refreshesOf({ front }: Scene): number {
  return front.seen.filter(({ method, path }) => method === "POST" && path.endsWith("/refresh"))
    .length;
}

const HOUR_MS = 3_600_000;
