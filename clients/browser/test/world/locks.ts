type Work = () => Promise<unknown>;

interface Waiting {
  readonly owner: object;
  readonly run: () => Promise<unknown>;
  readonly reject: (reason: unknown) => void;
}

/** Web Locks as far as they are used: exclusive, first come first served, lost with their tab. */
export class Locks {
  readonly #queues = new Map<string, Waiting[]>();
  readonly #gone = new WeakSet<object>();
  #most = 0;

  /** What `navigator.locks` is in one tab. */
  of(owner: object) {
    return {
      request: (name: string, { signal }: LockOptions, work: Work) =>
        this.#request(owner, name, signal, work),
    };
  }

  /** A tab was closed: what it held is free, and what it waited for is forgotten. */
  release(owner: object): void {
    this.#gone.add(owner);
    for (const [name, queue] of this.#queues) {
      const held = queue[0]?.owner === owner;
      const left = queue.filter((waiting) => waiting.owner !== owner);
      // Else its patience would outlive the test.
      for (const { owner: one, reject } of queue) if (one === owner) reject(GONE);
      this.#queues.set(name, left);
      if (held) left[0]?.run();
    }
  }

  /** How many waited at once, at most. */
  get most(): number {
    return this.#most;
  }

  #request(
    owner: object,
    name: string,
    signal: AbortSignal | undefined,
    work: Work,
  ): Promise<unknown> {
    if (this.#gone.has(owner)) return Promise.reject(GONE);
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
      const waiting = { owner, run, reject };
      queue.push(waiting);
      // Nothing happens where it is held already.
      signal?.addEventListener("abort", () => {
        const queue = this.#queues.get(name) ?? [];
        if (queue.indexOf(waiting) < 1) return;
        queue.splice(queue.indexOf(waiting), 1);
        reject(signal.reason);
      });
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

const GONE = new Error("The page is gone.");
