/**
 * Hooks for Fastify 5: `{ onRequest: [authenticate(verifier), requireRole("admin")] }`.
 *
 * @module
 */

import type { FastifyReply, FastifyRequest } from "fastify";

import type { Caller, RecentAuth } from "./http/caller.ts";
import {
  checkRecentAuth,
  checkRole,
  findCaller,
  someRecentAuth,
  someRoles,
  unguarded,
} from "./http/checks.ts";
import { type Denial, deny } from "./http/denial.ts";
import type { Sessions } from "./session/sessions.ts";
import type { BrowserRequest, Visit } from "./session/visit.ts";
import type { Verifier } from "./verifier.ts";

/** A hook, as Fastify calls it. */
export type Hook = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;

/**
 * Lets requests with a good access token through, with `request.keyward`, and answers all others as
 * the issuing service would. Only the `Authorization` header counts. Preflight requests of browsers
 * carry no token: let what answers them come before this.
 */
export function authenticate(verifier: Verifier): Hook {
  return async (request, reply) => {
    const { caller, denial } = await findCaller(verifier, request.raw.rawHeaders);
    if (denial) return answer(reply, denial);
    request.keyward = caller;
  };
}

/**
 * Lets those through who had one of these roles when their token was issued; others are answered
 * 403.
 */
export function requireRole(...roles: string[]): Hook {
  const some = someRoles(roles);
  return check((request) => checkRole(request.keyward, some, request.raw.rawHeaders));
}

/**
 * Lets those through whose sign-in is recent and strong enough; others sign in again, and come
 * back.
 */
export function requireRecentAuth(recent: RecentAuth): Hook {
  const some = someRecentAuth(recent);
  return check((request) => checkRecentAuth(request.keyward, some, request.raw.rawHeaders));
}

/**
 * Finds out who is there, for an app that renders its pages on the server: `request.keywardVisit`,
 * and `request.keyward` where somebody is signed in. Sets the cookies, forbids keeping the page,
 * and refuses requests of other origins that would change something.
 */
export function readSession(sessions: Sessions): Hook {
  return async (request, reply) => {
    if (!sessions.isOwn(sentBy(request))) {
      return answer(reply, deny("ORIGIN_NOT_ALLOWED", request.raw.rawHeaders));
    }
    const visit = await sessions.read(browserRequest(request));
    request.keywardVisit = visit;
    if (visit.visitor.status === "signedIn") request.keyward = visit.visitor.caller;
    // A page that shows whose it is must not be shown to another.
    reply.header("Cache-Control", "no-store");
    setCookies(reply, visit.setCookies);
  };
}

/**
 * Lets those through who are signed in. Others are sent to the sign-in page, with where they wanted
 * to go in `next`; while nobody can say who is there, the answer is 503, and nobody is signed out
 * over it.
 */
export function requireSignIn(signInPath: string): Hook {
  return async (request, reply) => {
    const { rawHeaders } = request.raw;
    const visitor = request.keywardVisit?.visitor;
    if (!visitor) return answer(reply, unguarded("requireSignIn", rawHeaders));
    if (visitor.status === "signedIn") return;
    if (visitor.status === "unknown") {
      return answer(reply, deny("STORE_UNAVAILABLE", rawHeaders, visitor.retryAfterSecs));
    }
    const target = new URLSearchParams({ next: request.originalUrl });
    return reply.redirect(`${signInPath}${request.method === "GET" ? `?${target}` : ""}`, 303);
  };
}

/** What {@link Sessions} asks of a browser's request. */
export function browserRequest(request: FastifyRequest): BrowserRequest {
  return {
    cookie: request.headers.cookie,
    address: request.ip,
    userAgent: request.headers["user-agent"],
  };
}

/** Adds cookies to an answer. */
export function setCookies(reply: FastifyReply, lines: readonly string[]): void {
  for (const line of lines) reply.header("Set-Cookie", line);
}

function sentBy({ method, headers }: FastifyRequest) {
  const site = headers["sec-fetch-site"];
  return {
    method,
    origin: headers.origin,
    referer: headers.referer,
    site: typeof site === "string" ? site : undefined,
  };
}

function check(test: (request: FastifyRequest) => Denial | undefined): Hook {
  return async (request, reply) => {
    const denial = test(request);
    if (denial) return answer(reply, denial);
  };
}

function answer(reply: FastifyReply, { status, headers, body }: Denial): FastifyReply {
  return reply.code(status).headers(headers).send(body);
}

declare module "fastify" {
  interface FastifyRequest {
    /** Who is calling. Behind `authenticate`, or `readSession` and `requireSignIn`. */
    keyward: Caller;
    /** Whether somebody is signed in. Behind `readSession`. */
    keywardVisit: Visit;
  }
}
