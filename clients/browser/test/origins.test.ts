import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Browser } from "./world/browser.ts";
import { scene, signedIn } from "./world/scene.ts";

describe("a page of another origin", () => {
  const now = scene();
  /** One that cannot read the cookies of the service. */
  const elsewhere = () => new Browser(now.service, "http://127.0.0.1:5173");

  it("asks for the CSRF token once, and keeps it", async () => {
    const browser = elsewhere();
    const first = browser.open();
    await first.client.register(now.service.somebody());
    first.crash();
    const { client, network } = browser.open();
    assert.ok(await client.user());
    assert.equal(network.count("/csrf"), 1);
    await client.logout();
    assert.equal(network.count("/csrf"), 1);
    assert.equal(await browser.open().client.user(), null);
    browser.close();
  });

  it("asks again where somebody signed in anew in another tab that it did not hear", async () => {
    const browser = elsewhere();
    const { client, network } = browser.open();
    await client.register(now.service.somebody());
    client.close();
    const person = now.service.somebody();
    await browser.open().client.register(person);
    network.expect("/me", { status: 401, body: { error: "Old.", code: "TOKEN_EXPIRED" } });
    assert.equal((await client.user())?.email, person.email);
    assert.equal(network.count("/csrf"), 1);
    browser.close();
  });

  it("is not sent the token unless it is listed", async () => {
    const { client } = await signedIn(now);
    const url = "https://elsewhere.example/steal";
    await assert.rejects(client.fetch(url), /list it in "origins"/);
    const listed = now.browser.open({ origins: ["https://elsewhere.example"] });
    const pass = await listed.client.pass({ url });
    assert.match(pass.headers["Authorization"] ?? "", /^Bearer ey/);
  });

  it("is not sent the token where the page's addresses are below another one", async () => {
    const { client } = await signedIn(now);
    const value = "https://elsewhere.example/";
    Object.defineProperty(globalThis.document, "baseURI", { value });
    await assert.rejects(client.fetch("steal"), /list it in "origins"/);
  });

  it("is sent no cookies by `fetch` but where the caller wants it", async () => {
    const { client, network } = await signedIn(now);
    await client.fetch(`${now.service.baseUrl}/me`);
    assert.equal(network.sent.at(-1)?.credentials, "same-origin");
  });
});

describe("tokens in cookies", () => {
  const now = scene({ KEYWARD_ACCESS_TOKEN__DELIVERY: "cookie", KEYWARD_ACCESS_TOKEN__TTL: "1s" });

  it("are sent with the CSRF token, and replaced like those in memory", async () => {
    const { client, network, person } = await signedIn(now);
    assert.equal((await client.user())?.email, person.email);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const url = `${now.service.baseUrl}/me`;
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ name: "Ada" });
    const answer = await client.fetch(url, { method: "PATCH", headers, body });
    assert.equal(answer.status, 200);
    const sent = network.sent.at(-1);
    assert.equal(sent?.credentials, "include");
    assert.equal(sent?.headers.get("Authorization"), null);
    assert.equal(sent?.headers.get("X-CSRF-Token"), now.browser.jar.value("csrfToken"));
    assert.ok(network.count("/refresh") >= 2);
    await client.logout();
    assert.equal(await client.user(), null);
  });
});
