// The Express example, asked as its page asks it, in front of a real service.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { type App, startExample } from "./support/apps.ts";
import { Service } from "./support/service.ts";

let service: Service;
let app: App;

before(async () => {
  service = await Service.start();
  const env = { KEYWARD_URL: service.url, SERVICE_KEY: service.serviceKey() };
  app = await startExample("express", env);
});

after(async () => {
  await app.running.stop();
  await service.remove();
});

test("its page is static, and its policy allows nothing inline", async () => {
  const page = await fetch(`${app.origin}/`);
  const policy = page.headers.get("content-security-policy") ?? "";
  assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
  assert.ok(policy.includes(`connect-src 'self' ${service.url};`));
  const text = await page.text();
  assert.doesNotMatch(text, /<script>|style=| on\w+=/);
  for (const [, path = ""] of text.matchAll(/(?:src|href)="([^"]+)"/g)) {
    assert.equal((await fetch(`${app.origin}${path}`)).status, 200, path);
  }
  assert.equal((await fetch(`${app.origin}/settings.json`)).status, 200);
});

test("every module that its page needs is there", async () => {
  const paths = new Set(["/notes.js"]);
  for (const path of paths) {
    const answer = await fetch(`${app.origin}${path}`);
    assert.equal(answer.status, 200, path);
    assert.match(answer.headers.get("content-type") ?? "", /javascript/);
    for (const [, from = ""] of (await answer.text()).matchAll(/from "([^"]+)"/g)) {
      paths.add(new URL(from, `${app.origin}${path}`).pathname);
    }
  }
  assert.ok(paths.has("/keyward/index.js"));
});

test("whoever is signed in has notes of their own", async () => {
  const [ada, eve] = [
    await service.register("ada@example.org"),
    await service.register("eve@example.org"),
  ];
  assert.deepEqual(await ask("POST", "/notes", ada, { text: "bread" }), [
    201,
    { notes: ["bread"] },
  ]);
  assert.deepEqual(await ask("GET", "/notes", ada), [200, { notes: ["bread"] }]);
  assert.deepEqual(await ask("GET", "/notes", eve), [200, { notes: [] }]);
  assert.equal((await ask("DELETE", "/notes", ada))[0], 204);
  assert.deepEqual(await ask("GET", "/notes", ada), [200, { notes: [] }]);
});

test("whoever is not, or has no role, is told so in the words of the service", async () => {
  const [status, body] = await ask("GET", "/notes");
  assert.equal(status, 401);
  assert.equal(body["code"], "NO_TOKEN");
  const token = await service.register("role@example.org");
  const [forbidden, { code }] = await ask("GET", "/statistics", token);
  assert.deepEqual([forbidden, code], [403, "INSUFFICIENT_PERMISSIONS"]);
});

test("signing out ends the token here too", async () => {
  const token = await service.register("out@example.org");
  assert.equal((await ask("GET", "/notes", token))[0], 200);
  assert.equal((await service.ask("POST", "/logout", { token })).status, 200);
  let [status, body] = await ask("GET", "/notes", token);
  while (status === 200) [status, body] = await ask("GET", "/notes", token);
  assert.deepEqual([status, body["code"]], [401, "TOKEN_REVOKED"]);
});

async function ask(
  method: string,
  path: string,
  token?: string,
  body?: object,
): Promise<[number, Record<string, unknown>]> {
  const response = await fetch(`${app.origin}/api${path}`, {
    method,
    headers: {
      "Content-Type": "application/json",
      ...(token && { Authorization: `Bearer ${token}` }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return [response.status, text ? JSON.parse(text) : {}];
}
