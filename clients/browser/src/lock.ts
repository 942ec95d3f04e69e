import { sleep } from "./clock.ts";
import type { Entry, Ledger } from "./ledger.ts";

/** Runs work while no other tab runs any. */
export type Lock = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * The lock of all tabs of this origin: the browser's own, or else a lease in the ledger, longer
 * than the work may take, so that it ends by itself where the tab that held it is gone.
 */
export function openLock(name: string, ledger: Ledger, workMaxMs: number): Lock {
  const locks = globalThis.navigator?.locks;
  if (locks) return async (work) => await locks.request(name, work);
  return leasing(ledger, workMaxMs + LEASE_SPARE_MS);
}

function leasing(ledger: Ledger, leaseMs: number): Lock {
  return async (work) => {
    const holder = randomKey();
    while (!(await ledger((entry) => take(entry, holder, leaseMs)))) {
      await sleep(POLL_MS * (1 + Math.random()));
    }
    try {
      return await work();
    } finally {
      await ledger((entry) => {
        if (entry.lease?.holder === holder) delete entry.lease;
      });
    }
  };
}

function take(entry: Entry, holder: string, leaseMs: number): boolean {
  const left = (entry.lease?.until ?? 0) - Date.now();
  // One that ends later than any can is from before the clock was set back.
  if (left > 0 && left <= leaseMs) return false;
  entry.lease = { holder, until: Date.now() + leaseMs };
  return true;
}

/** 128 random bits. It needs no secure context, as `crypto.randomUUID` does. */
export function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const LEASE_SPARE_MS = 15_000;
const POLL_MS = 40;
