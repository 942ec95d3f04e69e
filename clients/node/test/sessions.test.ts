// Server-side sessions, over a network that loses answers, in front of a real service.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";

import fastify from "fastify";

import { readSession, requireSignIn } from "../src/fastify.ts";
import {
  type BrowserRequest,
  Sessions,
  type SessionsPolicy,
  type SignIn,
  Source,
  Verifier,
  type Visit,
} from "../src/index.ts";
import { CookieJar } from "../src/session/cookies.ts";
import { Network } from "./support/network.ts";
import { BEHIND_AN_APP, PASSWORD, Service } from "./support/service.ts";

const POLICY: SessionsPolicy = { origin: "http://localhost:3000", secret: "s".repeat(40) };
const PASSWORD_CHANGE = {
  method: "POST",
  path: "/password/change",
  body: { currentPassword: PASSWORD, newPassword: `${PASSWORD} anders` },
} as const;
const OVERLOADED = { status: 503, body: '{"error":"Busy.","code":"OVERLOADED","retryAfter":7}' };

let service: Service;
let network: Network;
let verifier: Verifier;
let sessions: Sessions;
let stop: () => void;

before(async () => {
  service = await Service.start({
    ...BEHIND_AN_APP,
    KEYWARD_LIMITS__REFRESH_SESSION: "5 per 15m",
  });
  network = await Network.start(service.url);
  verifier = new Verifier({ issuer: service.url });
  stop = verifier.follow(new Source(service.url, { serviceKey: service.serviceKey() }));
  await verifier.ready();
  sessions = anotherProcess();
});

after(async () => {
  stop();
  await network.stop();
  await service.remove();
});

test("a lost answer is asked for again, and is the same", async () => {
  const jar = await register();
  network.faults.push("lose the answer");
  const visit = await expire(jar, sessions);
  assert.equal(visit.visitor.status, "signedIn");
  const [refreshed, retried] = [count("session.refreshed", visit), count("refresh.retried", visit)];
  assert.deepEqual([refreshed, retried], [1, 1]);
});

test("an answer that stays lost signs nobody out, and the next request has it", async () => {
  const jar = await register();
  network.faults.push("lose the answer", "lose the answer");
  const lost = await expire(jar, sessions);
  assert.equal(lost.visitor.status, "unknown");
  assert.deepEqual(lost.setCookies, []);
  // By whichever process: the key is derived.
  assert.equal((await expire(jar, anotherProcess())).visitor.status, "signedIn");
});

test("whatever is in between answers, nobody is signed out by it", async () => {
  const jar = await register();
  const faults = [
    OVERLOADED,
    { status: 502, body: "<html>Bad gateway</html>" },
    { status: 200, body: "<html>Sign in to this network</html>" },
    { status: 302, headers: { Location: "https://evil.test" }, body: "" },
    { status: 429, body: '{"error":"Slow.","code":"RATE_LIMITED","retryAfter":9}' },
    { status: 401, body: "<html>Unauthorized</html>" },
    { status: 401, body: '{"error":"unauthorized"}' },
    { status: 403, body: '{"message":"forbidden"}' },
  ];
  for (const fault of faults) {
    network.faults.push(fault, fault);
    const { visitor, setCookies } = await expire(jar, sessions);
    assert.equal(visitor.status, "unknown", fault.body);
    assert.deepEqual(setCookies, []);
    network.faults.length = 0;
  }
  assert.equal((await expire(jar, sessions)).visitor.status, "signedIn");
});

test("a 409 is tried a second time, and not a third", async () => {
  const race = { status: 409, body: '{"error":"Race.","code":"REFRESH_RACE"}' };
  const jar = await register();
  network.faults.push(race);
  assert.equal((await expire(jar, sessions)).visitor.status, "signedIn");

  // A real one: the token is two rotations old, and its sender can prove that it was theirs.
  const old = await register();
  const first = await expire(old, sessions);
  const second = await expire(adopt(old, first), sessions);
  const late = await expire(old, anotherProcess());
  assert.deepEqual(late.visitor, { status: "unknown", code: "REFRESH_RACE", retryAfterSecs: 2 });
  assert.equal((await sessions.read(adopt(old, second))).visitor.status, "signedIn");
});

