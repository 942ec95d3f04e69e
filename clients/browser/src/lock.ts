import { sleep } from "./clock.ts";
import type { Entry, Ledger } from "./ledger.ts";
import { bounded } from "./wire.ts";

/** Runs work while no other tab runs any, and gives it up when its time is over. */
export type Lock = <T>(work: (signal: AbortSignal) => Promise<T>) => Promise<T>;

/**
 * The lock of all tabs of this origin: the browser's own, or else a lease in the ledger, longer
 * than the work may take, so that it ends by itself where the tab that held it is gone.
 */
export function openLock(name: string, ledger: Ledger, workMaxMs: number): Lock {
  const locks = globalThis.navigator?.locks;
  if (locks) return async (work) => await locks.request(name, () => bounded(workMaxMs, work));
  return leasing(name, ledger, workMaxMs);
}

function leasing(name: string, ledger: Ledger, workMaxMs: number): Lock {
  const leaseMs = workMaxMs + LEASE_SPARE_MS;
  return async (work) => {
    const holder = randomKey();
    while (!(await ledger((entry) => take(entry, holder, leaseMs, lastGone(name))))) {
      await sleep(POLL_MS * (1 + Math.random()));
    }
    const controller = new AbortController();
    // A page that goes has no time for the ledger.
    const leave = () => {
      controller.abort();
      localStorage[name] = holder;
    };
    globalThis.addEventListener?.("pagehide", leave, { signal: controller.signal });
    try {
      return await bounded(workMaxMs, work, controller);
    } finally {
      controller.abort();
      await ledger((entry) => {
        if (entry.lease?.holder === holder) delete entry.lease;
      });
    }
  };
}

function take(entry: Entry, holder: string, leaseMs: number, gone?: string): boolean {
  const left = (entry.lease?.until ?? 0) - Date.now();
  // One that ends later than any can is from before the clock was set back.
  if (left > 0 && left <= leaseMs && entry.lease?.holder !== gone) return false;
  entry.lease = { holder, until: Date.now() + leaseMs };
  return true;
}

/** Who held the lease when its page went, and sends nothing more. */
function lastGone(name: string): string | undefined {
  try {
    return localStorage[name];
  } catch {
    return undefined;
  }
}

/** 128 random bits. It needs no secure context, as `crypto.randomUUID` does. */
export function randomKey(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

const LEASE_SPARE_MS = 15_000;
const POLL_MS = 40;
