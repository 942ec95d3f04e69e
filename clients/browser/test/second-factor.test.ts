import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Client, State } from "../src/index.ts";
import { beginTotp, confirmTotp, removeTotp, renewRecoveryCodes } from "../src/mfa.ts";
import { codeOf, wrongCode } from "./world/authenticator.ts";
import { Browser } from "./world/browser.ts";
import { scene, signedIn } from "./world/scene.ts";
import { until } from "./world/time.ts";

describe("a second factor", () => {
  const now = scene();

  it("is set up, and every tab knows", async () => {
    const { client, person } = await signedIn(now);
    const other = now.browser.open();
    const heard: State[] = [];
    other.client.onChange((state) => heard.push(state));
    await client.user();
    await assert.rejects(beginTotp(client, "not the password"), { code: "INVALID_CREDENTIALS" });
    const { secret, otpauthUri, qrSvg } = await beginTotp(client, person.password);
    assert.match(otpauthUri, /^otpauth:\/\/totp\//);
    assert.match(qrSvg, /^<svg/);
    await assert.rejects(confirmTotp(client, wrongCode(secret)), { code: "INVALID_MFA_CODE" });
    assert.equal(client.state.status, "signed-in");
    const codes = await confirmTotp(client, codeOf(secret));
    assert.equal(new Set(codes).size, 10);
    assert.ok(hasFactor(client.state));
    await until(() => heard.some(hasFactor));
    await removeTotp(client, person.password, codes[0] ?? "");
    assert.ok(!hasFactor(client.state));
    await until(() => !hasFactor(other.client.state));
  });

  it("is asked for by what login answers, and completes it", async () => {
    const { person, secret } = await guarded();
    const { client, close } = elsewhere();
    const { mfaToken, ...asked } = await login(client, person);
    assert.deepEqual(asked, {
      status: "mfa-required",
      methods: ["totp", "recovery_code"],
      expiresIn: 600,
    });
    await assert.rejects(client.loginMfa({ mfaToken, code: wrongCode(secret) }), {
      name: "KeywardError",
      code: "INVALID_MFA_CODE",
      status: 401,
    });
    assert.deepEqual(client.state, { status: "unknown" });
    // The one of now was spent when it was set up.
    const done = await client.loginMfa({ mfaToken, code: codeOf(secret, 1) });
    assert.equal(done.user.email, person.email);
    assert.deepEqual(client.state, done);
    const { sessions } = await client.sessions();
    assert.deepEqual(sessions.find(({ current }) => current)?.amr, ["pwd", "otp"]);
    const again = client.loginMfa({ mfaToken, code: codeOf(secret, 1) });
    await assert.rejects(again, { code: "INVALID_MFA_TOKEN" });
    assert.equal(client.state.status, "signed-in");
    close();
  });

  it("is a recovery code where the phone is gone, each of them once", async () => {
    const { person, codes } = await guarded();
    const [recoveryCode = ""] = codes;
    const { client, close } = elsewhere();
    const { mfaToken } = await login(client, person);
    assert.ok((await client.loginMfa({ mfaToken, recoveryCode })).user.mfaEnabled);
    const second = await login(client, person);
    const again = client.loginMfa({ mfaToken: second.mfaToken, recoveryCode });
    await assert.rejects(again, { code: "INVALID_MFA_CODE" });
    close();
  });

  it("is turned on, and off, though nobody can be asked who is signed in after it", async () => {
    const { client, network, person } = await signedIn(now);
    await client.user();
    const { secret } = await beginTotp(client, person.password);
    const busy = { status: 503, body: { error: "Busy.", code: "OVERLOADED" } };
    network.expect("/me", busy);
    assert.equal((await confirmTotp(client, codeOf(secret))).length, 10);
    network.expect("/me", busy);
    await removeTotp(client, person.password, codeOf(secret, 1));
    assert.equal((await client.user())?.mfaEnabled, false);
  });

  it("that a session has not proven is asked for by name, and the act done after it", async () => {
    const { client: before, person } = await signedIn(now);
    await before.user();
    const { client, close } = elsewhere();
    await client.login(person);
    const { secret } = await beginTotp(before, person.password);
    await confirmTotp(before, codeOf(secret));
    const renew = () => renewRecoveryCodes(client, person.password);
    await assert.rejects(renew(), (error: Error & { code?: string; status?: number }) => {
      assert.deepEqual([error.code, error.status], ["REAUTHENTICATION_REQUIRED", 403]);
      assert.match(error.message, /Sign in again/);
      return true;
    });
    // Nobody is signed out by it; the same person signs in anew, over the session that there is.
    assert.equal(client.state.status, "signed-in");
    const { mfaToken } = await login(client, person);
    await client.loginMfa({ mfaToken, code: codeOf(secret, 1) });
    const codes = await renew();
    assert.equal(codes.length, 10);
    close();
  });

  /** Somebody with a second factor, and what proves it. */
  async function guarded() {
    const { client, person } = await signedIn(now);
    const { secret } = await beginTotp(client, person.password);
    return { person, secret, codes: await confirmTotp(client, codeOf(secret)) };
  }

  /** A tab of another browser. */
  function elsewhere() {
    const browser = new Browser(now.service);
    return { client: browser.open().client, close: () => browser.close() };
  }
});

async function login(client: Client, person: { email: string; password: string }) {
  const answer = await client.login(person);
  assert.equal(answer.status, "mfa-required");
  return answer;
}

function hasFactor(state: State): boolean {
  return state.status === "signed-in" && state.user.mfaEnabled;
}
