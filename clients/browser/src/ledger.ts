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
  /** Somebody signed out and the service does not know yet. */
  leaving?: boolean;
  /** Whose turn it is and until when (Unix milliseconds), where the browser has no locks. */
  lease?: { readonly holder: string; readonly until: number };
}

/** Changes the entry in one transaction; it is on the disk when the promise resolves. */
export type Ledger = <T>(edit: (entry: Entry) => T) => Promise<T>;

/**
 * Opens the ledger of a service. Where the browser refuses to store anything, or does not answer,
 * the tab goes on by itself from what it knew last: the key is then lost with the tab.
 */
export function openLedger(name: string): Ledger {
  let known: Entry = { turn: 0 };
  let database: Promise<IDBDatabase> | undefined;
  const forget = () => {
    database = undefined;
  };
  return async (edit) => {
    try {
      database ??= open(name, forget);
      const noted = (entry: Entry) => {
        // Known from here on, even where the disk is full and this is not stored.
        known = entry;
        return edit(entry);
      };
      return await inTime(change(await inTime(database), noted));
    } catch {
      forget();
      return edit(known);
    }
  };
}

function open(name: string, onClosed: () => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onerror = () => reject(request.error);
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

function change<T>(database: IDBDatabase, edit: (entry: Entry) => T): Promise<T> {
  return new Promise((resolve, reject) => {
    // Strict: the key must outlive a crash of the machine as the request that it goes with does.
    const transaction = database.transaction(STORE, "readwrite", { durability: "strict" });
    const store = transaction.objectStore(STORE);
    const found = store.get(ENTRY);
    found.onsuccess = () => {
      const entry: Entry = found.result ?? { turn: 0 };
      const result = edit(entry);
      store.put(entry, ENTRY);
      transaction.oncomplete = () => resolve(result);
    };
    transaction.onabort = () => reject(transaction.error);
  });
}

function inTime<T>(promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(reject, ANSWER_MAX_MS);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

const STORE = "ledger";
const ENTRY = 0;

/** Some browsers have been seen to open a database never. */
const ANSWER_MAX_MS = 5_000;
