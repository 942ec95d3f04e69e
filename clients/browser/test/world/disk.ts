import { mock } from "node:test";

/** What waits for a database gives it up almost at once, or after so many milliseconds. */
export function hurry(patienceMs = 20): void {
  const real = globalThis.setTimeout;
  mock.method(globalThis, "setTimeout", (act: () => void, ms?: number) =>
    real(act, ms === ANSWER_MAX_MS ? patienceMs : ms),
  );
}

/** The first so many calls of this method come to nothing. */
export function hangs(prototype: object, name: string, count: number, nothing: object): void {
  const real = Reflect.get(prototype, name);
  let calls = 0;
  const fake = function (this: never, ...given: unknown[]) {
    return calls++ < count ? nothing : Reflect.apply(real, this, given);
  };
  mock.method(prototype as Record<string, () => unknown>, name, fake);
}

/** A transaction in which nothing happens. */
export const never = { objectStore: () => ({ get: () => ({}) }) };

export function refuse(): never {
  throw new DOMException("The connection was lost.", "UnknownError");
}

/** How long the client waits for a database. */
export const ANSWER_MAX_MS = 5_000;
