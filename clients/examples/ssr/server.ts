/**
 * A server-rendered app without a script of its own: forms, pages, and a sign-in that the app
 * keeps. The browser never talks to Keyward.
 */

import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";

import { localPath, Sessions, Source, Verifier } from "@keyward/node";
import { browserRequest, readSession, requireSignIn, setCookies } from "@keyward/node/express";
import express from "express";

import { accountPage, homePage, mailSentPage, registerPage, signInPage, trouble } from "./pages.ts";

const {
  PORT = "3000",
  KEYWARD_URL = "http://localhost:8080",
  APP_ORIGIN = `http://localhost:${PORT}`,
  // Made up here, it is one that no other process knows: give all of them the same.
  APP_SECRET = randomBytes(32).toString("base64url"),
  SERVICE_KEY,
} = process.env;

if (!SERVICE_KEY) {
  console.warn("Without SERVICE_KEY an ended session's access token counts until it expires.");
}
const source = new Source(KEYWARD_URL, { serviceKey: SERVICE_KEY });
const whenStale = SERVICE_KEY ? "failClosed" : "acceptUntilExpiry";
const verifier = new Verifier({ issuer: KEYWARD_URL, whenStale });
verifier.follow(source);
const sessions = new Sessions(verifier, source, { origin: APP_ORIGIN, secret: APP_SECRET });

const app = express();
app.disable("x-powered-by");
app.use((_, res, next) => {
  res.set({
    "Content-Security-Policy": [
      "default-src 'none'",
      "style-src 'self'",
      "form-action 'self'",
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ].join("; "),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
  });
  next();
});
app.use(express.static(fileURLToPath(new URL("public", import.meta.url))));
app.use(express.urlencoded({ extended: false, limit: "16kb" }));
app.use(readSession(sessions));

app.get("/", (req, res) => {
  res.send(homePage(req.keywardVisit.visitor));
});

app.get("/account", requireSignIn("/sign-in"), async (req, res) => {
  const browser = browserRequest(req);
  const { status, body } = await sessions.call(req.keywardVisit, { path: "/sessions" }, browser);
  if (status !== 200) return void res.status(503).send(trouble(req.keywardVisit.visitor));
  res.send(accountPage(req.keyward, body));
});

app.get("/sign-in", (req, res) => {
  res.send(signInPage(req.keywardVisit.visitor, localPath(req.query["next"])));
});

app.post("/sign-in", async (req, res) => {
  const { email = "", password = "", next } = fieldsOf(req.body);
  const outcome = await sessions.signIn({ email, password }, browserRequest(req));
  setCookies(res, outcome.setCookies);
  if (outcome.status === "signedIn") return res.redirect(303, localPath(next));
  const why = outcome.status === "refused" ? outcome.error : "This app knows no second factor.";
  res.status(401).send(signInPage(req.keywardVisit.visitor, localPath(next), { email, why }));
});

app.get("/register", (req, res) => {
  res.send(registerPage(req.keywardVisit.visitor));
});

app.post("/register", async (req, res) => {
  const { email = "", password = "" } = fieldsOf(req.body);
  const outcome = await sessions.register({ email, password }, browserRequest(req));
  setCookies(res, outcome.setCookies);
  if (outcome.status === "signedIn") return res.redirect(303, "/account");
  if (outcome.status === "mailSent") {
    return void res.status(202).send(mailSentPage(req.keywardVisit.visitor, email));
  }
  const why = outcome.status === "refused" ? (firstField(outcome.fields) ?? outcome.error) : "";
  res.status(400).send(registerPage(req.keywardVisit.visitor, { email, why }));
});

app.post("/sign-out", async (req, res) => {
  const { setCookies: lines } = await sessions.signOut(browserRequest(req));
  setCookies(res, lines);
  res.redirect(303, "/");
});

// The way back in is open as soon as the verifier knows who is signed in.
await verifier.ready();
const server = app.listen(Number(PORT), "127.0.0.1", () => {
  const address = server.address();
  const port = typeof address === "object" ? address?.port : PORT;
  console.log(`listening on http://localhost:${port}`);
});

/** The fields of a form, each of them a text. */
function fieldsOf(body: unknown): Record<string, string> {
  const pairs = Object.entries(body ?? {}).filter(([, value]) => typeof value === "string");
  return Object.fromEntries(pairs);
}

function firstField(fields: Readonly<Record<string, string>>): string | undefined {
  const [first] = Object.entries(fields);
  return first && `${first[0]}: ${first[1]}`;
}
