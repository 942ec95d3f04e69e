// The search for tokens finds them: what is hidden anywhere, it sees.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { chromium } from "../src/world/chromium.ts";
import { Device } from "../src/world/device.ts";
import { inspect } from "../src/world/findings.ts";
import { Scene } from "../src/world/scene.ts";

const now = chromium();
let scene: Scene;

before(async () => {
  const place = { name: "findings", isTls: false, pages: "same origin" } as const;
  scene = await Scene.open(place, now.certificate);
});

after(() => scene.close());

/** Where a page may leave a token lying. */
const PLACES: Readonly<Record<string, (token: string) => unknown>> = {
  "the local storage": (token) => localStorage.setItem("token", token),
  "the session storage": (token) => sessionStorage.setItem("token", token),
  "a cookie that scripts see": (token) => {
    // biome-ignore lint/suspicious/noDocumentCookie: it is what careless pages do.
    document.cookie = `token=${token}`;
  },
  "the page": (token) => document.body.append(token),
  "its address": (token) => history.replaceState(null, "", `#${token}`),
  "an indexed database": (token) =>
    new Promise((resolve) => {
      const opening = indexedDB.open("careless");
      opening.onupgradeneeded = () => {
        opening.result.createObjectStore("tokens").put({ nested: [token] }, 1);
      };
      opening.onsuccess = () => resolve(opening.result.close());
    }),
};

for (const [place, leave] of Object.entries(PLACES)) {
  test(`a refresh token is found in ${place}`, async (t) => {
    const device = await Device.open(now.browser, scene);
    t.after(() => device.context.close());
    const cookie = { name: "refreshToken", value: TOKEN, httpOnly: true, url: scene.baseUrl };
    await device.context.addCookies([cookie]);
    const tab = await device.openTab();
    await inspect(tab);
    await tab.evaluate(leave, TOKEN);
    await assert.rejects(inspect(tab), /a token lies open/);
  });
}

const TOKEN = "rt_2mJ0kXv9Q4sT7wYb";
