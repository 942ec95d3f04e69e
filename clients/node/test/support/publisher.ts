import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";

import { Source } from "../../src/index.ts";

/** What a service publishes, and whatever else a test wants it to say. */
export class Publisher {
  /** The answer to `/.well-known/jwks.json`. */
  keys: (response: ServerResponse) => void = (response) => response.end('{"keys":[]}');
  /** The answer to the feed. */
  feed: (response: ServerResponse, request: IncomingMessage) => void = () => {};
  /** Paths in the order in which they were asked for. */
  readonly asked: string[] = [];
  /** The cursor of each connection to the feed. */
  readonly cursors: (string | undefined)[] = [];
  readonly #server = createServer((request, response) => {
    this.asked.push(request.url ?? "");
    if (request.url === "/.well-known/jwks.json") return this.keys(response);
    const cursor = request.headers["last-event-id"];
    this.cursors.push(typeof cursor === "string" ? cursor : undefined);
    this.feed(response, request);
  });

  static async start(): Promise<Publisher> {
    const publisher = new Publisher();
    publisher.#server.listen(0, "127.0.0.1");
    await once(publisher.#server, "listening");
    return publisher;
  }

  get origin(): string {
    const address = this.#server.address();
    return typeof address === "object" ? `http://127.0.0.1:${address?.port}` : "";
  }

  source(init: object = {}): Source {
    return new Source(this.origin, { serviceKey: "kwk_test", coolDownSecs: 0.2, ...init });
  }

  publish(...keys: readonly object[]): void {
    this.keys = (response) => response.end(JSON.stringify({ keys }));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** Begins an answer of the feed. */
export function openFeed(response: ServerResponse): ServerResponse {
  return response.writeHead(200, { "Content-Type": "text/event-stream" });
}

/** Waits until it holds; the test's own time limit ends what never does. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}
