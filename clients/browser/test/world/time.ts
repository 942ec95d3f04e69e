const trueNow = Date.now;

/** Sets the wall clock of this process, as people and time servers do; negative is back. */
export function shiftClock(minutes: number): void {
  Date.now = () => trueNow() + minutes * 60_000;
}

export function setClockRight(): void {
  Date.now = trueNow;
}

/** Waits for something that another tab does. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** By then tabs have heard what others told. */
export const HEARD_MS = 50;
