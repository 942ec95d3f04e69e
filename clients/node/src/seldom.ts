/** Something that is done once in so many milliseconds at most, however often it is asked for. */
export class Seldom {
  readonly #everyMs: number;
  #last: number | undefined;

  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  /** Whether it is due; a clock that was set back does not put it off. */
  isDue(now = Date.now()): boolean {
    return this.#last === undefined || Math.abs(now - this.#last) >= this.#everyMs;
  }

  /** Whether it is due, and then it is taken as done. */
  take(now = Date.now()): boolean {
    const isDue = this.isDue(now);
    if (isDue) this.#last = now;
    return isDue;
  }
}

/** A word to whoever runs the app, on the process's own warnings. */
export function warn(text: string): void {
  process.emitWarning(text, "KeywardWarning");
}

/** How often the same thing is worth a word. */
export const WARN_EVERY_MS = 60_000;
