// What users of a server-rendered app do by mail, in front of a real service that confirms
// addresses before anybody signs in.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Sessions, Source, Verifier } from "../src/index.ts";
import { type App, startExample } from "./support/apps.ts";
import { Browser } from "./support/browser.ts";
import { BEHIND_AN_APP, PASSWORD, Service } from "./support/service.ts";

/** A mail that never comes ends the test that waits for it. */
const LIMIT = { timeout: 60_000 };

const ADA = "ada@example.org";
const BROWSER = { cookie: undefined, address: "203.0.113.7", userAgent: "a browser" };

let service: Service;
let app: App;
let sessions: Sessions;
let stop: () => void;

before(async () => {
  service = await Service.start({
    ...BEHIND_AN_APP,
    KEYWARD_MAIL__URL: "file:outbox",
    KEYWARD_MAIL__FROM: "no-reply@example.org",
    KEYWARD_ACCOUNTS__REGISTRATION: "verified",
    KEYWARD_ACCOUNTS__REQUIRE_VERIFIED_EMAIL: "true",
  });
  const serviceKey = service.serviceKey();
  const verifier = new Verifier({ issuer: service.url });
  const source = new Source(service.url, { serviceKey });
  stop = verifier.follow(source);
  await verifier.ready();
  const secret = "s".repeat(40);
  sessions = new Sessions(verifier, source, { origin: "http://localhost:3000", secret });
  const env = { KEYWARD_URL: service.url, SERVICE_KEY: serviceKey, APP_SECRET: secret };
  app = await startExample("ssr", env);
});

after(async () => {
  await app.running.stop();
  stop();
  await service.remove();
});

test("an account by mail, and a forgotten password, without a sign-in", LIMIT, async () => {
  const made = await sessions.register({ email: ADA, password: PASSWORD }, BROWSER);
  assert.deepEqual(made, { status: "mailSent", setCookies: [] });
  const early = await sessions.signIn({ email: ADA, password: PASSWORD }, BROWSER);
  assert.ok(early.status === "refused" && early.code === "INVALID_CREDENTIALS");
  const verified = await sessions.verifyEmail(
    await service.mailedToken(ADA, "/verify-email"),
    BROWSER,
  );
  assert.ok(verified.status === "done");
  assert.equal((verified.body["user"] as { email: string }).email, ADA);
  assert.equal(
    (await sessions.signIn({ email: ADA, password: PASSWORD }, BROWSER)).status,
    "signedIn",
  );

  assert.equal((await sessions.forgotPassword(ADA, BROWSER)).status, "done");
  const token = await service.mailedToken(ADA, "/reset-password");
  const weak = await sessions.resetPassword({ token, newPassword: "short" }, BROWSER);
  assert.ok(weak.status === "refused" && weak.fields["newPassword"]);
  const newPassword = `${PASSWORD} anders`;
  const reset = await sessions.resetPassword({ token, newPassword }, BROWSER);
  assert.equal(reset.status, "done");
  // The browser is known from here on, and nobody is signed in.
  assert.equal(reset.setCookies.length, 1);
  assert.match(reset.setCookies[0] ?? "", /^device=[\w-]+; Path=\/; HttpOnly; SameSite=Lax; /);
  const again = await sessions.resetPassword({ token, newPassword }, BROWSER);
  assert.ok(again.status === "refused" && again.fields["token"]);
  assert.equal(
    (await sessions.signIn({ email: ADA, password: newPassword }, BROWSER)).status,
    "signedIn",
  );
});

test("the service counts who asks, and not the app", LIMIT, async () => {
  await sessions.forgotPassword("nobody@example.org", BROWSER);
  const [event = "{}"] = service.run("audit", "--type", "password.reset", "--json").split("\n");
  assert.equal(JSON.parse(event).ip, BROWSER.address);
  const down = new Sessions(
    new Verifier({ issuer: service.url }),
    new Source("http://127.0.0.1:9"),
    { origin: "http://localhost:3000", secret: "s".repeat(40) },
  );
  const away = await down.forgotPassword(ADA, BROWSER);
  assert.ok(away.status === "refused" && away.code === "STORE_UNAVAILABLE");
});

test("the server-rendered example says that a mail is on its way", LIMIT, async () => {
  const browser = new Browser(app.origin);
  const email = "eve@example.org";
  const page = await browser.post("/register", { email, password: PASSWORD });
  assert.equal(page.status, 202);
  assert.match(page.text, /sent a mail to <strong>eve@example\.org/);
  assert.equal(browser.jar.size, 0);
});
