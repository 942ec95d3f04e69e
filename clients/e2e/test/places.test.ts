// Signing in, staying signed in in ten tabs, and signing out: wherever pages and service are.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import type { Page } from "playwright-core";

import { chromium } from "../src/world/chromium.ts";
import { Device, type Traits } from "../src/world/device.ts";
import type { Seen } from "../src/world/front.ts";
import { register } from "../src/world/people.ts";
import { type Place, Scene } from "../src/world/scene.ts";

const now = chromium();
let slowestMs = 0;

after(() => {
  console.log(`ten tabs were signed out after ${slowestMs} ms at most`);
});

const COOKIE_DELIVERY = { KEYWARD_ACCESS_TOKEN__DELIVERY: "cookie" };

const PLACES: readonly Place[] = [
  { name: "plain localhost, same origin", isTls: false, pages: "same origin" },
  { name: "plain localhost, cross origin", isTls: false, pages: "cross origin" },
  { name: "TLS, same origin", isTls: true, pages: "same origin" },
  { name: "TLS, cross origin", isTls: true, pages: "cross origin" },
  {
    name: "TLS, cross site",
    isTls: true,
    pages: "cross site",
    settings: { KEYWARD_COOKIES__SAME_SITE: "none" },
  },
  {
    name: "plain localhost, same origin, cookie delivery",
    isTls: false,
    pages: "same origin",
    settings: COOKIE_DELIVERY,
  },
  {
    name: "TLS, same origin, cookie delivery",
    isTls: true,
    pages: "same origin",
    settings: COOKIE_DELIVERY,
  },
];

for (const place of PLACES) {
  describe(place.name, () => {
    let scene: Scene;

    before(async () => {
      scene = await Scene.open(place, now.certificate);
    });

    after(() => scene.close());

    const open = (traits?: Traits) =>
      place.pages === "cross site"
        ? Device.openProfile(now.certificate, scene, traits)
        : Device.open(now.browser, scene, traits);

    test("the browser stores the cookies as promised", async (t) => {
      const device = await open();
      t.after(() => device.close());
      const tab = await device.openTab();
      await register(tab);
      const expected = expectedCookies(place);
      assert.deepEqual(await storedCookies(tab, scene), expected);
      await tab.evaluate(() => globalThis.tab.client.logout());
      // Who has signed out is still known.
      const left = expected.filter(({ name }) => name.endsWith("device"));
      assert.deepEqual(await storedCookies(tab, scene), left);
    });

    for (const lacksLocks of [false, true]) {
      const how = lacksLocks ? "without Web Locks" : "with Web Locks";
      test(`ten tabs refresh and sign out together, ${how}`, async (t) => {
        const device = await open({ lacksLocks });
        t.after(() => device.close());
        const first = await device.openTab();
        const { email } = await register(first);
        await device.openTabs(9);
        assert.deepEqual(await device.all(() => globalThis.tab.who()), Array(10).fill(email));
        await device.sleep(HOUR_MS);
        const asleep = scene.front.seen.length;
        assert.deepEqual(await device.all(() => globalThis.tab.work()), Array(10).fill(200));
        const refreshes = scene.front.seen.slice(asleep).filter(isRefresh).length;
        // One tab has refreshed; the others had its tokens.
        assert.equal(refreshes, 1);

        await device.inspect();
        const start = performance.now();
        const signedIn = scene.front.seen.length;
        await first.evaluate(() => globalThis.tab.client.logout());
        await Promise.all(device.tabs.map((tab) => tab.waitForFunction(hasSignedOut)));
        const tookMs = since(start);
        slowestMs = Math.max(slowestMs, tookMs);
        t.diagnostic(`signed out after ${tookMs} ms`);
        // Nobody had to ask: one tab told the others.
        const asked = scene.front.seen.slice(signedIn).filter(({ method }) => method !== "OPTIONS");
        const paths = asked.map(({ path }) => path);
        assert.deepEqual(paths, ["/api/auth/logout"]);
      });
    }
  });
}

/** What Chromium keeps, with what `document.cookie` and the like cannot show. */
async function storedCookies(tab: Page, scene: Scene) {
  const session = await tab.context().newCDPSession(tab);
  const { cookies } = await session.send("Network.getCookies", { urls: [scene.baseUrl] });
  await session.detach();
  return cookies
    .map(({ name, domain, path, httpOnly, secure, sameSite, priority, session }) => {
      return { name, domain, path, httpOnly, secure, sameSite, priority, session };
    })
    .sort((a, b) => a.name.localeCompare(b.name));
}

function expectedCookies({ isTls: secure, settings = {} }: Place) {
  const isNone = settings["KEYWARD_COOKIES__SAME_SITE"] === "none";
  const common = { domain: "localhost", secure, priority: "High", session: false };
  const strict = isNone ? "None" : "Strict";
  const cookies = [
    { name: "csrfToken", path: "/", httpOnly: false, sameSite: strict, prefix: "__Host-" },
    ...["refreshToken", "device"].map((name) => {
      const path = "/api/auth";
      return { name, path, httpOnly: true, sameSite: strict, prefix: "__Secure-" };
    }),
  ];
  if (settings["KEYWARD_ACCESS_TOKEN__DELIVERY"] === "cookie") {
    const sameSite = isNone ? "None" : "Lax";
    cookies.push({ name: "accessToken", path: "/", httpOnly: true, sameSite, prefix: "__Host-" });
  }
  return cookies
    .map(({ prefix, name, ...rest }) => ({
      ...common,
      ...rest,
      name: secure ? prefix + name : name,
    }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

function isRefresh({ method, path }: Seen): boolean {
  return method === "POST" && path === "/api/auth/refresh";
}

function hasSignedOut(): boolean {
  return globalThis.tab.client.state.status === "signed-out";
}

function since(start: number): number {
  return Math.round(performance.now() - start);
}

const HOUR_MS = 3_600_000;
