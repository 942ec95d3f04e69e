import { type Entry, type Ledger, openLedger } from "./ledger.ts";
import { type Lock, openLock, randomKey } from "./lock.ts";
import { bounded } from "./wire.ts";

/** A request that may set or clear cookies: no other one is on its way in this browser. */
export interface Turn {
  /** Counts up in all tabs together. */
  readonly number: number;
  /** Aborts the request: one that is given up must not touch the cookies later. */
  readonly signal: AbortSignal;
}

/** The turn of a refresh. */
export interface RefreshTurn extends Turn {
  /** On the disk already: whoever comes next presents the same token with it. */
  readonly key: string;
  /** Somebody signed out, and that is to be done first. */
  readonly leaving: boolean | undefined;
}

/** One turn after the other, in all tabs together. */
export class Turns {
  readonly #ledger: Ledger;
  readonly #lock: Lock;
  readonly #timeoutMs: number;
  readonly #latest: () => number;

  /** `latest` is the highest turn that this tab knows of, so that no number is used twice. */
  constructor(name: string, timeoutMs: number, latest: () => number) {
    this.#ledger = openLedger(name);
    this.#lock = openLock(name, this.#ledger, timeoutMs);
    this.#timeoutMs = timeoutMs;
    this.#latest = latest;
  }

  /** Runs work while no other tab runs any, and gives it up when its time is over. */
  alone<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#lock((controller) => bounded(this.#timeoutMs, work, controller));
  }

  /** Runs a request that is no refresh. `leaving` notes the wish to sign out. */
  take<T>(request: (turn: Turn) => Promise<T>, leaving = false): Promise<T> {
    return this.alone(async (signal) => {
      const number = await this.#ledger((entry) => {
        if (leaving) entry.leaving = true;
        return this.#next(entry);
      });
      return request({ number, signal });
    });
  }

  /**
   * The turn of a refresh, with the key that waits for an answer, or else a fresh one. There is no
   * turn where another tab was answered meanwhile and its news is worth waiting for.
   */
  async beginRefresh(signal: AbortSignal, isPatient: boolean): Promise<RefreshTurn | undefined> {
    const fresh = randomKey();
    // What comes in while the ledger is read is news, too.
    const heard = this.#latest();
    return this.#ledger((entry) => {
      // A page that was just loaded was not there to hear any.
      if (isPatient && heard && (entry.answered ?? 0) > heard) return undefined;
      entry.key ??= fresh;
      return { number: this.#next(entry), signal, key: entry.key, leaving: entry.leaving };
    });
  }

  /** The request was answered: its key is forgotten, unless a later one used it too. */
  settle({ number }: Turn): Promise<void> {
    return this.#ledger((entry) => {
      if (entry.turn !== number) return;
      entry.answered = number;
      delete entry.key;
      delete entry.leaving;
    });
  }

  #next(entry: Entry): number {
    entry.turn = Math.max(entry.turn, this.#latest()) + 1;
    return entry.turn;
  }
}
