import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { freePort, type Running, start } from "./process.ts";

/** A real Keyward on a store of its own. */
export class Service {
  readonly url: string;
  readonly #dir: string;
  readonly #env: NodeJS.ProcessEnv;
  #running: Running | undefined;

  private constructor(port: number, env: NodeJS.ProcessEnv) {
    this.url = `http://localhost:${port}`;
    this.#dir = mkdtempSync(join(tmpdir(), "keyward-node-"));
    this.#env = env;
  }

  /** Starts one with this configuration, such as `KEYWARD_ACCESS_TOKEN__TTL`. */
  static async start(env: NodeJS.ProcessEnv = {}): Promise<Service> {
    const service = new Service(await freePort(), env);
    await service.start();
    return service;
  }

  async start(): Promise<void> {
    const address = `127.0.0.1:${new URL(this.url).port}`;
    const args = ["serve", "--dev", "--listen", address, "--data-dir", this.#dir];
    this.#running = await start(BINARY, args, { env: this.#env, line: /listens on (\S+)/ });
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
  }

  /** Kills it in the middle of whatever it does. */
  async crash(): Promise<void> {
    await this.#running?.stop("SIGKILL");
  }

  /** Stops it for good. */
  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Runs a command beside it, and answers what that prints. */
  run(...args: string[]): string {
    const all = [...args, "--data-dir", this.#dir];
    const env = { ...process.env, ...this.#env };
    return execFileSync(BINARY, all, { env, encoding: "utf8" }).trim();
  }

  serviceKey(): string {
    return this.run("service-key", "create", "--name", "tests", "--scope", "revocations");
  }

  /** Waits for a mail to this address with a link to this page, and answers the link's token. */
  async mailedToken(email: string, page: string): Promise<string> {
    const link = new RegExp(`${page}#token=([A-Za-z0-9_-]+)`);
    for (;;) {
      for (const text of this.#mails()) {
        const token = text.includes(`\nTo: ${email}\r\n`) && link.exec(text)?.[1];
        if (token) return token;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Each with the lines joined that quoted-printable has cut. */
  #mails(): string[] {
    const outbox = join(this.#dir, "outbox");
    const names = existsSync(outbox) ? readdirSync(outbox) : [];
    return names
      .filter((name) => name.endsWith(".eml"))
      .map((name) => readFileSync(join(outbox, name), "utf8"))
      .map((text) => text.replaceAll("=\r\n", "").replaceAll("=3D", "="));
  }

  /** Asks its API, from no browser. */
  async ask(method: string, path: string, given: Given = {}): Promise<Answer> {
    const response = await fetch(`${this.url}/api/auth${path}`, {
      method,
      headers: {
        ...(given.token && { Authorization: `Bearer ${given.token}` }),
        ...(given.body && { "Content-Type": "application/json" }),
        ...given.headers,
      },
      ...(given.body && { body: JSON.stringify(given.body) }),
    });
    const text = await response.text();
    const cookies = response.headers.getSetCookie();
    return { status: response.status, body: text ? JSON.parse(text) : {}, cookies };
  }

  /** Makes an account, and answers its access token. */
  async register(email: string): Promise<string> {
    const { status, body, cookies } = await this.ask("POST", "/register", {
      body: { email, password: PASSWORD },
    });
    if (status !== 201) throw new Error(`register: ${status} ${JSON.stringify(body)}`);
    const inCookie = cookies.find((line) => line.startsWith("accessToken="));
    const token = inCookie?.slice("accessToken=".length, inCookie.indexOf(";"));
    return token ?? String(body["accessToken"]);
  }
}

interface Given {
  readonly token?: string;
  readonly body?: object;
  readonly headers?: Record<string, string>;
}

/** What the API answered. */
export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly cookies: readonly string[];
}

/** Behind an app that renders pages, whose users are known by cookies. */
export const BEHIND_AN_APP = {
  KEYWARD_ACCESS_TOKEN__DELIVERY: "cookie",
  KEYWARD_SERVER__TRUSTED_PROXIES: "127.0.0.1/32",
};

/** Good enough for every account of the tests. */
export const PASSWORD = "zimtkringel im regen";

const BINARY =
  process.env["KEYWARD_BINARY"] ??
  fileURLToPath(new URL("../../../../target/debug/keyward", import.meta.url));
