import type { Claims } from "./claims.ts";
import { refuse, type Verdict } from "./refusal.ts";

/** One word of the issuing service: a session, or a user. Times are Unix seconds, as in tokens. */
export type Revocation =
  | { readonly sid: string; readonly exp: number }
  /**
   * No token is accepted any more that was issued before `revokedAt`, or had expired by then.
   * Sessions that were live are told of one by one, so that whoever signs in again within the same
   * second is not refused.
   */
  | { readonly sub: string; readonly exp: number; readonly revokedAt: number };

/**
 * Every revocation that still matters, and when the issuing service was last heard.
 *
 * An entry leaves when the last token that it speaks of has expired. That is judged by the clock of
 * this machine, which may be set back after an entry has left; so the expiry of the latest entry
 * that left is remembered, and what expires no later is expired, whatever the clock says.
 */
export class Revocations {
  readonly #entriesMax: number;
  readonly #leewaySecs: number;
  /** Until when. */
  readonly #sessions = new Map<string, number>();
  /** Until when, and when they were revoked. */
  readonly #users = new Map<string, { exp: number; revokedAt: number }>();
  #walk: Iterator<[string, number]> = this.#sessions.entries();
  #usersSweptAt = 0;
  #heardAt: number | undefined;
  #leftUntil = Number.NEGATIVE_INFINITY;

  constructor(entriesMax: number, leewaySecs: number) {
    this.#entriesMax = entriesMax;
    this.#leewaySecs = leewaySecs;
  }

  /**
   * Takes in a revocation; the same one again changes nothing. It counts at once, and leaves by
   * itself.
   *
   * @returns false where there is no room: it was not taken in, so do not call `hear` from here on.
   */
  takeIn(revocation: Revocation, now = Date.now()): boolean {
    this.#sweep(now, SWEPT_AT_ONCE);
    const isKnown =
      "sid" in revocation ? this.#sessions.has(revocation.sid) : this.#users.has(revocation.sub);
    if (!isKnown && this.size >= this.#entriesMax) return false;
    if ("sid" in revocation) {
      const { sid, exp } = revocation;
      this.#sessions.set(sid, Math.max(exp, this.#sessions.get(sid) ?? exp));
    } else {
      const held = this.#users.get(revocation.sub) ?? revocation;
      this.#users.set(revocation.sub, {
        exp: Math.max(revocation.exp, held.exp),
        revokedAt: Math.max(revocation.revokedAt, held.revokedAt),
      });
    }
    return true;
  }

  /**
   * Notes that everything revoked until now was taken in: the service said so, and is current
   * itself.
   */
  hear(now = Date.now()): void {
    this.#heardAt = now;
    this.#sweep(now, Math.max(SWEPT_AT_ONCE, this.#sessions.size / 64));
  }

  /** For how long the service has been silent; a clock that was set back makes this longer. */
  stalenessMs(now = Date.now()): number | undefined {
    return this.#heardAt === undefined ? undefined : Math.abs(now - this.#heardAt);
  }

  /** How many entries are held. */
  get size(): number {
    return this.#sessions.size + this.#users.size;
  }

  /** Judges a token that is good in all else. */
  judge(claims: Claims): Verdict {
    if (this.#sessions.has(claims.sid)) return refuse("TOKEN_REVOKED");
    const { revokedAt } = this.#users.get(claims.sub) ?? {};
    // A session that had timed out is told of by nobody, and the leeway would let its last token
    // live on.
    if (revokedAt !== undefined && (claims.iat < revokedAt || claims.exp <= revokedAt)) {
      return refuse("TOKEN_REVOKED");
    }
    return claims.exp <= this.#leftUntil ? refuse("TOKEN_EXPIRED") : { claims };
  }

  /** Looks at a few of the sessions each time, so that no request waits for all of them. */
  #sweep(nowMs: number, entries: number): void {
    const now = Math.floor(nowMs / 1000);
    for (let seen = 0; seen < entries; seen += 1) {
      const next = this.#walk.next();
      if (next.done) {
        this.#walk = this.#sessions.entries();
        break;
      }
      const [sid, exp] = next.value;
      if (this.#leaves(exp, now)) this.#sessions.delete(sid);
    }
    if (Math.abs(now - this.#usersSweptAt) < USERS_SWEPT_EVERY_SECS) return;
    this.#usersSweptAt = now;
    for (const [sub, { exp }] of this.#users) {
      if (this.#leaves(exp, now)) this.#users.delete(sub);
    }
  }

  #leaves(exp: number, now: number): boolean {
    const leaves = now >= exp + this.#leewaySecs;
    if (leaves) this.#leftUntil = Math.max(this.#leftUntil, exp);
    return leaves;
  }
}

/**
 * More than one for each that is taken in, so that what has expired leaves faster than news comes.
 */
const SWEPT_AT_ONCE = 16;

const USERS_SWEPT_EVERY_SECS = 30;
