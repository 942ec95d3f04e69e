/**
 * Milliseconds since the call, or since an earlier time of the wall clock, by whichever clock went
 * further. The steady clock of some systems stands still while the machine sleeps, and the other
 * one can be set: either mistake makes a token look older than it is, which costs a refresh, and
 * never younger.
 */
export function stopwatch(wall = Date.now()): () => number {
  const steady = performance.now();
  return () => Math.max(Date.now() - wall, performance.now() - steady);
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
