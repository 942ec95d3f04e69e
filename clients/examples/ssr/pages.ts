import type { Caller, JsonObject, Visitor } from "@keyward/node";

/** What a form shows again after it was refused. */
interface Refused {
  readonly email: string;
  readonly why: string;
}

/** The page that everybody sees. */
export function homePage(visitor: Visitor): string {
  return page(
    visitor,
    "Notes",
    visitor.status === "signedIn"
      ? html`<p>Welcome back. <a href="/account">Your account</a></p>`
      : html`<p>Nobody is signed in.
<a href="/sign-in">Sign in</a> or <a href="/register">register</a>.</p>`,
  );
}

/** The page of whoever is signed in. */
export function accountPage(caller: Caller, body: JsonObject): string {
  const { sessions } = body as { sessions?: readonly JsonObject[] };
  const rows = (sessions ?? []).map(
    ({ device, lastUsedAt, current }) =>
      html`<tr><td>${String(device ?? "a device")}</td><td>${String(lastUsedAt)}</td>
<td>${current ? "this one" : ""}</td></tr>`,
  );
  const content = html`<p>You are <strong>${caller.claims.email}</strong>.</p>
<table><thead><tr><th>Device</th><th>Last used</th><th></th></tr></thead>
<tbody>${rows}</tbody></table>`;
  return page({ status: "signedIn", caller }, "Your account", content);
}

/** The form for an address and a password. */
export function signInPage(visitor: Visitor, next: string, refused?: Refused): string {
  const content = html`${alert(refused)}<form method="post" action="/sign-in">
<input type="hidden" name="next" value="${next}">
${fields(refused, "current-password")}<button>Sign in</button></form>`;
  return page(visitor, "Sign in", content);
}

/** The form for an account. */
export function registerPage(visitor: Visitor, refused?: Refused): string {
  const content = html`${alert(refused)}<form method="post" action="/register">
${fields(refused, "new-password")}<button>Register</button></form>`;
  return page(visitor, "Register", content);
}

/** The page where the service confirms addresses first. */
export function mailSentPage(visitor: Visitor, email: string): string {
  const content = html`<p role="status">We have sent a mail to <strong>${email}</strong>.
Open the link in it, then <a href="/sign-in">sign in</a>.</p>`;
  return page(visitor, "Look into your mailbox", content);
}

/** The page while the service does not answer. */
export function trouble(visitor: Visitor): string {
  return page(visitor, "One moment", html`<p>This cannot be shown right now; try again soon.</p>`);
}

function page(visitor: Visitor, title: string, content: Html): string {
  return html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${title}</title><link rel="stylesheet" href="/style.css"></head>
<body><header><a href="/">Notes</a>${corner(visitor)}</header>
<main><h1>${title}</h1>${notice(visitor)}${content}</main></body></html>`.text;
}

function corner(visitor: Visitor): Html {
  if (visitor.status !== "signedIn") return html``;
  const { email } = visitor.caller.claims;
  return html`<form method="post" action="/sign-out"><span>${email}</span>
<button>Sign out</button></form>`;
}

/** Why somebody is not signed in any more, where that is worth a word. */
function notice(visitor: Visitor): Html {
  if (visitor.status === "unknown") {
    return html`<p role="status">We cannot tell right now whether you are signed in.</p>`;
  }
  if (visitor.status === "signedIn" || visitor.code === undefined) return html``;
  const why = REASONS[visitor.reason ?? visitor.code] ?? "Your session has ended.";
  return html`<p role="status">${why} Please sign in again.</p>`;
}

function alert(refused: Refused | undefined): Html {
  return refused ? html`<p role="alert">${refused.why}</p>` : html``;
}

function fields(refused: Refused | undefined, autocomplete: string): Html {
  return html`<label>E-mail
<input type="email" name="email" value="${refused?.email ?? ""}" required autocomplete="username">
</label>
<label>Password
<input type="password" name="password" required minlength="8" autocomplete="${autocomplete}">
</label>
`;
}

/** Text that is markup already. */
class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Markup with values in it; each value that is no markup itself is escaped. */
function html(parts: TemplateStringsArray, ...values: readonly (string | Html | Html[])[]): Html {
  const texts = values.map((value) => {
    if (typeof value === "string")
      return value.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
    return Array.isArray(value) ? value.map(({ text }) => text).join("") : value.text;
  });
  return new Html(String.raw({ raw: parts }, ...texts));
}

const REASONS: Readonly<Record<string, string>> = {
  SESSION_EXPIRED: "You were away for long.",
  REFRESH_TOKEN_REUSED: "Your sign-in was used by somebody else, and was ended.",
  reuse_detected: "Your sign-in was used by somebody else, and was ended.",
  logout_all: "You have signed out everywhere.",
  password_changed: "Your password was changed.",
};
