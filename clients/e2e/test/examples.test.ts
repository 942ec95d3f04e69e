// The examples, as a person meets them: the one command that starts them, forms, buttons and what
// the page says.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import type { Page } from "playwright-core";

import { freePort } from "../../node/test/support/process.ts";
import { BEHIND_AN_APP, PASSWORD, Service } from "../../node/test/support/service.ts";
import { chromium } from "../src/world/chromium.ts";
import { Example } from "../src/world/example.ts";
import { inspect } from "../src/world/findings.ts";

const now = chromium();

/** Ends what never does. */
const LIMIT = { timeout: 120_000 };

test("a page by itself", LIMIT, async (t) => {
  const app = await startPage(t, await freePort());
  const { page, leave } = await visit(t, app.origin);
  const register = page.locator("#register");
  await register.getByLabel("Name").fill("Ada");
  await fill(register, "page@example.org");
  await register.getByRole("button", { name: "Create" }).click();
  await page.getByText("Hello, Ada").waitFor();
  await page.getByText("this device").waitFor();
  await inspect(page);
  await page.reload();
  await page.getByText("this device").waitFor();
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.getByText("You are signed out.").waitFor();
  await fill(page.locator("#login"), "page@example.org");
  await page.locator("#login").getByRole("button").click();
  await page.getByText("Hello, Ada").waitFor();
  await leave();
});

test("a page by itself does not stay where its service is not", LIMIT, async (t) => {
  const other = createServer().listen(0, "127.0.0.1");
  t.after(() => other.close());
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  const app = await startPage(t, port).catch((error) => {
    assert.match(String(error), /in use/);
  });
  await app?.ended();
});

test("notes behind an API", LIMIT, async (t) => {
  const service = await Service.start();
  t.after(() => service.remove());
  const keys = { SERVICE_KEY: service.serviceKey() };
  const app = await start(t, "express", { KEYWARD_URL: service.url, ...keys });
  const { page, leave } = await visit(t, app.origin);
  await fill(page, "notes@example.org");
  await page.getByRole("button", { name: "Register" }).click();
  await page.getByText("Signed in as notes@example.org").waitFor();
  await page.getByLabel("Note").fill("bread");
  await page.getByRole("button", { name: "Add" }).click();
  await page.getByText("bread").waitFor();
  await page.reload();
  await page.getByText("bread").waitFor();
  await inspect(page);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  assert.equal(await page.getByText("bread").count(), 0);
  assert.equal(await page.getByRole("alert").textContent(), "");
  await leave();
});

test("an app whose pages a server renders", LIMIT, async (t) => {
  const service = await Service.start(BEHIND_AN_APP);
  t.after(() => service.remove());
  const keys = { SERVICE_KEY: service.serviceKey(), APP_SECRET: "s".repeat(40) };
  const app = await start(t, "ssr", { KEYWARD_URL: service.url, ...keys });
  const { page, leave } = await visit(t, `${app.origin}/register`);
  await fill(page, "pages@example.org");
  await page.getByRole("button", { name: "Register" }).click();
  await page.getByText("this one").waitFor();
  await page.getByRole("link", { name: "Notes" }).click();
  await page.getByText("Welcome back").waitFor();
  await inspect(page);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("Nobody is signed in").waitFor();
  await leave();
});

/** The page by itself, with its service on this port and a store of its own. */
async function startPage(t: TestContext, port: number): Promise<Example> {
  const folder = mkdtempSync(join(tmpdir(), "keyward-spa-"));
  const settings = { VITE_KEYWARD_URL: `http://localhost:${port}`, DATA_DIR: folder };
  const starting = Example.start("spa", settings);
  t.after(async () => {
    const app = await starting.catch(() => undefined);
    await app?.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 9 });
  });
  return starting;
}

async function start(t: TestContext, ...example: Parameters<typeof Example.start>) {
  const app = await Example.start(...example);
  t.after(() => app.stop());
  return app;
}

/** Opens a page, which must have left no token open and kept its policy when it is left. */
async function visit(t: TestContext, url: string) {
  const context = await now.browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const violations: string[] = [];
  await page.exposeFunction("note", (violation: string) => violations.push(violation));
  await page.addInitScript(NOTE_VIOLATIONS);
  await page.goto(url);
  const leave = async () => {
    await inspect(page);
    assert.deepEqual(violations, []);
    // There is a policy, and its violations are heard of.
    await page.evaluate(() => void Object.assign(new Image(), { src: "/forbidden.png" }));
    while (violations.length === 0) await pause(10);
    assert.deepEqual(violations, [`img-src ${new URL(url).origin}/forbidden.png`]);
  };
  return { page, leave };
}

async function fill(form: Pick<Page, "getByLabel">, email: string): Promise<void> {
  await form.getByLabel("E-mail").fill(email);
  await form.getByLabel("Password").fill(PASSWORD);
}

const NOTE_VIOLATIONS = `document.addEventListener("securitypolicyviolation", (violation) => {
  note(violation.violatedDirective + " " + violation.blockedURI);
});`;
