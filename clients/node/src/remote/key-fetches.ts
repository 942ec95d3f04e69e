import { JWK_SET_BYTES_MAX } from "../jwk.ts";
import type { Keys } from "../keys.ts";
import { ask } from "./exchange.ts";
import { Pause, sleep, spread } from "./pause.ts";
import type { Source } from "./source.ts";

/** What a search for a key came to; `unknown` where nobody can say at this moment. */
export type Lookup = "known" | "missing" | "unknown";

/**
 * Keeps the published keys fresh, and fetches them once more for tokens of keys that are not known.
 */
export class KeyFetches {
  readonly #source: Source;
  readonly #keys: Keys;
  readonly #signal: AbortSignal;
  /** The fetch that has not begun yet, which everybody who asks now waits for. */
  #next: Promise<boolean> | undefined;
  #current: Promise<boolean> = Promise.resolve(false);
  #mayBeginAt = 0;
  #maxAgeMs = 0;
  #waiting = 0;
  /** Keys that were looked for and are not there, since when. */
  readonly #missing = new Map<string, number>();
  trouble: string | undefined;

  constructor(source: Source, keys: Keys, signal: AbortSignal) {
    this.#source = source;
    this.#keys = keys;
    this.#signal = signal;
  }

  /** Fetches as often as the service says, until the signal. */
  async run(): Promise<void> {
    const pause = new Pause();
    while (!this.#signal.aborted) {
      const began = performance.now();
      const succeeded = await this.#fetchOnce();
      if (succeeded) pause.reset();
      const wait = succeeded ? spread(this.#maxAgeMs) : pause.next();
      await sleep(wait - (performance.now() - began), this.#signal);
    }
  }

  /**
   * Waits until the key is known, or a fetch that began after this call has not brought it. Such a
   * fetch knows every key that a token which is already here can have been signed with.
   */
  async lookFor(kid: string, isKnown: () => boolean): Promise<Lookup> {
    const missingSince = this.#missing.get(kid);
    if (missingSince !== undefined && performance.now() - missingSince < MISSING_FOR_MS) {
      return "missing";
    }
    if (this.#waiting >= WAITING_MAX || this.#signal.aborted) return "unknown";
    this.#waiting += 1;
    const succeeded = await this.#fetchOnce();
    this.#waiting -= 1;
    if (isKnown()) return "known";
    if (!succeeded) return "unknown";
    this.#noteMissing(kid);
    return "missing";
  }

  #fetchOnce(): Promise<boolean> {
    this.#next ??= this.#begin();
    return this.#next;
  }

  async #begin(): Promise<boolean> {
    await this.#current;
    const wait = this.#mayBeginAt - performance.now();
    if (wait > 0) await sleep(wait, this.#signal);
    // Whoever comes from here on waits for another one.
    this.#next = undefined;
    this.#mayBeginAt = performance.now() + this.#source.coolDownMs;
    this.#current = this.#fetch();
    return this.#current;
  }

  async #fetch(): Promise<boolean> {
    try {
      // As of before the request: what the answer leaves out may be dropped since.
      const fetchedAt = Date.now();
      const question = { path: this.#source.keysPath };
      const answer = await ask(this.#source, question, JWK_SET_BYTES_MAX, this.#signal);
      if (answer.status !== 200) throw new Error(`the service answered ${answer.status}`);
      if (!this.#keys.takeUp(answer.body, fetchedAt)) {
        throw new Error("the answer is no set of fitting keys");
      }
      this.#maxAgeMs = maxAgeMs(answer.headers["cache-control"]);
      this.trouble = undefined;
      return true;
    } catch (error) {
      this.trouble = error instanceof Error ? error.message : String(error);
      return false;
    }
  }

  #noteMissing(kid: string): void {
    const now = performance.now();
    for (const [known, since] of this.#missing) {
      if (now - since >= MISSING_FOR_MS) this.#missing.delete(known);
    }
    // Past the bound the cool-down alone protects the service.
    if (this.#missing.size < MISSING_MAX) this.#missing.set(kid, now);
  }
}

/**
 * What `Cache-Control` allows, within bounds: a removed key must not be trusted for much longer
 * than the service thinks.
 */
function maxAgeMs(cacheControl: string | undefined): number {
  const secs = /(?:^|,)\s*max-age=(\d+)\s*(?:,|$)/.exec(cacheControl ?? "")?.[1];
  const ms = secs === undefined ? KEYS_AGE_MAX_MS : Number(secs) * 1000;
  return Math.min(Math.max(ms, KEYS_AGE_MIN_MS), KEYS_AGE_MAX_MS);
}

/** How many requests may wait for keys at a time. */
const WAITING_MAX = 1024;

/**
 * How many missing keys are remembered, and for how long. Another node of the service may publish a
 * key a moment later than the one that signs with it.
 */
const MISSING_MAX = 256;
const MISSING_FOR_MS = 10_000;

const KEYS_AGE_MIN_MS = 5_000;
const KEYS_AGE_MAX_MS = 300_000;
