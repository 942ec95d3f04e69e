import type { EndReason } from "./types.ts";

/** What the service answers, and what happens on the way to it. New codes may be added. */
export type ErrorCode =
  | "ACCOUNT_DISABLED"
  | "CONFLICT"
  | "CSRF_FAILED"
  | "EMAIL_NOT_VERIFIED"
  | "EMAIL_TAKEN"
  | "INSUFFICIENT_PERMISSIONS"
  | "INTERNAL"
  | "INVALID_CREDENTIALS"
  | "INVALID_MFA_CODE"
  | "INVALID_MFA_TOKEN"
  | "INVALID_REFRESH_TOKEN"
  | "INVALID_REQUEST"
  | "INVALID_TOKEN"
  | "METHOD_NOT_ALLOWED"
  | "NO_REFRESH_TOKEN"
  | "NO_TOKEN"
  | "NOT_FOUND"
  | "ORIGIN_NOT_ALLOWED"
  | "OVERLOADED"
  | "PAYLOAD_TOO_LARGE"
  | "RATE_LIMITED"
  | "REAUTHENTICATION_REQUIRED"
  | "REFRESH_RACE"
  | "REFRESH_TOKEN_REUSED"
  | "SESSION_EXPIRED"
  | "SESSION_REVOKED"
  | "STORE_UNAVAILABLE"
  | "TOKEN_EXPIRED"
  | "TOKEN_REVOKED"
  | "UNSUPPORTED_MEDIA_TYPE"
  /** No answer came: offline, a name that does not resolve, or an origin that is not allowed. */
  | "NETWORK"
  /** No answer came in time, another tab did not end its turn, or the disk is too slow. */
  | "TIMEOUT"
  /** Something answered that is not the service, such as a proxy or a login page of a network. */
  | "UNEXPECTED_ANSWER"
  | (string & {});

/** What an error says besides its code. */
export interface ErrorDetails {
  readonly message?: string;
  readonly status?: number;
  readonly fields?: Readonly<Record<string, string>>;
  readonly retryAfter?: number;
  readonly reason?: EndReason;
  readonly requestId?: string;
  readonly cause?: unknown;
}

/** Every failure of a call of the service. None of them holds a token. */
export class KeywardError extends Error {
  override readonly name = "KeywardError";
  /** Stable, for programs; `message` is one sentence for a person. */
  declare readonly code: ErrorCode;
  /** Of the answer; 0 where none came. */
  declare readonly status: number;
  /** What is wrong with which field of the request, by its name. */
  declare readonly fields?: Readonly<Record<string, string>>;
  /** Seconds after which another try is welcome. */
  declare readonly retryAfter?: number;
  /** Why the session is over, where the service said so. */
  declare readonly reason?: EndReason;
  /** Quote it when asking whoever runs the service. */
  declare readonly requestId?: string;

  constructor(code: ErrorCode, details: ErrorDetails = {}) {
    super(details.message ?? code, details);
    Object.assign(this, { status: 0, ...details, code });
  }
}

/** What the service would answer, where that is known without asking. */
export function refusal(code: ErrorCode, message: string, details?: ErrorDetails): KeywardError {
  return new KeywardError(code, { message, status: 401, ...details });
}

/** Whether it is one of the codes' errors. */
export function hasCode(error: unknown, ...codes: readonly ErrorCode[]): error is KeywardError {
  return error instanceof KeywardError && codes.includes(error.code);
}

/** Whether nobody is signed in any more, by the word of the service itself. */
export function isEnd(error: unknown): error is KeywardError {
  return error instanceof KeywardError && error.status === 401 && error.code in END_REASONS;
}

/** Why, for an error that ended a session; the service says it for those that were revoked. */
export function endReason(error: KeywardError): EndReason | undefined {
  return error.reason ?? END_REASONS[error.code];
}

/** Whether nothing was decided, so that another try of the same may succeed. */
export function isTransient(error: unknown): error is KeywardError {
  return (
    error instanceof KeywardError &&
    (!error.status ||
      error.status === 429 ||
      error.status >= 500 ||
      error.code === "UNEXPECTED_ANSWER")
  );
}

const END_REASONS: Readonly<Record<string, EndReason | undefined>> = {
  INVALID_REFRESH_TOKEN: undefined,
  NO_REFRESH_TOKEN: undefined,
  REFRESH_TOKEN_REUSED: "reuse_detected",
  SESSION_EXPIRED: "expired",
  SESSION_REVOKED: undefined,
};
