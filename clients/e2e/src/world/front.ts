import { once } from "node:events";
import { readFile } from "node:fs/promises";
import * as http from "node:http";
import * as https from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import type { Certificate } from "./certificate.ts";
import { Journal, proofOf, tokensSetBy } from "./journal.ts";

/** What becomes of one request to the service and of its answer. */
export interface Fate {
  /** Milliseconds that the request waits before it goes on; unequal ones put it behind others. */
  readonly late?: number;
  /** The same request once more, after so many milliseconds; nobody sees that answer. */
  readonly again?: number;
  /** Milliseconds that the answer waits, after the service has done what was asked. */
  readonly slow?: number;
  /** The answer waits for this. */
  readonly held?: Promise<void>;
  /** The service did what was asked, and the connection broke before its answer. */
  readonly lost?: boolean;
}

/** Decides what becomes of the requests, one after the other. */
export type Weather = (request: Seen) => Fate;

/** A request as it came in. */
export interface Seen {
  readonly method: string;
  /** Without its query. */
  readonly path: string;
}

/**
 * What stands before an app: serves its pages at one origin, and passes `/api` on to the service,
 * the better or the worse for the weather.
 */
export class Front {
  readonly origin: string;
  /** Every request for the service since the start. */
  readonly seen: Seen[] = [];
  readonly journal = new Journal();
  weather: Weather = CALM;
  #service: URL | undefined;
  readonly #server: http.Server | https.Server;
  readonly #agents = { http: new http.Agent(KEPT), https: new https.Agent(KEPT) };

  private constructor(server: http.Server | https.Server, origin: string) {
    this.#server = server;
    this.origin = origin;
    server.on("request", (request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  /** On a free port of this name of loopback; with a certificate it speaks TLS. */
  static async open(hostname: string, certificate?: Certificate): Promise<Front> {
    const server = certificate ? https.createServer(certificate) : http.createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    return new Front(server, `${certificate ? "https" : "http"}://${hostname}:${port}`);
  }

  /** Passes `/api` on to the service that listens there. */
  lead(origin: string): void {
    this.#service = new URL(origin);
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agents.http.destroy();
    this.#agents.https.destroy();
    await once(this.#server, "close");
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const path = request.url?.split("?")[0] ?? "/";
    if (path.startsWith("/api/")) return this.#pass(request, response, path);
    const file = fileOf(path);
    if (!file) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, file.endsWith(".html") ? PAGE : MODULE);
    response.end(await readFile(new URL(file, import.meta.url)));
  }

  async #pass(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    path: string,
  ): Promise<void> {
    const seen = { method: request.method ?? "GET", path };
    const name = `#${this.seen.push(seen)}`;
    const fate = this.weather(seen);
    const { late = 0, again, slow = 0, held, lost = false } = fate;
    const proof = proofOf(request.headers);
    this.journal.note(
      `front     ${name} ${seen.method} ${path}, ${proof}, ${JSON.stringify(fate)}`,
    );
    const body = await bodyOf(request);
    if (late) await sleep(late);
    if (again !== undefined) {
      sleep(again).then(() => this.#ask(`${name} again`, request, body).catch(() => {}));
    }
    const answer = await this.#ask(name, request, body);
    if (slow) await sleep(slow);
    await held;
    const whom = request.socket.destroyed ? "nobody" : "the browser";
    this.journal.note(`front     ${name} ${lost ? "loses the answer" : `answers ${whom}`}`);
    if (lost) {
      request.socket.destroy();
      return;
    }
    response.writeHead(answer.status, answer.headers).end(answer.body);
  }

  /** Reaches the service whatever the browser does meanwhile: what was sent, was sent. */
  async #ask(
    name: string,
    { method, url, headers }: http.IncomingMessage,
    body: Buffer,
  ): Promise<Answer> {
    const service = this.#service;
    if (!service) throw new Error("There is no service behind this front.");
    const isTls = service.protocol === "https:";
    const options = { method, headers, rejectUnauthorized: false };
    const target = new URL(url ?? "/", service);
    const asked = isTls
      ? https.request(target, { ...options, agent: this.#agents.https })
      : http.request(target, { ...options, agent: this.#agents.http });
    asked.end(body);
    const [answer] = (await once(asked, "response")) as [http.IncomingMessage];
    const { statusCode: status = 502, rawHeaders } = answer;
    const answered = { status, headers: rawHeaders, body: await bodyOf(answer) };
    this.#noteAnswer(name, answered, answer.headers["x-request-id"]);
    return answered;
  }

  #noteAnswer(name: string, { status, headers, body }: Answer, id: unknown): void {
    const code = status < 400 ? "" : ` ${/"code":"(\w+)"/.exec(body.toString())?.[1]}`;
    const set = tokensSetBy(headers);
    this.journal.note(`service   ${name} ${status}${code}, request ${id}, sets ${set}`);
  }
}

/** Everything arrives, at once and once. */
export const CALM: Weather = () => ({});

interface Answer {
  readonly status: number;
  /** Names and values in turn, so that each cookie keeps a line of its own. */
  readonly headers: string[];
  readonly body: Buffer;
}

async function bodyOf(message: http.IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of message) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The page, or a module of the package as it is published. */
function fileOf(path: string): string | undefined {
  if (path === "/") return "../../page/index.html";
  if (path === "/page.js") return "../../page/page.js";
  if (path === "/axios.js") {
    return new URL("dist/esm/axios.min.js", import.meta.resolve("axios")).href;
  }
  const module = /^\/keyward\/([a-z]+\.js)$/.exec(path)?.[1];
  return module && new URL(module, import.meta.resolve("@keyward/browser")).href;
}

const PAGE = { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store" };

/** Tabs of one browser load each module once. */
const MODULE = { "Content-Type": "text/javascript", "Cache-Control": "max-age=3600, immutable" };

const KEPT = { keepAlive: true };
