import { isId } from "../claims.ts";
import type { Revocation, Revocations } from "../revocations.ts";
import { readStrictObject } from "../strict-json.ts";
import { EventStream, Garbled, type StreamEvent } from "./event-stream.ts";

/**
 * What the issuing service's feed says, across its connections. No I/O.
 *
 * A connection begins with the live set, or with what came after a cursor; then it says `synced`,
 * and only from there on does its word count as current. A cursor is kept only from there on too:
 * one from the middle of a live set might stand for the end of it.
 *
 * Comments such as `beat 1763700000000` carry the service's time, in milliseconds. A word counts
 * from when it was spoken, so that bytes which are held back on the way make a verifier stale and
 * not late unknowingly. No clocks need to agree for that: the first time of a connection was read
 * after the connection was asked for, and so was spoken no earlier than that; what comes after it
 * is measured from there. That places a word too early by what the first one took, never too late.
 */
export class Feed {
  #cursor: string | undefined;

  /**
   * Where to go on: the `Last-Event-ID` of the next connection. `undefined` asks for the live set.
   */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  /** Asks for the live set next time: what was read, or the cursor itself, cannot be trusted. */
  beginAnew(): void {
    this.#cursor = undefined;
  }

  /** A connection that was just made, and asked for at this time. */
  connect(revocations: Revocations, askedAt: number): Connected {
    return new Connected(revocations, new Spoken(askedAt), (cursor) => {
      this.#cursor = cursor;
    });
  }
}

/** One connection to the feed. */
export class Connected {
  readonly #stream = new EventStream();
  readonly #revocations: Revocations;
  readonly #spoken: Spoken;
  readonly #keepCursor: (cursor: string | undefined) => void;
  #lastId: string | undefined;
  #isSynced = false;

  constructor(
    revocations: Revocations,
    spoken: Spoken,
    keepCursor: (cursor: string | undefined) => void,
  ) {
    this.#revocations = revocations;
    this.#spoken = spoken;
    this.#keepCursor = keepCursor;
  }

  /** Whether everything that was revoked before is known. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /**
   * Takes in what arrived.
   *
   * @throws {Garbled} and then nothing more of the connection is to be read.
   */
  read(piece: Uint8Array, now = Date.now()): void {
    for (const item of this.#stream.read(piece)) {
      if ("comment" in item) {
        this.#spoken.takeIn(item.comment, now);
      } else {
        this.#takeIn(item, now);
        if (CURSOR.test(item.id)) this.#lastId = item.id;
      }
      if (this.#isSynced) {
        this.#keepCursor(this.#lastId);
        this.#revocations.hear(this.#spoken.at(now));
      }
    }
  }

  /**
   * What is not understood may be a revocation, which must not be missed: nothing after it counts.
   */
  #takeIn(event: StreamEvent, now: number): void {
    if (event.name === "synced") {
      this.#isSynced = true;
    } else if (event.name === "revoked") {
      const revocation = readRevocation(event.data);
      if (!revocation) throw new Garbled("an event of the feed is not understood");
      if (!this.#revocations.takeIn(revocation, now)) {
        throw new Garbled("the feed has more revocations than revocationsMax");
      }
    } else if (event.name !== "" || event.data !== "") {
      throw new Garbled("an event of the feed is not understood");
    }
  }
}

/** When the service spoke, as its own times tell; all in milliseconds. */
class Spoken {
  readonly #askedAt: number;
  /**
   * What is to be added to the service's times. Only becomes less: no word comes before it was
   * spoken, so one that would shows that a clock was set, or runs faster.
   */
  #ahead: number | undefined;
  /** The last time, by the clock of this machine. */
  #last: number | undefined;

  constructor(askedAt: number) {
    this.#askedAt = askedAt;
  }

  takeIn(comment: string, now: number): void {
    const written = BEAT.exec(comment)?.[1];
    if (written === undefined) return;
    const time = Number(written);
    this.#ahead = Math.min(this.#ahead ?? this.#askedAt - time, now - time);
    this.#last = time + this.#ahead;
  }

  /**
   * When what arrives now was spoken: no earlier than the last time. A service that tells no times
   * is taken to be near.
   */
  at(now: number): number {
    return this.#last ?? now;
  }
}

function readRevocation(data: string): Revocation | undefined {
  const object = readStrictObject(Buffer.from(data));
  const exp = object?.wholeNumbers.get("exp");
  if (!object || exp === undefined) return undefined;
  const { sid = null, sub = null, revokedAt: written = null } = object.members;
  // Without its time it speaks of every token that can be presented before `exp`.
  const revokedAt = written === null ? exp : object.wholeNumbers.get("revokedAt");
  if (revokedAt === undefined) return undefined;
  if (isId(sid) && sub === null) return { sid, exp };
  return isId(sub) && sid === null ? { sub, exp, revokedAt } : undefined;
}

/** A time until which a double is exact. */
const BEAT = /^beat (\d{1,15})$/;

/** What may be sent back as a header. */
const CURSOR = /^[!-~]{1,256}$/;
