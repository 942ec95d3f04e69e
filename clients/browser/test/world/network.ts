import type { CookieJar } from "./jar.ts";

/** What may happen to one request on its way. */
export type Fault =
  /** It never arrives. */
  | "lose request"
  /** It arrives; the answer does not. */
  | "lose answer"
  /** The cookies of the answer arrive, its body does not. */
  | "lose body"
  /** It arrives twice, at the same time. */
  | "duplicate"
  /** It does not arrive, and nothing is heard until it is given up. */
  | "hang"
  /** It arrives, and nothing is heard until it is given up. */
  | "hang after arrival"
  /** Something on the way answers in place of the service. */
  | { readonly status: number; readonly body?: unknown; readonly headers?: HeadersInit };

/** One request as it was sent. */
export interface Sent {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly credentials: RequestCredentials;
}

/** A tab's `fetch`, with the cookies of its browser, over a network that has faults. */
export class Network {
  readonly sent: Sent[] = [];
  readonly #jar: CookieJar;
  readonly #origin: string;
  readonly #faults: { readonly path: string; readonly fault: Fault }[] = [];
  #isCut = false;
  /** Every request takes so long, so that several are under way at once. */
  delayMs = 0;
  /** How many requests have begun to hang. */
  hanging = 0;

  constructor(jar: CookieJar, origin: string) {
    this.#jar = jar;
    this.#origin = origin;
  }

  /** The next request to this path meets this fault, the one after the next fault, and so on. */
  expect(path: string, ...faults: Fault[]): void {
    this.#faults.push(...faults.map((fault) => ({ path, fault })));
  }

  /**
   * The tab is gone, and hears of nothing any more, not even that its request failed: a page that
   * did would try again, in the middle of the next test.
   */
  cut(): void {
    this.#isCut = true;
  }

  /** How many requests went to this path. */
  count(path: string): number {
    return this.sent.filter((request) => request.path.endsWith(path)).length;
  }

  readonly fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init);
    request.signal.throwIfAborted();
    const { method, headers, credentials } = request;
    const path = new URL(request.url).pathname;
    this.sent.push({ method, path, headers, credentials });
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    // A tab that is gone sends nothing more.
    if (this.#isCut) return NEVER;
    try {
      return await this.#deliver(request, this.#next(path));
    } finally {
      if (this.#isCut) await NEVER;
    }
  };

  async #deliver(request: Request, fault: Fault | undefined): Promise<Response> {
    if (typeof fault === "object") return answerOf(fault);
    switch (fault) {
      case undefined:
        return this.#receive(await this.#send(request));
      case "lose request":
        throw new TypeError("fetch failed");
      case "lose answer":
        await this.#send(request);
        throw new TypeError("fetch failed");
      case "lose body":
        this.#receive(await this.#send(request));
        throw new TypeError("fetch failed");
      case "duplicate": {
        const answers = await Promise.all([this.#send(request.clone()), this.#send(request)]);
        const [first, second] = answers.map((answer) => this.#receive(answer));
        return Math.random() < 0.5 ? (first as Response) : (second as Response);
      }
      case "hang":
        return this.#forever(request.signal);
      case "hang after arrival":
        await this.#send(request);
        return this.#forever(request.signal);
    }
  }

  #next(path: string): Fault | undefined {
    const at = this.#faults.findIndex((expected) => path.endsWith(expected.path));
    return at < 0 ? undefined : this.#faults.splice(at, 1)[0]?.fault;
  }

  /** Until it is given up. */
  #forever(signal: AbortSignal): Promise<Response> {
    this.hanging += 1;
    return new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  }

  /** Sends it as a page of this origin would. */
  #send(request: Request): Promise<Response> {
    const headers = new Headers(request.headers);
    headers.set("Origin", this.#origin);
    const cookies = this.#jar.header(new URL(request.url).pathname);
    if (request.credentials === "include" && cookies) headers.set("Cookie", cookies);
    return fetch(new Request(request, { headers }));
  }

  #receive(answer: Response): Response {
    if (!this.#isCut) this.#jar.store(answer);
    return answer;
  }
}

function answerOf({ status, body, headers }: Exclude<Fault, string>): Response {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return new Response(text ?? null, headers ? { status, headers } : { status });
}

const NEVER = new Promise<never>(() => {});
