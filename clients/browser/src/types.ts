/** A person with an account. Times are RFC 3339 in UTC. */
export interface User {
  readonly id: string;
  readonly email: string;
  readonly name: string | null;
  readonly roles: readonly string[];
  readonly emailVerified: boolean;
  readonly mfaEnabled: boolean;
  readonly createdAt: string;
}

/** One sign-in on one device, while it lives. */
export interface Session {
  readonly id: string;
  /** Whether it is the session that asked. */
  readonly current: boolean;
  readonly createdAt: string;
  readonly lastUsedAt: string;
  readonly expiresAt: string;
  readonly ip: string | null;
  readonly userAgent: string | null;
  /** The device as a person would call it, such as "Firefox on Linux". */
  readonly device: string | null;
  /** How the person proved who they are (RFC 8176). */
  readonly amr: readonly string[];
}

/** A session that was ended in the last 30 days. */
export interface EndedSession extends Session {
  readonly endedAt: string;
  readonly reason: EndReason;
}

/** Why a session is over. The service may learn to say more. */
export type EndReason =
  | "admin"
  | "expired"
  | "logout"
  | "logout_all"
  | "password_changed"
  | "password_reset"
  | "reuse_detected"
  | "store_rollback"
  | "superseded"
  | "too_many"
  | "user_deleted"
  | "user_disabled"
  | (string & {});

/** Who is signed in in this browser, as far as this tab knows. */
export type State =
  | { readonly status: "unknown" }
  | { readonly status: "signed-in"; readonly user: User }
  /** `reason` is there where a session ended, and the service said why. */
  | { readonly status: "signed-out"; readonly reason?: EndReason };

/** A second factor is asked for: show its form, then call `loginMfa` with the token. */
export interface MfaRequired {
  readonly status: "mfa-required";
  readonly mfaToken: string;
  readonly methods: readonly string[];
  /** Seconds until the token is worth nothing. */
  readonly expiresIn: number;
}

/** Whoever called this is signed in now, in every tab. */
export interface SignedIn {
  readonly status: "signed-in";
  readonly user: User;
}

/** Nobody is signed in: the service sent a mail first, and says nothing about the account. */
export interface MailSent {
  readonly status: "mail-sent";
}

/** A time-based code of an authenticator, or one of the recovery codes. */
export type SecondFactor =
  | { readonly mfaToken: string; readonly code: string }
  | { readonly mfaToken: string; readonly recoveryCode: string };

/** Headers that prove who asks, for a request that is made by other means than `fetch`. */
export interface Pass {
  readonly headers: Readonly<Record<string, string>>;
  /** There where cookies carry the proof (cookie delivery). */
  readonly credentials?: "include";
  /** Tells passes apart: higher ones come from later sign-ins and refreshes. */
  readonly turn: number;
  /** Whose request it is for, by id, where somebody was signed in as that began. */
  readonly user?: string | undefined;
}

/** The request that a pass is for. */
export interface PassFor {
  readonly url: string | URL;
  /** Uppercase; `GET` where it is left out. */
  readonly method?: string | undefined;
  readonly signal?: AbortSignal | null | undefined;
  /** A pass that was refused with 401: another one is wanted. */
  readonly refused?: Pass;
  /** Whose request it is, by id: whoever is signed in now, where it is left out. */
  readonly user?: string | undefined;
}

/** How a client is made. */
export interface ClientOptions {
  /** Where the service is, such as `https://auth.example.org/api/auth`. */
  readonly baseUrl: string | URL;
  /** Who is signed in, where the server that rendered the page knows: `null` is nobody. */
  readonly initial?: { readonly user: User | null };
  /** Origins that may be sent the access token, besides the page's own and the service's. */
  readonly origins?: readonly string[];
  /** The name of the CSRF cookie without its prefix, where the service has another one. */
  readonly csrfCookie?: string;
  /** Milliseconds for each request of the service, not for the turns of other tabs: 20 000. */
  readonly timeout?: number;
  /** Used in place of the browser's own. */
  readonly fetch?: typeof globalThis.fetch;
}