test("a verifier that knows nothing has no token exchanged", async () => {
  const jar = await register();
  const blind = new Sessions(
    new Verifier({ issuer: service.url }),
    new Source(network.origin),
    POLICY,
  );
  const before = network.asked;
  const { visitor, setCookies } = await blind.read(jar);
  assert.equal(visitor.status, "unknown");
  assert.deepEqual(setCookies, []);
  assert.equal(network.asked, before);
});

test("the service's own limit signs nobody out", async () => {
  let jar = await register();
  let visit = await expire(jar, sessions);
  for (let times = 0; visit.visitor.status === "signedIn" && times < 10; times += 1) {
    jar = adopt(jar, visit);
    visit = await expire(jar, sessions);
  }
  const { visitor, setCookies } = visit;
  assert.ok(visitor.status === "unknown" && visitor.code === "RATE_LIMITED");
  assert.ok(visitor.retryAfterSecs > 2);
  assert.deepEqual(setCookies, []);
});

test("fifty at once in one process are one exchange, also a little later", async () => {
  const jar = await register();
  const visits = await Promise.all(Array.from({ length: 50 }, () => expire(jar, sessions)));
  const late = await expire(jar, sessions);
  assert.equal(new Set([...visits, late].map((visit) => visit.setCookies.join())).size, 1);
  assert.deepEqual([count("session.refreshed", late), count("refresh.retried", late)], [1, 0]);
});

test("cookies that do not belong together do nothing, and end nothing", async () => {
  const [mine, other] = [await register(), await register()];
  const mixed = { ...mine, cookie: mixOf(mine, other) };
  const { visitor, setCookies } = await sessions.read(mixed);
  assert.deepEqual(visitor, { status: "signedOut", code: "CSRF_FAILED", reason: undefined });
  assert.deepEqual(setCookies, []);
  const twice = { ...mine, cookie: `${without(mine, "accessToken")}; refreshToken=tossed` };
  assert.equal((await sessions.read(twice)).visitor.status, "signedOut");
  assert.equal((await expire(mine, sessions)).visitor.status, "signedIn");
});

test("whoever signs in anew leaves the old session, and keeps the new cookies", async () => {
  const email = address();
  const jar = await register(email);
  const anew = await sessions.signIn({ email, password: PASSWORD }, jar);
  assert.equal(anew.status, "signedIn");
  // A page that the browser had asked for before.
  const { visitor, setCookies } = await expire(jar, sessions);
  assert.deepEqual(visitor, { status: "signedOut", code: "SESSION_REVOKED", reason: "superseded" });
  assert.deepEqual(setCookies, []);
  assert.equal((await sessions.read(adopt(jar, anew))).visitor.status, "signedIn");
});

test("a page in flight while the password changes takes no cookies away", async () => {
  const jar = await register();
  const changed = await sessions.call(await sessions.read(jar), PASSWORD_CHANGE, jar);
  assert.equal(changed.status, 200);
  const { visitor, setCookies } = await expire(jar, sessions);
  const reason = "password_changed";
  assert.deepEqual(visitor, { status: "signedOut", code: "SESSION_REVOKED", reason });
  assert.deepEqual(setCookies, []);
  assert.equal((await sessions.read(adopt(jar, changed))).visitor.status, "signedIn");
});

test("a session that ends while its token is exchanged takes no cookies away", async () => {
  const jar = await register();
  const { visitor } = await sessions.read(jar);
  const { claims } = visitor.status === "signedIn" ? visitor.caller : assert.fail();
  verifier.revocations.takeIn({ sid: claims.sid, exp: claims.exp });
  const late = await expire(jar, sessions);
  assert.ok(late.visitor.status === "signedOut" && late.visitor.code === "TOKEN_REVOKED");
  assert.deepEqual(late.setCookies, []);
});

test("the service learns who is in front of the app, and answers in their name", async () => {
  const jar = await register();
  const visit = await sessions.read(jar);
  const { status, body } = await sessions.call(visit, { path: "/sessions" }, jar);
  assert.equal(status, 200);
  const [session] = body["sessions"] as { ip: string; userAgent: string }[];
  assert.deepEqual([session?.ip, session?.userAgent], ["203.0.113.7", "a browser"]);
  const changed = await sessions.call(visit, PASSWORD_CHANGE, jar);
  assert.equal(changed.status, 200);
  assert.equal((await sessions.read(adopt(jar, changed))).visitor.status, "signedIn");
  const gone = await sessions.read({ ...jar, cookie: undefined });
  await assert.rejects(sessions.call(gone, { path: "/me" }, jar), /nobody is signed in/);
});

