// The checks before routes, in each framework: one list of requests, one list of answers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Verifier } from "../src/index.ts";
import { ask, close, FRAMEWORKS } from "./support/frameworks.ts";
import { ISSUER, Issuer } from "./support/issuer.ts";
import { warningsWith } from "./support/warnings.ts";

const issuer = new Issuer();

for (const [name, start] of Object.entries(FRAMEWORKS)) {
  test(`${name}: requests are let through or answered as the service would`, async (context) => {
    const verifier = current();
    const server = await start(verifier);
    context.after(() => close(server));
    for (const { path, headers, status, code, challenge } of requests(verifier)) {
      const answer = await ask(server, path, headers);
      const place = `${name} ${path} ${headers.join(" ").slice(0, 60)}`;
      assert.equal(answer.status, status, `${place} ${answer.body}`);
      if (code === undefined) continue;
      const { error, code: told, requestId } = JSON.parse(answer.body);
      assert.equal(told, code, place);
      assert.match(error, /^[A-Z].*\.$/);
      assert.match(requestId, /^[A-Za-z0-9._-]{1,64}$/);
      assert.equal(answer.headers["x-request-id"], requestId);
      assert.equal(answer.headers["cache-control"], "no-store");
      assert.match(String(answer.headers["content-type"]), /^application\/json/);
      assert.equal(answer.headers["www-authenticate"], challenge, place);
    }
  });

  test(`${name}: 503 with Retry-After while revocations are not known`, async (context) => {
    const verifier = new Verifier({ issuer: ISSUER });
    verifier.takeUpKeys(keySet());
    const server = await start(verifier);
    context.after(() => close(server));
    const answer = await ask(server, "/me", ["Authorization", `Bearer ${issuer.issue()}`]);
    assert.equal(answer.status, 503);
    assert.equal(answer.headers["retry-after"], "2");
    const { code, retryAfter } = JSON.parse(answer.body);
    assert.deepEqual([code, retryAfter], ["STORE_UNAVAILABLE", 2]);
  });
}

test("a check with nothing before it says what is missing, once", async () => {
  for (const [name, start] of Object.entries(FRAMEWORKS)) {
    const server = await start(current());
    for (const path of ["/unguarded", "/unguarded/pay", "/unguarded/account"]) {
      const answer = await ask(server, path, []);
      assert.equal(answer.status, 500, `${name} ${path}`);
      assert.equal(JSON.parse(answer.body).code, "INTERNAL");
    }
    close(server);
  }
  const caller = "authenticate(verifier), or both readSession(sessions) and requireSignIn(path),";
  assert.deepEqual((await warningsWith("lets nobody through")).sort(), [
    `requireRecentAuth lets nobody through: put ${caller} before it`,
    `requireRole lets nobody through: put ${caller} before it`,
    "requireSignIn lets nobody through: put readSession(sessions) before it",
  ]);
});

interface Expected {
  readonly path: string;
  readonly headers: string[];
  readonly status: number;
  readonly code?: string;
  readonly challenge?: string;
}

function requests(verifier: Verifier): Expected[] {
  const now = Math.floor(Date.now() / 1000);
  const bearer = (token: string) => ["Authorization", `Bearer ${token}`];
  const good = bearer(issuer.issue());
  const sid = "02020202-0202-0202-0202-020202020202";
  verifier.revocations.takeIn({ sid, exp: now + 900 });
  const invalid = 'Bearer error="invalid_token"';
  const refuse = (code: string, headers: string[]) => {
    return { path: "/me", headers, status: 401, code, challenge: invalid };
  };
  const none = { path: "/me", status: 401, code: "NO_TOKEN", challenge: "Bearer" };
  const scope = 'Bearer error="insufficient_scope"';
  return [
    { path: "/me", headers: good, status: 200 },
    {
      path: "/me",
      headers: ["authorization", good[1]?.replace("Bearer", "bEARER") ?? ""],
      status: 200,
    },
    { ...none, headers: [] },
    { ...none, headers: ["Authorization", "Basic YTpi"] },
    { ...none, headers: ["Authorization", "Bearer"] },
    { ...none, headers: ["Cookie", `accessToken=${issuer.issue()}`] },
    { ...none, path: `/me?access_token=${issuer.issue()}`, headers: [] },
    { path: "/me", headers: [...good, ...good], status: 400, code: "INVALID_REQUEST" },
    refuse("INVALID_TOKEN", bearer("a.b.c")),
    refuse("INVALID_TOKEN", bearer(`x${issuer.issue()}`)),
    refuse("INVALID_TOKEN", bearer("kwk_none")),
    refuse("INVALID_TOKEN", bearer("a".repeat(12_000))),
    refuse("TOKEN_EXPIRED", bearer(issuer.issue({ iat: now - 900, exp: now - 60 }))),
    refuse("TOKEN_REVOKED", bearer(issuer.issue({ sid }))),
    {
      path: "/admin",
      headers: good,
      status: 403,
      code: "INSUFFICIENT_PERMISSIONS",
      challenge: scope,
    },
    { path: "/admin", headers: bearer(issuer.issue({ roles: ["editor"] })), status: 200 },
    { path: "/admin", headers: bearer(issuer.issue({ roles: ["adm", "admin"] })), status: 200 },
    { path: "/pay", headers: good, status: 403, code: "REAUTHENTICATION_REQUIRED" },
    { path: "/pay", headers: bearer(issuer.issue({ amr: ["pwd", "otp"] })), status: 200 },
    {
      path: "/pay",
      headers: bearer(issuer.issue({ amr: ["pwd", "otp"], auth_time: now - 400 })),
      status: 403,
      code: "REAUTHENTICATION_REQUIRED",
    },
    { path: "/unguarded", headers: good, status: 500, code: "INTERNAL" },
  ];
}

function current(): Verifier {
  const verifier = new Verifier({ issuer: ISSUER });
  assert.ok(verifier.takeUpKeys(keySet()));
  verifier.revocations.hear();
  return verifier;
}

function keySet(): Buffer {
  return Buffer.from(JSON.stringify({ keys: [issuer.jwk] }));
}
