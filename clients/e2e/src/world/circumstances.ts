import type { Traits } from "./device.ts";
import type { Place } from "./scene.ts";

/** Where pages are, and in what kind of browser. */
export interface Circumstances extends Place {
  readonly traits: Traits;
}

/** The easiest circumstances, and the hardest in which nothing else is promised. */
export const CIRCUMSTANCES: readonly Circumstances[] = [
  { name: "same origin, with Web Locks", isTls: true, pages: "same origin", traits: {} },
  {
    name: "cross origin, without Web Locks",
    isTls: true,
    pages: "cross origin",
    traits: { lacksLocks: true },
  },
];
