import type { Claims } from "../claims.ts";

/** How recent and how strong a sign-in must be for a sensitive act. */
export interface RecentAuth {
  /** The longest that the sign-in may be ago, by the claim `auth_time`. */
  readonly maxAgeSecs: number;
  /** What it must have been done with, all of them, by the claim `amr` (RFC 8176). */
  readonly amr?: readonly string[];
}

/** Who is calling, by a token that was verified. */
export class Caller {
  /** What the token says. */
  readonly claims: Claims;

  constructor(claims: Claims) {
    this.claims = claims;
  }

  /** The user's id. */
  get userId(): string {
    return this.claims.sub;
  }

  /** The id of the session. */
  get sessionId(): string {
    return this.claims.sid;
  }

  /** Whether the user had this role when the token was issued, a token's life ago at most. */
  hasRole(role: string): boolean {
    return this.claims.roles.includes(role);
  }

  /** Whether the user has signed in so recently, in each of these ways. A refresh is no sign-in. */
  hasSignedIn({ maxAgeSecs, amr = [] }: RecentAuth, now = Date.now()): boolean {
    const age = Math.floor(now / 1000) - this.claims.auth_time;
    return age <= maxAgeSecs && amr.every((way) => this.claims.amr.includes(way));
  }
}
