// The server-rendered example, walked through as a browser would, in front of a real service.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { type App, startExample } from "./support/apps.ts";
import { Browser } from "./support/browser.ts";
import { BEHIND_AN_APP, PASSWORD, Service } from "./support/service.ts";

/** A session that never ends here ends the test that waits for it. */
const LIMIT = { timeout: 60_000 };

let service: Service;
let apps: App[];

before(async () => {
  service = await Service.start(BEHIND_AN_APP);
  const env = {
    KEYWARD_URL: service.url,
    SERVICE_KEY: service.serviceKey(),
    APP_SECRET: "s".repeat(40),
  };
  apps = await Promise.all([startExample("ssr", env), startExample("ssr", env)]);
});

after(async () => {
  await Promise.all(apps.map((app) => app.running.stop()));
  await service.remove();
});

test("register, look around, sign out, sign in, and be sent where one wanted to go", async () => {
  const browser = new Browser(origin());
  const first = await browser.get("/account");
  assert.equal(first.status, 303);
  assert.equal(first.headers.get("location"), "/sign-in?next=%2Faccount");
  await register(browser, "walk@example.org");
  const account = await browser.get("/account");
  assert.equal(account.status, 200);
  assert.match(account.text, /walk@example\.org/);
  assert.match(account.text, /this one/);
  const out = await browser.post("/sign-out");
  assert.equal(out.status, 303);
  assert.deepEqual([...browser.jar.keys()], ["device"]);
  assert.match((await browser.get("/")).text, /Nobody is signed in/);
  const fields = { email: "walk@example.org", password: PASSWORD, next: "/account" };
  const back = await browser.post("/sign-in", fields);
  assert.equal(back.headers.get("location"), "/account");
  assert.match((await browser.get("/")).text, /Welcome back/);
});

test("a wrong password is told, and markup in a field stays text", async () => {
  const browser = new Browser(origin());
  const email = '"><script>alert(1)</script>@example.org';
  const page = await browser.post("/sign-in", { email, password: PASSWORD, next: "//evil.test" });
  assert.equal(page.status, 401);
  assert.match(page.text, /role="alert"/);
  assert.doesNotMatch(page.text, /<script/);
  assert.match(page.text, /name="next" value="\/"/);
});

test("pages carry a strict policy, are not kept, and cookies are for the app alone", async () => {
  const browser = new Browser(origin());
  const page = await register(browser, "headers@example.org");
  for (const line of page.headers.getSetCookie()) {
    assert.match(line, /; Path=\/; HttpOnly; SameSite=Lax; Priority=High; Max-Age=\d+$/);
  }
  const home = await browser.get("/");
  assert.match(home.headers.get("content-security-policy") ?? "", /^default-src 'none'/);
  assert.equal(home.headers.get("cache-control"), "no-store");
  assert.doesNotMatch(home.text, /<script|style=|onclick/);
});

test("another site can neither sign out nor sign in", async () => {
  const browser = new Browser(origin());
  await register(browser, "csrf@example.org");
  for (const path of ["/sign-out", "/sign-in", "/register"]) {
    const page = await browser.post(path, {}, "https://evil.test");
    assert.equal(page.status, 403, path);
    assert.equal(JSON.parse(page.text).code, "ORIGIN_NOT_ALLOWED");
  }
  assert.match((await browser.get("/")).text, /Welcome back/);
});

test("fifty requests at once, in two processes, keep one line", async () => {
  const browser = new Browser(origin());
  await register(browser, "many@example.org");
  for (let round = 0; round < 3; round += 1) {
    browser.jar.delete("accessToken");
    const copies = Array.from({ length: 50 }, (_, at) => browser.copy(origin(at % 2)));
    const pages = await Promise.all(copies.map((copy) => copy.get("/account")));
    assert.deepEqual(new Set(pages.map((page) => page.status)), new Set([200]));
    const lines = new Set(copies.map((copy) => copy.jar.get("refreshToken")));
    assert.equal(lines.size, 1);
    assert.notEqual([...lines][0], browser.jar.get("refreshToken"));
    // The browser keeps what came last, whichever that was.
    for (const [name, value] of copies[7]?.jar ?? []) browser.jar.set(name, value);
  }
  const events = service.run("audit", "--json");
  assert.equal(events.match(/"session\.refreshed"/g)?.length, 3);
  assert.doesNotMatch(events, /reuse_detected/);
});

test("a session that ended elsewhere is over here too, and says why", LIMIT, async () => {
  const browser = new Browser(origin());
  await register(browser, "ended@example.org");
  const token = browser.jar.get("accessToken") ?? "";
  assert.equal((await service.ask("POST", "/logout-all", { token })).status, 200);
  let page = await browser.get("/");
  while (/Welcome back/.test(page.text)) page = await browser.get("/");
  assert.match(page.text, /signed out everywhere/);
  assert.deepEqual([...browser.jar.keys()], ["device"]);
  assert.match((await browser.get("/")).text, /Nobody is signed in/);
});

test("a thief of the cookies who comes later is noticed, and both are signed out", async () => {
  const browser = new Browser(origin());
  await register(browser, "theft@example.org");
  const thief = browser.copy();
  browser.jar.delete("accessToken");
  assert.equal((await browser.get("/account")).status, 200);
  // The thief goes to the service itself, which does not know the app's secret.
  const csrf = thief.jar.get("csrfToken") ?? "";
  const cookie = `refreshToken=${thief.jar.get("refreshToken")}; csrfToken=${csrf}`;
  const headers = { Cookie: cookie, "X-CSRF-Token": csrf };
  const answer = await service.ask("POST", "/refresh", { headers });
  assert.equal(answer.body["code"], "REFRESH_TOKEN_REUSED");
  browser.jar.delete("accessToken");
  assert.match((await browser.get("/")).text, /used by somebody else/);
});

test("a service that is killed while it exchanges tokens signs nobody out", async () => {
  const browser = new Browser(origin());
  await register(browser, "crash@example.org");
  for (let round = 0; round < 5; round += 1) {
    browser.jar.delete("accessToken");
    const pages = Array.from({ length: 20 }, (_, at) =>
      browser.copy(origin(at % 2)).get("/account"),
    );
    // A little later each time, so that it falls before, into and after the commit.
    await new Promise((resolve) => setTimeout(resolve, round * 4));
    await service.crash();
    const statuses = (await Promise.all(pages)).map((page) => page.status);
    assert.ok(
      statuses.every((status) => status === 200 || status === 503),
      statuses.join(),
    );
    await service.start();
    let account = await browser.get("/account");
    while (account.status === 503) account = await browser.get("/account");
    assert.equal(account.status, 200, account.text);
  }
});

test("while the service is away nobody is signed out", async () => {
  const browser = new Browser(origin());
  await register(browser, "away@example.org");
  const cookies = new Map(browser.jar);
  await service.stop();
  assert.match((await browser.get("/")).text, /Welcome back/);
  browser.jar.delete("accessToken");
  assert.match((await browser.get("/")).text, /cannot tell right now/);
  const account = await browser.get("/account");
  assert.equal(account.status, 503);
  assert.ok(account.headers.get("retry-after"));
  assert.equal(browser.jar.get("refreshToken"), cookies.get("refreshToken"));
  await service.start();
  assert.equal((await browser.get("/account")).status, 200);
});

function origin(at = 0): string {
  return apps[at]?.origin ?? "";
}

async function register(browser: Browser, email: string) {
  const page = await browser.post("/register", { email, password: PASSWORD });
  assert.equal(page.status, 303, page.text);
  return page;
}
