// The examples, as a person meets them: forms, buttons and what the page says.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Browser, Page } from "playwright-core";

import { startExample } from "../../node/test/support/apps.ts";
import { PASSWORD, Service } from "../../node/test/support/service.ts";
import { Certificate } from "../src/world/certificate.ts";
import { launch } from "../src/world/device.ts";

const certificate = new Certificate();
let browser: Browser;

before(async () => {
  browser = await launch(certificate);
});

after(async () => {
  await browser.close();
  certificate.remove();
});

test("notes behind an API", async (t) => {
  const service = await Service.start();
  t.after(() => service.remove());
  const env = { KEYWARD_URL: service.url, SERVICE_KEY: service.serviceKey() };
  const app = await startExample("express", env);
  t.after(() => app.running.stop());
  const page = await open(app.origin);
  await fill(page, "notes@example.org");
  await page.getByRole("button", { name: "Register" }).click();
  await page.getByText("Signed in as notes@example.org").waitFor();
  await page.getByLabel("Note").fill("bread");
  await page.getByRole("button", { name: "Add" }).click();
  await page.getByText("bread").waitFor();
  await page.reload();
  await page.getByText("bread").waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  assert.equal(await page.getByText("bread").count(), 0);
  assert.equal(await page.getByRole("alert").textContent(), "");
  await page.context().close();
});

test("an app whose pages a server renders", async (t) => {
  const service = await Service.start({
    KEYWARD_ACCESS_TOKEN__DELIVERY: "cookie",
    KEYWARD_SERVER__TRUSTED_PROXIES: "127.0.0.1/32",
  });
  t.after(() => service.remove());
  const keys = { SERVICE_KEY: service.serviceKey(), APP_SECRET: "s".repeat(40) };
  const app = await startExample("ssr", { KEYWARD_URL: service.url, ...keys });
  t.after(() => app.running.stop());
  const page = await open(`${app.origin}/register`);
  await fill(page, "pages@example.org");
  await page.getByRole("button", { name: "Register" }).click();
  await page.getByText("this one").waitFor();
  await page.getByRole("link", { name: "Notes" }).click();
  await page.getByText("Welcome back").waitFor();
  assert.equal(await page.evaluate(() => /(?:refresh|access)Token/.test(document.cookie)), false);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("Nobody is signed in").waitFor();
  await page.context().close();
});

async function open(url: string): Promise<Page> {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

async function fill(page: Page, email: string): Promise<void> {
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
}
