import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";
import { scene, signedIn } from "./world/scene.ts";
import { shiftClock, until } from "./world/time.ts";

describe("trouble", () => {
  const now = scene();

  it("never ends a session: a token that is held is used as long as it lives", async () => {
    const { client, network } = await signedIn(now);
    await client.user();
    const busy = { status: 503, body: { error: "Busy.", code: "OVERLOADED", retryAfter: 30 } };
    network.expect("/refresh", busy, busy);
    // Less than a minute is left: it is time for another token; this one still does.
    shiftClock(14.5);
    assert.equal((await client.sessions()).sessions.length, 1);
    await until(() => network.count("/refresh") === 2);
    shiftClock(16);
    await assert.rejects(client.sessions(), { code: "OVERLOADED", retryAfter: 30 });
    assert.equal(client.state.status, "signed-in");
    assert.equal(network.count("/refresh"), 3);
    // Nobody is asked again before the service wants to be.
    await assert.rejects(client.sessions(), { code: "OVERLOADED" });
    assert.equal(network.count("/refresh"), 3);
    shiftClock(17);
    await client.sessions();
  });

  it("is told apart: offline, too late, and something else that answers", async () => {
    const { client, network } = await signedIn(now);
    network.expect("/refresh", "lose request", "lose request", "lose request");
    await assert.rejects(client.sessions(), { code: "NETWORK", status: 0 });
    const slow = now.browser.open({ timeout: 50 });
    slow.network.expect("/refresh", "hang", "hang", "hang");
    await assert.rejects(slow.client.sessions(), { code: "TIMEOUT", status: 0 });
    const captured = now.browser.open();
    captured.network.expect("/me", { status: 200, body: "<html>Welcome to this network</html>" });
    await assert.rejects(captured.client.user(), { code: "UNEXPECTED_ANSWER", status: 200 });
  });

  it("ends for whoever aborts, and not for the others", async () => {
    const { client, network } = await signedIn(now);
    network.delayMs = 50;
    const url = `${now.service.baseUrl}/me`;
    const controller = new AbortController();
    const aborted = client.fetch(url, { signal: controller.signal });
    const other = client.fetch(url);
    controller.abort();
    await assert.rejects(aborted, { name: "AbortError" });
    assert.equal((await other).status, 200);
    assert.equal(network.count("/refresh"), 1);
    await assert.rejects(client.fetch(url, { signal: AbortSignal.abort() }), {
      name: "AbortError",
    });
  });

  it("with the clock costs a refresh at most", async () => {
    const { client, network } = await signedIn(now);
    for (const minutes of [0, 60 * 24 * 365, 60 * 24 * 365, -60 * 24 * 365, 0]) {
      shiftClock(minutes);
      await client.sessions();
    }
    assert.ok(network.count("/refresh") <= 4);
  });

  it("of a listener stops nothing", async () => {
    const { client } = now.browser.open();
    const later = globalThis.queueMicrotask;
    const reported: unknown[] = [];
    const caught = (call: () => void) => {
      try {
        call();
      } catch (error) {
        reported.push(error);
      }
    };
    const microtasks = mock.method(globalThis, "queueMicrotask", (call: () => void) =>
      later(() => caught(call)),
    );
    client.onChange(() => {
      throw new Error("a bug of the app");
    });
    assert.equal((await client.register(now.service.somebody())).status, "signed-in");
    assert.equal(reported.length, 1);
    microtasks.mock.restore();
  });

  it("at signing out does not keep this browser signed in", async () => {
    const { client, network, crash } = await signedIn(now);
    await client.user();
    network.expect("/logout", "lose request");
    await assert.rejects(client.logout(), { code: "NETWORK" });
    assert.deepEqual(client.state, { status: "signed-out", reason: "logout" });
    crash();
    const next = now.browser.open();
    assert.equal(await next.client.user(), null);
    assert.equal(next.network.count("/logout"), 1);
    assert.equal(now.browser.jar.value("refreshToken"), undefined);
    // The wish is fulfilled: it does not come back after the next sign-in.
    const person = now.service.somebody();
    await next.client.register(person);
    assert.equal((await now.browser.open().client.user())?.email, person.email);
  });

  it("with every token asks for another one once", async () => {
    const { client, network } = await signedIn(now);
    const expired = { status: 401, body: { error: "Expired.", code: "TOKEN_EXPIRED" } };
    network.expect("/sessions", expired, expired, expired);
    const answer = await client.fetch(`${now.service.baseUrl}/sessions`);
    assert.equal(answer.status, 401);
    assert.equal(network.count("/sessions"), 2);
    assert.equal(network.count("/refresh"), 2);
  });

  it("with a password asks for no other token", async () => {
    const { client, network } = await signedIn(now);
    await client.user();
    const before = network.count("/password/change");
    await assert.rejects(client.changePassword("not the password", "correct horse again"), {
      code: "INVALID_CREDENTIALS",
    });
    assert.equal(network.count("/password/change") - before, 1);
    assert.equal(client.state.status, "signed-in");
  });
});

describe("an access token that lives for a second", () => {
  const now = scene({ KEYWARD_ACCESS_TOKEN__TTL: "1s" });

  it("is replaced where the service calls it expired, and the request sent once more", async () => {
    const { client, network } = await signedIn(now);
    await client.user();
    // A clock that was set back does not make the token young again.
    shiftClock(-60);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const { status } = await client.fetch(`${now.service.baseUrl}/me`);
    assert.equal(status, 200);
    assert.ok(network.count("/refresh") >= 2);
  });
});
