import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The real service on a port and in a folder of its own. */
export class Service {
  readonly origin: string;
  readonly baseUrl: string;
  readonly #process: ChildProcess;
  readonly #folder: string;
  #people = 0;

  private constructor(process: ChildProcess, folder: string, origin: string) {
    this.#process = process;
    this.#folder = folder;
    this.origin = origin;
    this.baseUrl = `${origin}/api/auth`;
  }

  /** Settings are named as in the environment, such as `KEYWARD_ACCESS_TOKEN__TTL`. */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<Service> {
    const folder = await mkdtemp(join(tmpdir(), "keyward-browser-"));
    const options = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir", folder];
    const child = spawn(PROGRAM, options, {
      cwd: folder,
      env: { ...process.env, ...UNHURRIED, ...settings },
      stdio: ["ignore", "pipe", "ignore"],
    });
    const ended = once(child, "exit").then(() => {
      throw new Error(`${PROGRAM} ended at once: build it with \`cargo build -p keyward-server\`.`);
    });
    const line = await Promise.race([once(createInterface(child.stdout), "line"), ended]);
    ended.catch(() => {});
    const port = /:(\d+)/.exec(String(line))?.[1];
    return new Service(child, folder, `http://localhost:${port}`);
  }

  async stop(): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.kill();
    await ended;
    await rm(this.#folder, { recursive: true });
  }

  /** Somebody who has no account yet. */
  somebody() {
    this.#people += 1;
    return {
      email: `person-${this.#people}@example.org`,
      password: "correct horse battery staple",
    };
  }
}

const PROGRAM =
  process.env["KEYWARD_BINARY"] ??
  fileURLToPath(new URL("../../../../target/debug/keyward", import.meta.url));

/** Limits are tested where they are kept; here they would only end long tests. */
const UNHURRIED = {
  KEYWARD_LIMITS__REGISTER_ADDRESS: "off",
  KEYWARD_LIMITS__REFRESH_SESSION: "off",
};
