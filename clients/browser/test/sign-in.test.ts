import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { State, User } from "../src/index.ts";
import { Browser } from "./world/browser.ts";
import { scene, signedIn } from "./world/scene.ts";
import { until } from "./world/time.ts";

describe("signing in and out", () => {
  const now = scene();

  it("registers, knows the user, and sends the token along", async () => {
    const { client, network } = now.browser.open();
    const person = now.service.somebody();
    const { status } = await client.register({ ...person, name: "Ada" });
    assert.equal(status, "signed-in");
    assert.equal(client.state.status, "signed-in");
    const answer = await client.fetch(`${now.service.baseUrl}/me`);
    assert.equal(answer.status, 200);
    assert.match(network.sent.at(-1)?.headers.get("Authorization") ?? "", /^Bearer ey/);
    assert.equal((await client.user())?.email, person.email);
    assert.equal(network.count("/refresh"), 0);
  });

  it("says what is wrong with which field", async () => {
    const { client } = now.browser.open();
    await assert.rejects(client.register({ email: "nowhere", password: "short" }), (error) => {
      return "fields" in (error as object);
    });
    const { email } = now.service.somebody();
    await assert.rejects(client.login({ email, password: "not the password" }), {
      name: "KeywardError",
      code: "INVALID_CREDENTIALS",
      status: 401,
    });
    assert.deepEqual(client.state, { status: "unknown" });
  });

  it("tells every tab who signed in, and why somebody is signed out", async () => {
    const [one, two] = [now.browser.open(), now.browser.open()];
    const heard: State[] = [];
    two.client.onChange((state) => heard.push(state));
    await one.client.register(now.service.somebody());
    await until(() => heard.length === 1);
    assert.deepEqual(heard[0], one.client.state);
    // The other tab was handed the token, too: it needs no refresh of its own.
    await two.client.sessions();
    assert.equal(two.network.count("/refresh"), 0);
    await one.client.logout();
    await until(() => heard.length === 2);
    assert.deepEqual(heard[1], { status: "signed-out", reason: "logout" });
    await assert.rejects(two.client.sessions(), { code: "NO_REFRESH_TOKEN", reason: "logout" });
  });

  it("shows another person in every tab once one has signed in", async () => {
    const [one, two] = [now.browser.open(), now.browser.open()];
    two.client.onChange(() => {});
    await one.client.register(now.service.somebody());
    const person = now.service.somebody();
    await one.client.register(person);
    await until(() => emailIn(two.client.state) === person.email);
    assert.equal((await two.client.user())?.email, person.email);
  });

  it("goes on after a reload", async () => {
    const { client, person } = await signedIn(now);
    assert.deepEqual(client.state, { status: "unknown" });
    assert.equal((await client.user())?.email, person.email);
    assert.equal(client.state.status, "signed-in");
  });

  it("knows nobody where nobody is signed in, without an error", async () => {
    const { client } = now.browser.open();
    assert.equal(await client.user(), null);
    assert.deepEqual(client.state, { status: "signed-out" });
  });

  it("begins with what the server that rendered the page knew", async () => {
    const { client, person } = await signedIn(now);
    const user = (await client.user()) as User;
    const rendered = now.browser.open({ initial: { user } });
    assert.deepEqual(rendered.client.state, { status: "signed-in", user });
    assert.equal(rendered.network.sent.length, 0);
    assert.equal((await rendered.client.sessions()).sessions.length, 1);
    assert.equal(emailIn(rendered.client.state), person.email);
    const nobody = now.browser.open({ initial: { user: null } });
    assert.deepEqual(nobody.client.state, { status: "signed-out" });
  });

  it("makes no connection and keeps no process alive before it is used", () => {
    const { client, network } = now.browser.open();
    assert.deepEqual(client.state, { status: "unknown" });
    assert.equal(network.sent.length, 0);
  });

  it("changes the name in every tab, and keeps this device at a new password", async () => {
    const { client, person } = await signedIn(now);
    const other = now.browser.open();
    const heard: State[] = [];
    other.client.onChange((state) => heard.push(state));
    await client.user();
    await client.updateUser({ name: "Grace" });
    await until(() => heard.some((state) => "user" in state && state.user.name === "Grace"));
    const password = "another horse, another battery";
    await client.changePassword(person.password, password);
    const { sessions, ended } = await client.sessions();
    assert.equal(sessions.length, 1);
    assert.deepEqual(
      ended.map(({ reason }) => reason),
      ["password_changed"],
    );
    assert.equal((await client.login({ ...person, password })).status, "signed-in");
  });

  it("ends one session, all sessions, and the account", async () => {
    const { client, person } = await signedIn(now);
    await client.user();
    const elsewhere = await signedInElsewhere(person);
    const { sessions } = await client.sessions();
    const other = sessions.find(({ current }) => !current);
    await client.endSession(other?.id ?? "");
    await assert.rejects(elsewhere(), { code: "SESSION_REVOKED", reason: "logout" });
    assert.equal(await client.logoutAll(), 1);
    assert.deepEqual(client.state, { status: "signed-out", reason: "logout_all" });
    await client.login(person);
    await client.deleteUser(person.password);
    await assert.rejects(client.login(person), { code: "INVALID_CREDENTIALS" });
  });

  /** Another browser of the same person, and a request of it. */
  async function signedInElsewhere(person: { email: string; password: string }) {
    const browser = new Browser(now.service);
    const { client } = browser.open();
    await client.login(person);
    return () => client.sessions().finally(() => browser.close());
  }
});

function emailIn(state: State): string | undefined {
  return state.status === "signed-in" ? state.user.email : undefined;
}
