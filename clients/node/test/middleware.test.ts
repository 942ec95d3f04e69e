// The checks before routes, in each framework: one list of requests, one list of answers.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, request as send } from "node:http";
import { createRequire } from "node:module";
import { test } from "node:test";

import express from "express";
import fastify from "fastify";

import * as forExpress from "../src/express.ts";
import * as forFastify from "../src/fastify.ts";
import { Verifier } from "../src/index.ts";
import { ISSUER, Issuer } from "./support/issuer.ts";

const express4: typeof express = createRequire(import.meta.url)("express-4");
const issuer = new Issuer();

const FRAMEWORKS: Record<string, (verifier: Verifier) => Promise<Server>> = {
  "Express 5": (verifier) => listen(expressApp(express, verifier)),
  "Express 4": (verifier) => listen(expressApp(express4, verifier)),
  "Fastify 5": fastifyApp,
};

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

const PAYMENT = { maxAgeSecs: 300, amr: ["otp"] };

function expressApp(make: typeof express, verifier: Verifier) {
  const { authenticate, requireRecentAuth, requireRole } = forExpress;
  const app = make();
  const good = authenticate(verifier);
  app.get("/me", good, (req, res) => void res.json({ id: req.keyward.userId }));
  app.get("/admin", good, requireRole("admin", "editor"), (_, res) => void res.json({}));
  app.get("/pay", good, requireRecentAuth(PAYMENT), (_, res) => void res.json({}));
  app.get("/unguarded", requireRole("admin"), (_, res) => void res.json({}));
  return createServer(app);
}

async function fastifyApp(verifier: Verifier): Promise<Server> {
  const { authenticate, requireRecentAuth, requireRole } = forFastify;
  const app = fastify();
  const good = authenticate(verifier);
  app.get("/me", { onRequest: good }, async (request) => ({ id: request.keyward.userId }));
  app.get("/admin", { onRequest: [good, requireRole("admin", "editor")] }, async () => ({}));
  app.get("/pay", { onRequest: [good, requireRecentAuth(PAYMENT)] }, async () => ({}));
  app.get("/unguarded", { onRequest: requireRole("admin") }, async () => ({}));
  await app.listen({ port: 0, host: "127.0.0.1" });
  return app.server;
}

async function listen(server: Server): Promise<Server> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

function close(server: Server): void {
  server.closeAllConnections();
  server.close();
}

/** Sends the headers as they are, twice where they are there twice. */
async function ask(server: Server, path: string, headers: string[]) {
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const request = send({ port, host: "127.0.0.1", path, headers: ["Host", "a.test", ...headers] });
  request.end();
  const [response] = await once(request, "response");
  let body = "";
  for await (const piece of response) body += piece;
  return { status: response.statusCode, headers: response.headers, body };
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
