import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";

/** What happens to one request; without one it goes through. */
export type Fault =
  /** It arrives, and its answer gets lost. */
  | "lose the answer"
  /** It is answered by something in between. */
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body: string };

/** A network between an app and the service, where things go wrong. */
export class Network {
  /** What happens to the next requests, one after the other. */
  readonly faults: Fault[] = [];
  /** How many requests came this way. */
  asked = 0;
  readonly #service: URL;
  readonly #server = createServer((incoming, response) => this.#pass(incoming, response));

  private constructor(service: string) {
    this.#service = new URL(service);
  }

  static async start(service: string): Promise<Network> {
    const network = new Network(service);
    network.#server.listen(0, "127.0.0.1");
    await once(network.#server, "listening");
    return network;
  }

  get origin(): string {
    const address = this.#server.address();
    return typeof address === "object" ? `http://127.0.0.1:${address?.port}` : "";
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #pass(incoming: IncomingMessage, response: ServerResponse): void {
    this.asked += 1;
    const fault = this.faults.shift();
    if (typeof fault === "object") {
      response.writeHead(fault.status, fault.headers).end(fault.body);
      return;
    }
    const { method, url: path, rawHeaders: headers } = incoming;
    const { port } = this.#service;
    const outgoing = request({ host: "127.0.0.1", port, method, path, headers, agent: false });
    incoming.pipe(outgoing);
    outgoing.on("error", () => response.destroy());
    outgoing.on("response", (answer) => {
      if (fault === "lose the answer") {
        answer.resume().on("end", () => response.destroy());
        return;
      }
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
  }
}