test("strangers who guess do not lock out a browser that has signed in before", async () => {
  const email = address();
  const jar = await register(email);
  assert.deepEqual(namesIn(jar), ["accessToken", "csrfToken", "device", "refreshToken"]);
  const owner = adopt(jar, await sessions.signOut(jar));
  assert.deepEqual(namesIn(owner), ["device"]);
  // From the owner's own address, as anybody in the same house.
  let guess = await sessions.signIn({ email, password: "wrong wrong" }, browser());
  for (let times = 0; code(guess) === "INVALID_CREDENTIALS" && times < 20; times += 1) {
    guess = await sessions.signIn({ email, password: "wrong wrong" }, browser());
  }
  assert.equal(code(guess), "RATE_LIMITED");
  const late = await sessions.signIn({ email, password: PASSWORD }, browser());
  assert.equal(code(late), "RATE_LIMITED");
  const known = await sessions.signIn({ email, password: PASSWORD }, owner);
  assert.equal(known.status, "signedIn");
});

test("over https the cookies have the service's prefixes, and become the app's own", () => {
  const jar = new CookieJar(true);
  const names = ["__Secure-refreshToken", "__Host-accessToken", "__Host-csrfToken"];
  const all = [...names, "__Secure-device"];
  const sent = all.map((name) => `${name}=v; Path=/api/auth; Secure; SameSite=Strict; Max-Age=9`);
  const attributes = "Path=/; Secure; HttpOnly; SameSite=Lax; Priority=High; Max-Age=";
  const expected = all.map((name) => `${name}=v; ${attributes}9`);
  assert.deepEqual(jar.adopt([...sent, "device=v; Max-Age=9", "other=v; Max-Age=9"]), expected);
  assert.deepEqual(jar.clear().sort(), names.map((name) => `${name}=; ${attributes}0`).sort());
  const carried = jar.read(all.map((name) => `${name}=v`).join("; "));
  assert.deepEqual(carried, { refresh: "v", access: "v", csrf: "v", device: "v" });
  const Cookie = "__Secure-refreshToken=v; __Host-csrfToken=v; __Secure-device=v";
  assert.deepEqual(jar.present(carried), { Cookie });
  assert.deepEqual(jar.present({ refresh: "v" }), {});
  // Its own domain has no __Host-; and what is not named is as by default.
  const own = new CookieJar(true, { refresh: "r", access: "a", csrf: "c" });
  assert.equal(own.read("__Secure-device=v; r=w").device, "v");
});

test("signing out clears the cookies, and says whether the service knows", async () => {
  const jar = await register();
  const down = new Sessions(verifier, new Source("http://127.0.0.1:9"), POLICY);
  const failed = await down.signOut(jar);
  assert.equal(failed.isEnded, false);
  assert.ok(
    failed.setCookies.length === 3 && failed.setCookies.every((line) => /Max-Age=0/.test(line)),
  );
  assert.equal((await sessions.signOut(jar)).isEnded, true);
  const { visitor } = await expire(jar, sessions);
  assert.ok(visitor.status === "signedOut" && visitor.reason === "logout");
  assert.equal((await sessions.signOut({ ...jar, cookie: undefined })).isEnded, true);
});

test("a refusal comes with its sentence and its fields", async () => {
  const nobody = { ...browser(), cookie: undefined };
  const refused = await sessions.register({ email: "ada", password: "short" }, nobody);
  assert.ok(refused.status === "refused" && refused.code === "INVALID_REQUEST");
  assert.ok(Object.keys(refused.fields).length > 0);
  const wrong = await sessions.signIn({ email: address(), password: "wrong wrong" }, nobody);
  assert.ok(wrong.status === "refused" && wrong.code === "INVALID_CREDENTIALS");
  const down = new Sessions(verifier, new Source("http://127.0.0.1:9"), POLICY);
  const away = await down.signIn({ email: address(), password: PASSWORD }, nobody);
  assert.ok(away.status === "refused" && away.code === "STORE_UNAVAILABLE");
});

