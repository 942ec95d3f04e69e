/**
 * Middleware for Express 4 and 5, and for anything else whose middleware looks like Node's own.
 *
 * @module
 */

import type { IncomingMessage, ServerResponse } from "node:http";

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

/** What this middleware needs of a request, and leaves on it. */
export type Request = IncomingMessage & {
  /** Behind a proxy that Express was told to trust, the address of the browser. */
  readonly ip?: string | undefined;
  readonly originalUrl?: string;
  keyward?: Caller;
  keywardVisit?: Visit;
};

/** Middleware, as Express calls it. */
export type Middleware = (
  request: Request,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * Lets requests with a good access token through, with `req.keyward`, and answers all others as the
 * issuing service would. Only the `Authorization` header counts. Preflight requests of browsers
 * carry no token: put what answers them before this.
 */
export function authenticate(verifier: Verifier): Middleware {
  return (request, response, next) => {
    findCaller(verifier, request.rawHeaders)
      .then(({ caller, denial }) => {
        if (denial) return answer(response, denial);
        request.keyward = caller;
        next();
      })
      .catch(next);
  };
}

/**
 * Lets those through who had one of these roles when their token was issued; others are answered
 * 403.
 */
export function requireRole(...roles: string[]): Middleware {
  const some = someRoles(roles);
  return check((request) => checkRole(request.keyward, some, request.rawHeaders));
}

/**
 * Lets those through whose sign-in is recent and strong enough; others sign in again, and come
 * back.
 */
export function requireRecentAuth(recent: RecentAuth): Middleware {
  const some = someRecentAuth(recent);
  return check((request) => checkRecentAuth(request.keyward, some, request.rawHeaders));
}

/**
 * Finds out who is there, for an app that renders its pages on the server: `req.keywardVisit`, and
 * `req.keyward` where somebody is signed in. Sets the cookies, forbids keeping the page, and
 * refuses requests of other origins that would change something.
 */
export function readSession(sessions: Sessions): Middleware {
  return (request, response, next) => {
    if (!sessions.isOwn(sentBy(request))) {
      return answer(response, deny("ORIGIN_NOT_ALLOWED", request.rawHeaders));
    }
    sessions
      .read(browserRequest(request))
      .then((visit) => {
        request.keywardVisit = visit;
        if (visit.visitor.status === "signedIn") request.keyward = visit.visitor.caller;
        // A page that shows whose it is must not be shown to another.
        response.setHeader("Cache-Control", "no-store");
        setCookies(response, visit.setCookies);
        next();
      })
      .catch(next);
  };
}

/**
 * Lets those through who are signed in. Others are sent to the sign-in page, with where they wanted
 * to go in `next`; while nobody can say who is there, the answer is 503, and nobody is signed out
 * over it.
 */
export function requireSignIn(signInPath: string): Middleware {
  return (request, response, next) => {
    const visitor = request.keywardVisit?.visitor;
    if (!visitor) return answer(response, unguarded("requireSignIn", request.rawHeaders));
    if (visitor.status === "signedIn") return next();
    if (visitor.status === "unknown") {
      const { retryAfterSecs } = visitor;
      return answer(response, deny("STORE_UNAVAILABLE", request.rawHeaders, retryAfterSecs));
    }
    const target = new URLSearchParams({ next: request.originalUrl ?? request.url ?? "/" });
    const query = request.method === "GET" ? `?${target}` : "";
    response.writeHead(303, { Location: `${signInPath}${query}` }).end();
  };
}

/** What {@link Sessions} asks of a browser's request. */
export function browserRequest(request: Request): BrowserRequest {
  return {
    cookie: request.headers.cookie,
    address: request.ip ?? request.socket.remoteAddress,
    userAgent: request.headers["user-agent"],
  };
}

/** Adds cookies to an answer. */
export function setCookies(response: ServerResponse, lines: readonly string[]): void {
  for (const line of lines) response.appendHeader("Set-Cookie", line);
}

function sentBy({ method = "GET", headers }: Request) {
  const site = headers["sec-fetch-site"];
  return {
    method,
    origin: headers.origin,
    referer: headers.referer,
    site: typeof site === "string" ? site : undefined,
  };
}

function check(test: (request: Request) => Denial | undefined): Middleware {
  return (request, response, next) => {
    const denial = test(request);
    if (denial) return answer(response, denial);
    next();
  };
}

function answer(response: ServerResponse, { status, headers, body }: Denial): void {
  response.writeHead(status, headers).end(body);
}

declare global {
  namespace Express {
    interface Request {
      /** Who is calling. Behind `authenticate`, or `readSession` and `requireSignIn`. */
      keyward: Caller;
      /** Whether somebody is signed in. Behind `readSession`. */
      keywardVisit: Visit;
    }
  }
}
