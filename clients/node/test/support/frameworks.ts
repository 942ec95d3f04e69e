// One small app in each framework that the middleware is for.

import { once } from "node:events";
import { createServer, type Server, request as send } from "node:http";
import { createRequire } from "node:module";

import express from "express";
import fastify from "fastify";

import * as forExpress from "../../src/express.ts";
import * as forFastify from "../../src/fastify.ts";
import type { Verifier } from "../../src/index.ts";

const express4: typeof express = createRequire(import.meta.url)("express-4");

/** Starts the app behind this verifier. */
export const FRAMEWORKS: Record<string, (verifier: Verifier) => Promise<Server>> = {
  "Express 5": (verifier) => listen(expressApp(express, verifier)),
  "Express 4": (verifier) => listen(expressApp(express4, verifier)),
  "Fastify 5": fastifyApp,
};

const PAYMENT = { maxAgeSecs: 300, amr: ["otp"] };

function expressApp(make: typeof express, verifier: Verifier) {
  const { authenticate, requireRecentAuth, requireRole, requireSignIn } = forExpress;
  const app = make();
  const good = authenticate(verifier);
  app.get("/me", good, (req, res) => void res.json({ id: req.keyward.userId }));
  app.get("/admin", good, requireRole("admin", "editor"), (_, res) => void res.json({}));
  app.get("/pay", good, requireRecentAuth(PAYMENT), (_, res) => void res.json({}));
  app.get("/unguarded", requireRole("admin"), (_, res) => void res.json({}));
  app.get("/unguarded/pay", requireRecentAuth(PAYMENT), (_, res) => void res.json({}));
  app.get("/unguarded/account", requireSignIn("/sign-in"), (_, res) => void res.json({}));
  return createServer(app);
}

async function fastifyApp(verifier: Verifier): Promise<Server> {
  const { authenticate, requireRecentAuth, requireRole, requireSignIn } = forFastify;
  const app = fastify();
  const good = authenticate(verifier);
  app.get("/me", { onRequest: good }, async (request) => ({ id: request.keyward.userId }));
  app.get("/admin", { onRequest: [good, requireRole("admin", "editor")] }, async () => ({}));
  app.get("/pay", { onRequest: [good, requireRecentAuth(PAYMENT)] }, async () => ({}));
  app.get("/unguarded", { onRequest: requireRole("admin") }, async () => ({}));
  app.get("/unguarded/pay", { onRequest: requireRecentAuth(PAYMENT) }, async () => ({}));
  app.get("/unguarded/account", { onRequest: requireSignIn("/sign-in") }, async () => ({}));
  await app.listen({ port: 0, host: "127.0.0.1" });
  return app.server;
}

async function listen(server: Server): Promise<Server> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** Ends an app with all its connections. */
export function close(server: Server): void {
  server.closeAllConnections();
  server.close();
}

/** Sends the headers as they are, twice where they are there twice. */
export async function ask(server: Server, path: string, headers: readonly string[]) {
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const request = send({ port, host: "127.0.0.1", path, headers: ["Host", "a.test", ...headers] });
  request.end();
  const [response] = await once(request, "response");
  let body = "";
  for await (const piece of response) body += piece;
  return { status: response.statusCode, headers: response.headers, body };
}
