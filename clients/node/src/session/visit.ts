import type { Caller } from "../http/caller.ts";

/** One request of a browser to the app. */
export interface BrowserRequest {
  /** The `Cookie` header. */
  readonly cookie: string | undefined;
  /** The browser's address, as far as the app's own proxies can be believed. */
  readonly address: string | undefined;
  readonly userAgent: string | undefined;
}

/** Whether somebody is signed in, as far as can be known at this moment. */
export type Visitor = SignedIn | SignedOut | Unknown;

/** Somebody is. */
export interface SignedIn {
  readonly status: "signedIn";
  readonly caller: Caller;
}

/** Nobody is. */
export interface SignedOut {
  readonly status: "signedOut";
  /** Why not any more, such as `SESSION_EXPIRED`; `undefined` where nobody had signed in. */
  readonly code: string | undefined;
  /** With `SESSION_REVOKED`: by whom or what it was ended, such as `password_changed`. */
  readonly reason: string | undefined;
}

/**
 * Nobody can say: the service is out of reach or asks for patience. Whoever was signed in still is.
 */
export interface Unknown {
  readonly status: "unknown";
  readonly code: string;
  readonly retryAfterSecs: number;
}

/** What a request came to. */
export interface Visit {
  readonly visitor: Visitor;
  /** The `Set-Cookie` lines that must go with the answer, whatever else is in it. */
  readonly setCookies: readonly string[];
  /** For requests to the service in the user's name, from here and never from a browser. */
  readonly accessToken: string | undefined;
}

/** Somebody is signed out. */
export function signedOut(code?: string, reason?: string): SignedOut {
  return { status: "signedOut", code, reason };
}

/** Nobody can say. */
export function unknown(code: string, retryAfterSecs = 2): Unknown {
  return { status: "unknown", code, retryAfterSecs };
}
