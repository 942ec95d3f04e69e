import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { State } from "../src/index.ts";
import { scene, signedIn } from "./world/scene.ts";
import { until } from "./world/time.ts";

describe("the link of a mail", () => {
  const now = scene();

  it("verifies the address, which every tab then knows, and does so once", async () => {
    const { client, person } = await signedIn(now);
    const other = now.browser.open();
    other.client.onChange(() => {});
    await client.user();
    assert.equal(isVerified(client.state), false);
    const token = await now.service.mailedToken(person.email);
    const user = await client.verifyEmail(token);
    assert.deepEqual([user.email, user.emailVerified], [person.email, true]);
    assert.equal(isVerified(client.state), true);
    await until(() => isVerified(other.client.state) === true);
    await assert.rejects(client.verifyEmail(token), { code: "INVALID_REQUEST", status: 400 });
  });

  it("verifies an address where nobody is signed in, and signs nobody in", async () => {
    const { client, person } = await signedIn(now);
    await client.logout();
    const { emailVerified } = await client.verifyEmail(await now.service.mailedToken(person.email));
    assert.equal(emailVerified, true);
    assert.equal(client.state.status, "signed-out");
  });

  it("is sent again on request, and the earlier one is worth nothing then", async () => {
    const { client, person } = await signedIn(now);
    const first = await now.service.mailedToken(person.email);
    await client.request("POST", "/email/verification");
    const second = await now.service.mailedToken(person.email, first);
    await assert.rejects(client.verifyEmail(first), { code: "INVALID_REQUEST" });
    assert.equal((await client.verifyEmail(second)).emailVerified, true);
  });

  it("sets a forgotten password, and every session is over and told why", async () => {
    const { client, person } = await signedIn(now);
    await client.user();
    const verifying = await now.service.mailedToken(person.email);
    const page = now.browser.open();
    await page.client.forgotPassword(person.email);
    // It is the same for who has no account.
    await page.client.forgotPassword(now.service.somebody().email);
    const token = await now.service.mailedToken(person.email, verifying);
    await assert.rejects(page.client.resetPassword(token, "short"), (error) => {
      return "fields" in (error as object);
    });
    const password = "another horse, another battery";
    await page.client.resetPassword(token, password);
    await assert.rejects(client.sessions(), { code: "SESSION_REVOKED", reason: "password_reset" });
    assert.deepEqual(client.state, { status: "signed-out", reason: "password_reset" });
    await assert.rejects(client.login(person), { code: "INVALID_CREDENTIALS" });
    assert.equal((await client.login({ ...person, password })).status, "signed-in");
    const again = page.client.resetPassword(token, password);
    await assert.rejects(again, { code: "INVALID_REQUEST" });
  });
});

describe("registration that a mail completes", () => {
  const now = scene({
    KEYWARD_ACCOUNTS__REGISTRATION: "verified",
    KEYWARD_ACCOUNTS__REQUIRE_VERIFIED_EMAIL: "true",
  });

  it("signs nobody in before the link was opened", async () => {
    const { client } = now.browser.open();
    const person = now.service.somebody();
    assert.deepEqual(await client.register(person), { status: "mail-sent" });
    assert.deepEqual(client.state, { status: "unknown" });
    // The account is made after the answer, which so takes as long as one for a taken address.
    const token = await now.service.mailedToken(person.email);
    // As a wrong password: nobody is told that the address was free. The link in hand stays good.
    await assert.rejects(client.login(person), { code: "INVALID_CREDENTIALS", status: 401 });
    await client.verifyEmail(token);
    assert.equal((await client.login(person)).status, "signed-in");
  });
});

function isVerified(state: State): boolean | undefined {
  return state.status === "signed-in" ? state.user.emailVerified : undefined;
}
