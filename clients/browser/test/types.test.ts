import assert from "node:assert/strict";
import { it } from "node:test";
import {
  type Client,
  type ClientOptions,
  createClient,
  type EndReason,
  KeywardError,
  type State,
  type User,
} from "../src/index.ts";

// The compiler is the test: `npm run types` fails where one of these is wrong.

const options: ClientOptions = { baseUrl: "https://auth.example.org/api/auth" };

// @ts-expect-error: what is not known is left out, not undefined.
const undefinedInitial: ClientOptions = { ...options, initial: undefined };

async function signIn(client: Client): Promise<User | string> {
  const answer = await client.login({ email: "ada@example.org", password: "…" });
  // @ts-expect-error: there may be a second factor first.
  answer.user;
  if (answer.status === "signed-in") return answer.user;
  // @ts-expect-error: one of the two codes is needed.
  await client.loginMfa({ mfaToken: answer.mfaToken });
  return (await client.loginMfa({ mfaToken: answer.mfaToken, recoveryCode: "…" })).user;
}

function sentence(state: State): string {
  switch (state.status) {
    case "unknown":
      return "…";
    case "signed-in":
      return state.user.name ?? state.user.email;
    case "signed-out": {
      const reason: EndReason | undefined = state.reason;
      return reason ?? "signed out";
    }
  }
}

function delay(error: unknown): number {
  if (!(error instanceof KeywardError) || error.code !== "RATE_LIMITED") return 0;
  // @ts-expect-error: it may not be there.
  const seconds: number = error.retryAfter;
  return seconds;
}

it("has types that say what to look at first", () => {
  assert.equal(sentence(createClient(options).state), "…");
  assert.equal(delay(new KeywardError("RATE_LIMITED", { retryAfter: 3 })), 3);
  assert.ok(undefinedInitial && signIn);
});
