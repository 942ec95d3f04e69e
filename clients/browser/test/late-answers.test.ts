import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { State } from "../src/index.ts";
import type { Tab } from "./world/browser.ts";
import { scene, signedIn } from "./world/scene.ts";
import { shiftClock, until } from "./world/time.ts";

describe("an answer about whoever was signed in before", () => {
  const now = scene();

  it("is asked for anew where another person has signed in meanwhile", async () => {
    const [one, two] = [now.browser.open(), openLate("GET")];
    await one.client.register(now.service.somebody());
    const asked = two.client.user();
    await two.answered;
    const person = now.service.somebody();
    await changePlaces(one, two, person);
    two.arrive();
    assert.equal((await asked)?.email, person.email);
    await showBoth([one, two], person);
  });

  it("is nobody's where that one has signed out meanwhile", async () => {
    const [one, two] = [now.browser.open(), openLate("GET")];
    await one.client.register(now.service.somebody());
    const asked = two.client.user();
    await two.answered;
    await one.client.logout();
    await until(() => two.client.state.status === "signed-out");
    two.arrive();
    assert.equal(await asked, null);
    assert.deepEqual(two.client.state, { status: "signed-out", reason: "logout" });
  });

  it("says what was changed, and does not show it in place of another person", async () => {
    const [one, two] = [now.browser.open(), openLate("PATCH")];
    const before = now.service.somebody();
    await one.client.register(before);
    const changed = two.client.updateUser({ name: "Ada" });
    await two.answered;
    const person = now.service.somebody();
    await changePlaces(one, two, person);
    two.arrive();
    const { email, name } = await changed;
    assert.deepEqual({ email, name }, { email: before.email, name: "Ada" });
    await showBoth([one, two], person);
  });

  it("is asked for again at the next refresh, where the first one was lost", async () => {
    const { client } = await signedIn(now);
    const user = await client.user();
    const person = now.service.somebody();
    await client.register(person);
    const rendered = now.browser.open({ initial: { user } });
    // Nobody's in particular: a call of the person before would itself ask who it is.
    const call = { url: now.service.baseUrl, user: "" };
    rendered.network.expect("/me", "lose request");
    await rendered.client.pass(call);
    await until(() => rendered.network.count("/me") === 1);
    shiftClock(20);
    await rendered.client.pass(call);
    await until(() => emailIn(rendered.client.state) === person.email);
  });

  /** A tab to which the first answer about the user to such a request comes late. */
  function openLate(method: string) {
    let arrive = () => {};
    const arrival = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    let reach = () => {};
    const answered = new Promise<void>((resolve) => {
      reach = resolve;
    });
    const tab: Tab = now.browser.open({
      fetch: async (input, init) => {
        const answer = await tab.network.fetch(input, init);
        if (String(input).endsWith("/me") && init?.method === method) {
          reach();
          await arrival;
        }
        return answer;
      },
    });
    return { ...tab, answered, arrive };
  }

  /** Signs another person in, and waits until the other tab knows. */
  async function changePlaces(one: Tab, two: Tab, person: { email: string; password: string }) {
    await one.client.logout();
    await one.client.register(person);
    await until(() => emailIn(two.client.state) === person.email);
  }

  /** The tabs show this person, and ask as this person. */
  async function showBoth(tabs: readonly Tab[], { email }: { email: string }) {
    for (const { client } of tabs) {
      const { user } = await client.request<{ user: { email: string } }>("GET", "/me");
      assert.equal(user.email, email);
    }
    for (const { client } of tabs) assert.equal(emailIn(client.state), email);
  }
});

function emailIn(state: State): string | undefined {
  return state.status === "signed-in" ? state.user.email : undefined;
}
