// The page: a form while nobody is signed in, the notes once somebody is.

import { createClient } from "/keyward/index.js";

const find = (id) => document.getElementById(id);
const { baseUrl } = await (await fetch("/settings.json")).json();
const client = createClient({ baseUrl });

client.onChange(show);
find("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const { email, password } = Object.fromEntries(new FormData(event.target));
  const act = event.submitter?.value === "register" ? "register" : "login";
  attempt(() => client[act]({ email, password }));
});
find("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const { text } = Object.fromEntries(new FormData(event.target));
  event.target.reset();
  attempt(() => list("POST", { text }));
});
find("sign-out").addEventListener("click", () => attempt(() => client.logout()));
await attempt(() => client.user());

/** Shows what belongs to this state; nothing before it is known. */
async function show(state) {
  find("sign-in").hidden = state.status !== "signed-out";
  find("notes").hidden = state.status !== "signed-in";
  if (state.status !== "signed-in") {
    find("list").replaceChildren();
    find("status").textContent = state.reason ? "Your session has ended. Sign in again." : "";
    return;
  }
  find("status").textContent = `Signed in as ${state.user.email}`;
  await attempt(() => list("GET"));
}

async function ask(method, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  const text = body ? { body: JSON.stringify(body) } : {};
  const answer = await client.fetch("/api/notes", { method, headers, ...text });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return (await answer.json()).notes;
}

/** Shows the notes that are answered, unless somebody else is signed in by then, or nobody. */
async function list(method, body) {
  const { user } = client.state;
  const notes = await ask(method, body);
  if (client.state.user?.id !== user?.id) return;
  const items = notes.map((note) => {
    const item = document.createElement("li");
    item.textContent = note;
    return item;
  });
  find("list").replaceChildren(...items);
}

async function attempt(action) {
  find("trouble").textContent = "";
  try {
    await action();
  } catch (error) {
    find("trouble").textContent = error.message;
  }
}
