import { createClient, KeywardError, type State } from "@keyward/browser";
import { showSessions } from "./sessions.ts";
import { element, fields, say, show } from "./view.ts";

const keyward = createClient({
  baseUrl: `${import.meta.env["VITE_KEYWARD_URL"] ?? "http://localhost:8080"}/api/auth`,
});
let mfaToken = "";

keyward.onChange(render);
submit("login", async ({ email = "", password = "" }) => {
  const answer = await keyward.login({ email, password });
  if (answer.status === "signed-in") return;
  mfaToken = answer.mfaToken;
  show("second-factor");
});
submit("mfa", async ({ code = "" }) => {
  const isShort = /^\d{6}$/.test(code);
  await keyward.loginMfa(isShort ? { mfaToken, code } : { mfaToken, recoveryCode: code });
});
submit("register", async ({ email = "", password = "", name }) => {
  const answer = await keyward.register({
    email,
    password,
    ...(name && { name }),
  });
  if (answer.status === "mail-sent") say("Follow the link in the mail that is on its way to you.");
});
click("logout", () => keyward.logout());
click("logout-all", () => keyward.logoutAll());
await attempt(() => keyward.user());

/** Shows what is known: called in every tab, whichever one it happened in. */
function render(state: State): void {
  show(state.status === "unknown" ? "waiting" : state.status);
  say(sentenceOf(state));
  if (state.status !== "signed-in") return;
  element("who").textContent = state.user.name ?? state.user.email;
  attempt(() => showSessions(keyward));
}

/** Why somebody who was signed in is not any more. */
function sentenceOf(state: State): string | undefined {
  if (state.status !== "signed-out" || !state.reason) return undefined;
  return REASONS[state.reason] ?? `You were signed out: ${state.reason}.`;
}

function submit(id: string, act: (fields: Record<string, string>) => Promise<void>): void {
  const form = element<HTMLFormElement>(id);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    if (button) button.disabled = true;
    if (await attempt(() => act(fields(form)))) form.reset();
    if (button) button.disabled = false;
  });
}

function click(id: string, act: () => Promise<unknown>): void {
  element(id).addEventListener("click", () => attempt(act));
}

/** Does something that may fail, and shows the sentence of the failure to the person. */
async function attempt(act: () => Promise<unknown>): Promise<boolean> {
  try {
    await act();
    return true;
  } catch (error) {
    if (!(error instanceof KeywardError)) throw error;
    const fields = Object.values(error.fields ?? {});
    say([error.message, ...fields].join(" "));
    return false;
  }
}

const REASONS: Readonly<Record<string, string>> = {
  admin: "An administrator signed you out.",
  expired: "You were away for long. Sign in again.",
  logout: "You are signed out.",
  logout_all: "You are signed out everywhere.",
  password_changed: "The password was changed on another device.",
  password_reset: "The password was reset.",
  reuse_detected:
    "Your sign-in was used from a second place, so it was ended. Change your password.",
  store_rollback: "The service was restored from a backup. Sign in again.",
  superseded: "You signed in again in this browser.",
  too_many: "You signed in on many devices; this one was unused for longest.",
  user_deleted: "Your account is deleted.",
  user_disabled: "Your account is disabled.",
};
