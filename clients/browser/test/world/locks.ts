type Work = () => Promise<unknown>;

interface Waiting {
  readonly owner: object;
  readonly run: () => Promise<unknown>;
}

/** Web Locks as far as they are used: exclusive, first come first served, lost with their tab. */
export class Locks {
  readonly #queues = new Map<string, Waiting[]>();
  readonly #gone = new WeakSet<object>();
  #most = 0;

  /** What `navigator.locks` is in one tab. */
  of(owner: object) {
    return { request: (name: string, work: Work) => this.#request(owner, name, work) };
  }

  /** A tab was closed: what it held is free, and what it waited for is forgotten. */
  release(owner: object): void {
    this.#gone.add(owner);
    for (const [name, queue] of this.#queues) {
      const held = queue[0]?.owner === owner;
      const left = queue.filter((waiting) => waiting.owner !== owner);
      this.#queues.set(name, left);
      if (held) left[0]?.run();
    }
  }

  /** How many waited at once, at most. */
  get most(): number {
    return this.#most;
  }

  #request(owner: object, name: string, work: Work): Promise<unknown> {
    if (this.#gone.has(owner)) return new Promise(() => {});
    const queue = this.#queues.get(name) ?? [];
    this.#queues.set(name, queue);
    return new Promise((resolve, reject) => {
      const run = async () => {
        if (this.#gone.has(owner)) return;
        try {
          resolve(await work());
        } catch (error) {
          reject(error);
        }
        if (!this.#gone.has(owner)) this.#next(name);
      };
      queue.push({ owner, run });
      this.#most = Math.max(this.#most, queue.length);
      if (queue.length === 1) queueMicrotask(run);
    });
  }

  #next(name: string): void {
    const queue = this.#queues.get(name);
    queue?.shift();
    queue?.[0]?.run();
  }
}
