import { hasCode } from "./error.ts";
import { bounded, until } from "./wire.ts";

/**
 * What the tabs of a browser agree upon, on the disk. It holds no token: a key is worth nothing to
 * whoever has not also the refresh token that it was sent with.
 */
export interface Entry {
  /** Counts the requests that may touch cookies: each has its turn. */
  turn: number;
  /** The latest one that was answered: its tab tells the others. */
  answered?: number;
  /** The Idempotency-Key of a refresh that has not been answered yet. */
  key?: string;
  /** Somebody signed out and the service does not know yet: it is told before all else. */
  leaving?: boolean;
  /** Whose turn it is, from when until when (Unix milliseconds), without locks of the browser. */
  lease?: { readonly holder: string; readonly from: number; readonly until: number };
}

/**
 * Changes the entry in one transaction; it is on the disk when the promise resolves. An edit that
 * `isVital` rejects where that takes too long, though it may be stored: made by memory, it would
 * miss the lease or the key of another tab.
 */
export type Ledger = <T>(edit: (entry: Entry) => T, isVital?: boolean) => Promise<T>;

/**
 * Opens the ledger of a service. Where nothing can be stored, since it is forbidden or the disk is
 * full, the tab goes on by itself from what it knew last: the key is then lost with the tab. `tab`
 * has the highest turn that it has heard of.
 */
export function openLedger(name: string, tab: { readonly turn: number }): Ledger {
  let known: Entry = { turn: 0 };
  // While what is known could not be stored: what is there up to this turn is older.
  let turn: number | undefined;
  let database: Promise<IDBDatabase> | undefined;
  // Some browsers have been seen to open a database never: there two vital edits reject.
  let rejections = 2;
  const forget = () => {
    database = undefined;
  };
  return async <T>(edit: (entry: Entry) => T, isVital?: boolean) => {
    let done: [T] | undefined;
    // Counts once, though it may turn out later that there was no room to store it.
    const edited = (stored?: Entry) => {
      // What was not stored is newer than what is, unless another tab has had a turn since: one
      // that this tab has not heard of. Turns that only this one knows of do not hide it.
      if (stored ? stored.turn > (turn ?? 0) : tab.turn > known.turn) {
        // A page that could not read before keeps its key, unless one waits there.
        if (stored && turn === 0) stored.key ??= known.key as string;
        // Whoever told of its turn has settled it.
        known = stored ?? { turn: tab.turn, answered: tab.turn };
        turn = known.turn;
        done = undefined;
      }
      turn ??= known.turn;
      done ??= [edit(known)];
      return known;
    };
    // The second time with a connection of its own.
    for (let tries = 2; tries; tries--) {
      try {
        database ??= open(name, forget).then((opened) => {
          rejections = Infinity;
          return opened;
        });
        const opened = database;
        await bounded(5_000, (signal) => until(change(opened, edited, signal), signal));
        turn = undefined;
        break;
      } catch (error) {
        // Connections get lost, and that says nothing of the disk.
        forget();
        // It may be stored all the same, or may be yet: a second time could undo what came after.
        if (hasCode(error, "TIMEOUT")) {
          if (isVital && rejections-- > 0) throw error;
          if (done) turn = known.turn;
          break;
        }
      }
    }
    if (!done) edited();
    return (done as unknown as [T])[0];
  };
}

function open(name: string, onClosed: () => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onerror = reject;
    request.onsuccess = () => {
      const database = request.result;
      database.onclose = onClosed;
      // Another tab wants to delete the data of the site: this one does not stand in its way.
      database.onversionchange = () => {
        database.close();
        onClosed();
      };
      resolve(database);
    };
  });
}

async function change(
  opened: Promise<IDBDatabase>,
  edited: (stored?: Entry) => Entry,
  signal: AbortSignal,
): Promise<unknown> {
  const database = await opened;
  return new Promise((resolve, reject) => {
    // Strict: the key must outlive a crash of the machine as the request that it goes with does.
    const transaction = database.transaction(STORE, "readwrite", { durability: "strict" });
    const store = transaction.objectStore(STORE);
    // There is one entry.
    const found = store.get(0);
    // Whoever waited has gone on by now without it.
    found.onsuccess = () => signal.aborted || store.put(edited(found.result), 0);
    transaction.oncomplete = resolve;
    transaction.onabort = reject;
  });
}

const STORE = "ledger";
