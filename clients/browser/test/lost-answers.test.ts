import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Tab } from "./world/browser.ts";
import type { Fault } from "./world/network.ts";
import { scene, signedIn } from "./world/scene.ts";
import { until } from "./world/time.ts";

describe("a refresh whose answer is lost", () => {
  const now = scene();
  const keys = (network: { sent: { path: string; headers: Headers }[] }) =>
    network.sent
      .filter(({ path }) => path.endsWith("/refresh"))
      .map(({ headers }) => headers.get("Idempotency-Key"));

  for (const fault of ["lose request", "lose answer", "lose body", "duplicate"] as const) {
    it(`is repeated with the same key: ${fault}`, async () => {
      const { client, network } = await signedIn(now);
      network.expect("/refresh", fault);
      assert.equal((await client.sessions()).sessions.length, 1);
      assert.equal(new Set(keys(network)).size, 1);
      await staysSignedIn();
    });
  }

  it("survives many losses of any kind, in any order", async () => {
    const { client, network, crash } = await signedIn(now);
    network.expect("/refresh", "lose answer", "lose body");
    await client.sessions();
    // It would hand its tokens to the next tab, which then had nothing to lose.
    crash();
    const faults: Fault[] = ["lose body", "duplicate", "lose answer", "lose request"];
    for (let round = 0; round < 12; round++) {
      const tab = now.browser.open();
      tab.network.expect("/refresh", ...faults.slice(round % 4, (round % 4) + 2));
      assert.ok(await tab.client.user());
      tab.crash();
    }
    await staysSignedIn();
  });

  it("is repeated by the next tab where the first was closed in mid-flight", async () => {
    for (const fault of ["hang", "hang after arrival", "lose body"] as const) {
      const { client, network, crash } = await signedIn(now);
      network.expect("/refresh", fault, "hang");
      client.sessions().catch(() => {});
      await until(() => network.hanging === 1);
      crash();
      const next = now.browser.open();
      assert.equal((await next.client.sessions()).sessions.length, 1);
      assert.equal(keys(next.network)[0], keys(network)[0], fault);
      await staysSignedIn();
    }
  });

  it("uses a fresh key for each rotation that was answered", async () => {
    const { client, network, crash } = await signedIn(now);
    await client.user();
    crash();
    const next = now.browser.open();
    await next.client.user();
    const [first, second] = [keys(network)[0], keys(next.network)[0]];
    assert.match(String(first), /^\d+(-\d+){3}$/);
    assert.notEqual(first, second);
  });

  it("keeps its key over 403, 429, 5xx and strange answers, and gives up some time", async () => {
    const { network, client } = await signedIn(now);
    const faults: Fault[] = [
      { status: 403, body: { error: "No.", code: "ORIGIN_NOT_ALLOWED" } },
      { status: 429, body: { error: "Later.", code: "RATE_LIMITED", retryAfter: 9 } },
      { status: 500, body: { error: "Oh.", code: "INTERNAL" } },
      { status: 503, body: { error: "Later.", code: "STORE_UNAVAILABLE", retryAfter: 9 } },
      { status: 200, body: "<html>Accept the terms of this network</html>" },
      { status: 401, body: "<html>Who are you?</html>" },
      { status: 502 },
    ];
    const seen = new Set<string | null | undefined>();
    for (const fault of faults) {
      const tab = now.browser.open();
      tab.network.expect("/refresh", fault, fault, fault);
      await assert.rejects(tab.client.sessions());
      assert.notEqual(tab.client.state.status, "signed-out");
      assert.ok(tab.network.count("/refresh") <= 3);
      for (const key of keys(tab.network)) seen.add(key);
      tab.crash();
    }
    await client.sessions();
    assert.deepEqual([...seen], [keys(network)[0]]);
    await staysSignedIn();
  });

  it("forgets its key after a race, and tries once more with what the jar holds", async () => {
    const { client, network, crash } = await signedIn(now);
    network.expect("/refresh", RACED);
    await client.sessions();
    assert.equal(new Set(keys(network)).size, 2);
    // It would hand its tokens to the next tab as soon as it learns whose they are.
    crash();
    const tab = now.browser.open();
    tab.network.expect("/refresh", RACED, RACED);
    await assert.rejects(tab.client.sessions(), { code: "REFRESH_RACE" });
    assert.equal(tab.network.count("/refresh"), 2);
    await staysSignedIn();
  });

  it("tries no more after a race where another tab hands its tokens over meanwhile", async () => {
    const { client } = await signedIn(now);
    await client.user();
    const tab: Tab = now.browser.open({
      fetch: async (input, init) => {
        const answer = await tab.network.fetch(input, init);
        if (answer.status === 409) {
          await client.updateUser({ name: "Ada" });
          await until(() => tab.client.state.status === "signed-in");
        }
        return answer;
      },
    });
    tab.network.expect("/refresh", RACED, RACED);
    assert.equal((await tab.client.sessions()).sessions.length, 1);
    assert.equal(tab.network.count("/refresh"), 1);
    await staysSignedIn();
  });

  it("gives a real race up in peace, and follows the jar", async () => {
    const { client, network, crash } = await signedIn(now);
    // The answer is late: the token is spent, and another rotation follows it, with the same key.
    const old = now.browser.jar.value("refreshToken") ?? "";
    network.expect("/refresh", "lose body");
    await client.sessions();
    crash();
    const current = now.browser.jar.value("refreshToken") ?? "";
    const tab = now.browser.open();
    now.browser.jar.set("refreshToken", old);
    const csrf = now.browser.jar.value("csrfToken") ?? "";
    const answer = await tab.network.fetch(`${now.service.baseUrl}/refresh`, {
      method: "POST",
      credentials: "include",
      headers: { "X-CSRF-Token": csrf, "Idempotency-Key": String(keys(network)[0]) },
    });
    assert.equal(answer.status, 409);
    now.browser.jar.set("refreshToken", current);
    await staysSignedIn();
  });

  /** A page that is loaded now is signed in, in the one session that there ever was. */
  async function staysSignedIn(): Promise<void> {
    const { client, crash } = now.browser.open();
    const { sessions, ended } = await client.sessions();
    assert.equal(sessions.length, 1);
    assert.equal(ended.length, 0);
    crash();
  }
});

const RACED: Fault = { status: 409, body: { error: "Raced.", code: "REFRESH_RACE" } };
