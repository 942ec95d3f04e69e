import { setTimeout as sleepFor } from "node:timers/promises";

/** How long to wait before the next try: longer each time, and never the same for all. */
export class Pause {
  #tries = 0;

  /** The next wait, in milliseconds. */
  next(): number {
    const longest = Math.min(PAUSE_MIN_MS * 2 ** this.#tries, PAUSE_MAX_MS);
    this.#tries = Math.min(this.#tries + 1, 16);
    return spread(longest);
  }

  /** Begins with the shortest wait again. */
  reset(): void {
    this.#tries = 0;
  }
}

/** Between half of it and all of it. Whom one outage cut off shall not come back at one moment. */
export function spread(longestMs: number): number {
  return longestMs * (0.5 + Math.random() / 2);
}

/** Waits, or until the signal; keeps no process alive. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleepFor(ms, undefined, { signal, ref: false });
  } catch {
    // It was told to stop, which whoever waits asks the signal for.
  }
}

const PAUSE_MIN_MS = 250;
const PAUSE_MAX_MS = 15_000;
