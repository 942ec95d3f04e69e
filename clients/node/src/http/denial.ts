import { randomBytes } from "node:crypto";

import { headerValues } from "./request-headers.ts";

/** Why a request is not let through, as the issuing service calls it. */
export type DenialCode = keyof typeof DENIALS;

/**
 * An answer to a request that is not let through; it has the form of every error of the service.
 */
export interface Denial {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body: string;
}

/** The denial of a request with these raw headers. */
export function deny(code: DenialCode, rawHeaders: readonly string[], retryAfter?: number): Denial {
  const { status, error, challenge, retryAfterSecs, fields } = form(code);
  const requestId = givenId(rawHeaders) ?? randomBytes(16).toString("base64url");
  const wait = retryAfter ?? retryAfterSecs;
  const headers = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Request-Id": requestId,
    ...(challenge && { "WWW-Authenticate": challenge }),
    ...(wait && { "Retry-After": String(wait) }),
  };
  const body = {
    error,
    code,
    requestId,
    ...(fields && { fields }),
    ...(wait && { retryAfter: wait }),
  };
  return { status, headers, body: JSON.stringify(body) };
}

interface Form {
  readonly status: number;
  /** One sentence for a person. */
  readonly error: string;
  /** RFC 6750, section 3: a request without any token learns no error code. */
  readonly challenge?: string;
  readonly retryAfterSecs?: number;
  readonly fields?: Readonly<Record<string, string>>;
}

/** With the type that all entries share. */
function form(code: DenialCode): Form {
  return DENIALS[code];
}

const CHALLENGE = 'Bearer error="invalid_token"';

const DENIALS = {
  INVALID_REQUEST: {
    status: 400,
    error: "The request is not valid.",
    fields: { Authorization: "Send this header once." },
  },
  NO_TOKEN: {
    status: 401,
    error: "The request carries no access token.",
    challenge: "Bearer",
  },
  TOKEN_EXPIRED: {
    status: 401,
    error: "The access token has expired.",
    challenge: CHALLENGE,
  },
  INVALID_TOKEN: {
    status: 401,
    error: "The access token or service key is not valid.",
    challenge: CHALLENGE,
  },
  TOKEN_REVOKED: {
    status: 401,
    error: "The session of the access token has ended.",
    challenge: CHALLENGE,
  },
  INSUFFICIENT_PERMISSIONS: {
    status: 403,
    error: "You may not do this.",
    challenge: 'Bearer error="insufficient_scope"',
  },
  ORIGIN_NOT_ALLOWED: {
    status: 403,
    error: "Requests from this page's origin are not allowed.",
  },
  REAUTHENTICATION_REQUIRED: {
    status: 403,
    error: "Sign in again to do this.",
  },
  INTERNAL: {
    status: 500,
    error: "Something went wrong on our side.",
  },
  STORE_UNAVAILABLE: {
    status: 503,
    error: "The service cannot answer right now; try again soon.",
    // Reconnecting takes no longer, unless the service is down.
    retryAfterSecs: 2,
  },
} as const satisfies Record<string, Form>;

/** The id that the request has already, if it is a plain one. */
function givenId(rawHeaders: readonly string[]): string | undefined {
  const [text = ""] = headerValues(rawHeaders, "x-request-id");
  return /^[A-Za-z0-9._-]{1,64}$/.test(text) ? text : undefined;
}
