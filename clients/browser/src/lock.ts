import { sleep } from "./clock.ts";
import type { Entry, Ledger } from "./ledger.ts";
import { bounded } from "./wire.ts";

/** Runs work while no other tab runs any, and gives it up when its time is over. */
export type Lock = <T>(work: (signal: AbortSignal) => Promise<T>) => Promise<T>;

/**
 * The lock of all tabs of this origin: the browser's own, or else a lease in the ledger. It is
 * waited for and leased longer than the work may take: a tab that is gone, or stands still, does
 * not hold the others up for ever.
 */
export function openLock(name: string, ledger: Ledger, workMaxMs: number): Lock {
  const locks = globalThis.navigator?.locks;
  const patienceMs = workMaxMs + 15_000;
  if (!locks) return leasing(name, ledger, workMaxMs, patienceMs);
  return (work) =>
    bounded(patienceMs, (signal) =>
      locks.request(name, { signal }, () => bounded(workMaxMs, work)),
    );
}

function leasing(name: string, ledger: Ledger, workMaxMs: number, leaseMs: number): Lock {
  return async (work) => {
    const holder = randomKey();
    const controller = new AbortController();

    // A page that goes has no time for the ledger.
    const leave = () => {
      controller.abort();
      localStorage[name] = holder;
    };
    const take = (entry: Entry): boolean => {
      const now = Date.now();
      const { lease } = entry;
      // One that begins later is from before the clock was set back.
      const isOn = lease && lease.from <= now && now < lease.until;
      // It may be this one's, stored too late to be told.
      if (isOn && ![holder, lastGone(name)].includes(lease.holder)) return false;
      globalThis.addEventListener?.("pagehide", leave, controller);
      entry.lease = { holder, from: now, until: now + leaseMs };
      // News to whoever goes on from memory, as that it is given back.
      entry.turn++;
      return true;
    };
    let tries = 3;
    const wait = (error: unknown) => {
      if (!--tries) throw error;
    };
    try {
      while (!(await ledger(take, true).catch(wait))) await sleep(50);
      return await bounded(workMaxMs, work, controller);
    } finally {
      controller.abort();
      await ledger((entry) => {
        if (entry.lease?.holder !== holder) return;
        delete entry.lease;
        entry.turn++;
      });
    }
  };
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
