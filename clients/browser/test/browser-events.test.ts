import assert from "node:assert/strict";
import { afterEach, describe, it, mock } from "node:test";
import { Browser } from "./world/browser.ts";
import type { Fault } from "./world/network.ts";
import { scene, signedIn } from "./world/scene.ts";
import { until } from "./world/time.ts";

describe("what the browser says", () => {
  const now = scene();

  it("ends a rest: it is online again", async () => {
    const { client, network } = await signedIn(now);
    network.expect("/refresh", LATER);
    await assert.rejects(client.sessions(), { code: "STORE_UNAVAILABLE" });
    await assert.rejects(client.sessions(), { code: "STORE_UNAVAILABLE" });
    assert.equal(network.count("/refresh"), 1);
    now.browser.window.dispatchEvent(new Event("online"));
    await client.sessions();
    assert.equal(network.count("/refresh"), 2);
  });

  it("makes a page that comes back ask who is signed in, and no page that is loaded", async () => {
    const { client, network, person } = await signedIn(now);
    await client.user();
    const asked = network.count("/me");
    now.browser.window.dispatchEvent(pageShow(false));
    await client.sessions();
    assert.equal(network.count("/me"), asked);
    const elsewhere = new Browser(now.service);
    const other = elsewhere.open().client;
    await other.login(person);
    await other.logoutAll();
    elsewhere.close();
    now.browser.window.dispatchEvent(pageShow(true));
    await until(() => client.state.status === "signed-out");
    assert.deepEqual(client.state, { status: "signed-out", reason: "logout_all" });
  });
});

describe("a rest after a failure", () => {
  const now = scene();

  afterEach(() => mock.restoreAll());

  it("is left to chance by half", async () => {
    const rests: number[] = [];
    for (const chance of [0, 1]) {
      const { client, network } = await signedIn(now);
      network.expect("/refresh", "lose request", "lose request");
      mock.method(Math, "random", () => chance);
      const wait = globalThis.setTimeout;
      const timers = mock.method(globalThis, "setTimeout", (call: () => void, ms?: number) => {
        if (ms && ms >= 100 && ms < 1_000) rests.push(ms);
        return wait(call, ms);
      });
      await client.sessions();
      timers.mock.restore();
    }
    assert.deepEqual(rests, [125, 250, 250, 500]);
  });
});

/** The service wants to be left alone for half a minute. */
const LATER: Fault = {
  status: 503,
  body: { error: "Later.", code: "STORE_UNAVAILABLE", retryAfter: 30 },
};

function pageShow(persisted: boolean): Event {
  return Object.assign(new Event("pageshow"), { persisted });
}
