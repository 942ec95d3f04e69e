import assert from "node:assert/strict";
import { describe, it } from "node:test";
import axios from "axios";
import { attach } from "../src/axios.ts";
import type { Client } from "../src/index.ts";
import { Browser, type Tab } from "./world/browser.ts";
import { scene, signedIn } from "./world/scene.ts";
import { shiftClock, until } from "./world/time.ts";

describe("a call of somebody who is not signed in any more when it gets tokens", () => {
  const now = scene();
  const me = () => `${now.service.baseUrl}/me`;

  const calls: Record<string, (client: Client) => Promise<unknown>> = {
    updateUser: (client) => client.updateUser({ name: "Ada" }),
    logoutAll: (client) => client.logoutAll(),
    request: (client) => client.request("PATCH", "/me", { name: "Ada" }),
    fetch: (client) => client.fetch(me(), { method: "PATCH", body: '{"name":"Ada"}' }),
    pass: (client) => client.pass({ url: me() }),
    axios: (client) => {
      const http = axios.create();
      attach(http, client);
      return http.patch(me(), { name: "Ada" });
    },
  };

  for (const [name, call] of Object.entries(calls)) {
    it(`is not made, where it waited for another tab's sign-in: ${name}`, async () => {
      const { one, two, other } = await twoTabs();
      shiftClock(20);
      two.network.delayMs = 50;
      const login = two.client.login(other);
      await until(() => two.network.count("/login") === 1);
      const sent = one.network.sent.length;
      await assert.rejects(call(one.client), {
        name: "KeywardError",
        code: "NO_TOKEN",
        status: 401,
      });
      assert.equal(one.network.sent.length, sent);
      await login;
      await isUntouched(one, other);
    });
  }

  for (const name of ["updateUser", "logoutAll", "request", "fetch"]) {
    it(`is not made again, where the first try was refused: ${name}`, async () => {
      const { one, two, other } = await twoTabs();
      await two.client.login(other);
      // The news is on its way.
      await assert.rejects((calls[name] as (client: Client) => Promise<unknown>)(one.client), {
        code: "NO_TOKEN",
      });
      await isUntouched(one, other);
    });
  }

  it("is not made, where the tab did not hear who it is that is signed in", async () => {
    const { one, two, other } = await twoTabs();
    await two.client.login(other);
    one.client.close();
    shiftClock(20);
    await assert.rejects(one.client.updateUser({ name: "Ada" }), { code: "NO_TOKEN" });
    await until(() => emailIn(one.client) === other.email);
    await isUntouched(one, other);
  });

  it("is not made, where the page was rendered for somebody else", async () => {
    const { one, two, other } = await twoTabs();
    const user = await one.client.user();
    await two.client.login(other);
    const rendered = now.browser.open({ initial: { user } });
    await assert.rejects(rendered.client.updateUser({ name: "Ada" }), { code: "NO_TOKEN" });
    await isUntouched(rendered, other);
  });

  it("is made, where the same person has signed in anew, or changed the password", async () => {
    const { one, two, person } = await twoTabs();
    await two.client.login(person);
    assert.equal((await one.client.updateUser({ name: "Ada" })).name, "Ada");
    one.client.close();
    await two.client.changePassword(person.password, "correct horse, another battery");
    assert.equal((await one.client.updateUser({ name: "Grace" })).name, "Grace");
  });

  it("is made for whoever is signed in, where nobody was known as it began", async () => {
    const { two, other } = await twoTabs();
    const fresh = now.browser.open();
    await two.client.login(other);
    assert.equal((await fresh.client.updateUser({ name: "Ada" })).email, other.email);
  });

  it("is not made again for another, where nobody was known as it began", async () => {
    const { two, other } = await twoTabs();
    let go = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    let sent = 0;
    const fresh: Tab = now.browser.open({
      fetch: async (input, init) => {
        if (init?.method === "PATCH" && sent++ === 0) await gate;
        return fresh.network.fetch(input, init);
      },
    });
    const call = fresh.client.updateUser({ name: "Ada" });
    await until(() => sent === 1 && fresh.client.state.status === "signed-in");
    await two.client.login(other);
    go();
    await assert.rejects(call, { code: "NO_TOKEN" });
    assert.equal(sent, 1);
    await isUntouched(fresh, other);
  });

  it("is made at once to read, where the page was rendered and /me fails", async () => {
    const { client, crash } = await signedIn(now);
    const user = await client.user();
    crash();
    const page = now.browser.open({ initial: { user } });
    const broken = { status: 404, body: "nope" };
    page.network.expect("/me", broken, { status: 503 }, broken, { status: 503 }, "hang");
    for (let calls = 0; calls < 5; calls++) {
      const { status } = await page.client.fetch(`${now.service.baseUrl}/sessions`);
      assert.equal(status, 200);
    }
  });

  /** Two tabs of a person, and another one who is signed in elsewhere. */
  async function twoTabs() {
    const { crash, person } = await signedIn(now);
    crash();
    const [one, two] = [now.browser.open(), now.browser.open()];
    await one.client.user();
    await two.client.user();
    const other = now.service.somebody();
    const elsewhere = new Browser(now.service);
    await elsewhere.open().client.register(other);
    elsewhere.close();
    return { one, two, person, other };
  }

  /** The other person is as before, and signed in here and elsewhere. */
  async function isUntouched(tab: Tab, other: { email: string }): Promise<void> {
    await until(() => emailIn(tab.client) === other.email);
    const user = await tab.client.user();
    assert.equal(user?.name, null);
    assert.equal((await tab.client.sessions()).sessions.length, 2);
  }
});

function emailIn({ state }: Client): string | undefined {
  return state.status === "signed-in" ? state.user.email : undefined;
}