test("Fastify: pages know who is there, and foreign forms do nothing", async () => {
  const app = fastify();
  const read = readSession(sessions);
  app.get("/account", { onRequest: [read, requireSignIn("/sign-in")] }, async (request) => {
    return request.keyward.claims.email;
  });
  app.post("/notes", { onRequest: read }, async () => "written");
  const email = address();
  const { cookie = "" } = await register(email);
  const nobody = await app.inject({ url: "/account?a=1" });
  assert.equal(nobody.headers.location, "/sign-in?next=%2Faccount%3Fa%3D1");
  const headers = { cookie: without({ ...browser(), cookie }, "accessToken") };
  const page = await app.inject({ url: "/account", headers });
  assert.deepEqual([page.statusCode, page.body], [200, email]);
  assert.equal(page.cookies.length, 3);
  assert.equal(page.headers["cache-control"], "no-store");
  const foreign = { ...headers, origin: "https://evil.test" };
  assert.equal(
    (await app.inject({ method: "POST", url: "/notes", headers: foreign })).statusCode,
    403,
  );
  const own = { ...headers, origin: POLICY.origin };
  assert.equal((await app.inject({ method: "POST", url: "/notes", headers: own })).statusCode, 200);
});

test("an app that would not be safe does not start", async () => {
  const source = new Source(service.url);
  const bad = [
    { secret: "short" },
    { secret: undefined },
    { origin: "http://notes.example.org" },
    { origin: "https://notes.example.org/path" },
    { origin: "notes" },
  ];
  for (const part of bad) {
    const policy = { ...POLICY, ...part };
    assert.throws(() => new Sessions(verifier, source, policy), TypeError, JSON.stringify(part));
  }
  const inBodies = await Service.start();
  const wrong = new Sessions(verifier, new Source(inBodies.url), POLICY);
  const account = { email: address(), password: PASSWORD };
  await assert.rejects(wrong.register(account, browser()), /access_token.delivery = "cookie"/);
  await inBodies.remove();
});

/** Another process of the same app. */
function anotherProcess(): Sessions {
  return new Sessions(verifier, new Source(network.origin), POLICY);
}

function address(): string {
  return `${randomUUID()}@example.org`;
}

function browser(): BrowserRequest {
  return { cookie: undefined, address: "203.0.113.7", userAgent: "a browser" };
}

async function register(email = address()): Promise<BrowserRequest> {
  const outcome = await sessions.register({ email, password: PASSWORD }, browser());
  assert.equal(outcome.status, "signedIn");
  return adopt(browser(), outcome);
}

/** What the browser sends once it has taken up these cookies. */
function adopt(
  jar: BrowserRequest,
  { setCookies }: Pick<Visit | SignIn, "setCookies">,
): BrowserRequest {
  const pairs = new Map(
    (jar.cookie ?? "").split("; ").map((pair) => [pair.split("=", 1)[0], pair]),
  );
  pairs.delete("");
  for (const line of setCookies) {
    const [pair = ""] = line.split(";", 1);
    const name = pair.split("=", 1)[0];
    if (/; Max-Age=0$/.test(line)) pairs.delete(name);
    else pairs.set(name, pair);
  }
  return { ...jar, cookie: [...pairs.values()].join("; ") };
}

function namesIn({ cookie = "" }: BrowserRequest): (string | undefined)[] {
  return cookie
    .split("; ")
    .map((pair) => pair.split("=", 1)[0])
    .sort();
}

function code(outcome: SignIn): string | undefined {
  return outcome.status === "refused" ? outcome.code : undefined;
}

/** The next request of the browser, after its access token has expired. */
function expire(jar: BrowserRequest, at: Sessions): Promise<Visit> {
  return at.read({ ...jar, cookie: without(jar, "accessToken") });
}

function without({ cookie = "" }: BrowserRequest, name: string): string {
  return cookie
    .split("; ")
    .filter((pair) => !pair.startsWith(`${name}=`))
    .join("; ");
}

/** The refresh cookie of one and the CSRF cookie of the other. */
function mixOf(one: BrowserRequest, other: BrowserRequest): string {
  const pair = ({ cookie = "" }: BrowserRequest, name: string) =>
    cookie.split("; ").find((part) => part.startsWith(`${name}=`));
  return `${pair(one, "refreshToken")}; ${pair(other, "csrfToken")}`;
}

/** How many audit events of a kind the visitor's session has. */
function count(kind: string, { visitor }: Visit): number {
  const { sessionId } = visitor.status === "signedIn" ? visitor.caller : { sessionId: "none" };
  const events = service.run("audit", "--type", kind, "--json");
  return events.split("\n").filter((line) => line.includes(sessionId)).length;
}
