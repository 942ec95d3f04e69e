import { type Entry, type Ledger, openLedger } from "./ledger.ts";
import { type Lock, openLock, randomKey } from "./lock.ts";

/** A request that may set or clear cookies: no other one is on its way in this browser. */
export interface Turn extends Entry {
  /** Aborts the request: one that is given up must not touch the cookies later. */
  readonly signal: AbortSignal;
}

/** The turn of a refresh. */
export interface RefreshTurn extends Turn {
  /** On the disk already: whoever comes next presents the same token with it. */
  readonly key: string;
}

/** One turn after the other, in all tabs together. */
export class Turns {
  /** Runs work that no other turn comes in between. */
  readonly alone: Lock;
  readonly #ledger: Ledger;
  readonly #tab: { readonly turn: number };

  /** `tab` has the highest turn that it knows of, so that no number is used twice. */
  constructor(name: string, timeoutMs: number, tab: { readonly turn: number }) {
    this.#ledger = openLedger(name, tab);
    this.alone = openLock(name, this.#ledger, timeoutMs);
    this.#tab = tab;
  }

  /** Runs a request that is no refresh. For `wish`, see `begin`. */
  take<T>(request: (turn: Turn) => Promise<T>, wish = -1): Promise<T> {
    return this.alone(async (signal) => request(await this.begin(wish, signal)));
  }

  /**
   * The next turn, which notes the wish to sign out and waits for nobody: whoever comes next tells
   * the service. That of the turn `wish` is noted once more where no later one was answered: it may
   * not have been stored.
   */
  begin(wish = Infinity, signal?: AbortSignal): Promise<Turn> {
    return this.#ledger((entry) => {
      if ((entry.answered ?? 0) <= wish) entry.leaving = true;
      return this.#next(entry, signal);
    });
  }

  /**
   * The turn of a refresh, with the key that waits for an answer, or else a fresh one. There is no
   * turn where another tab was answered meanwhile and its news is worth waiting for.
   */
  beginRefresh(signal: AbortSignal, isPatient: boolean): Promise<RefreshTurn | undefined> {
    const fresh = randomKey();
    // What comes in while the ledger is read is news, too.
    const heard = this.#tab.turn;
    return this.#ledger((entry) => {
      // A page that was just loaded was not there to hear any.
      if (isPatient && heard && (entry.answered ?? 0) > heard) return undefined;
      entry.key ??= fresh;
      return this.#next(entry, signal) as RefreshTurn;
    }, true);
  }

  /**
   * The request was answered: its key is forgotten, unless a later one used it too, and so are the
   * earlier wishes to sign out. A refresh `keepsWish`: it may not have been able to read that one.
   */
  settle({ turn }: Turn, keepsWish?: boolean): Promise<void> {
    return this.#ledger((entry) => {
      if (entry.turn > turn) return;
      entry.answered = turn;
      delete entry.key;
      if (!keepsWish) delete entry.leaving;
    });
  }

  #next(entry: Entry, signal?: AbortSignal): Turn {
    // The time is past every turn of a ledger that was deleted, and of those that a slow disk
    // keeps from this tab: a wish to sign out comes after all that was begun before it. Where the
    // clock was set back in between, tabs miss the news until they have a turn themselves. The
    // fraction is this tab's: several that cannot read the ledger may begin at once.
    entry.turn = Math.max(entry.turn, this.#tab.turn, Date.now()) + 1 + Math.random();
    return { ...entry, signal } as Turn;
  }
}
