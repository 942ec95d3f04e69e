import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { endWithUs } from "../../../node/test/support/process.ts";

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
    endWithUs(child);
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

  /** The token in the link of a mail to this address, other than an earlier one; waits for it. */
  async mailedToken(email: string, earlier?: string): Promise<string> {
    for (;;) {
      for (const mail of await this.#mails()) {
        const token = /#token=([\w-]+)/.exec(mail)?.[1];
        if (token && token !== earlier && mail.includes(`To: ${email}\r\n`)) return token;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Somebody who has no account yet. */
  somebody() {
    this.#people += 1;
    return {
      email: `person-${this.#people}@example.org`,
      password: "correct horse battery staple",
    };
  }

  /** What the service has written so far, each mail as one text. */
  async #mails(): Promise<string[]> {
    const folder = join(this.#folder, "outbox");
    const names = await readdir(folder).catch(() => []);
    const mails = names.filter((name) => name.endsWith(".eml"));
    const texts = await Promise.all(mails.map((name) => readFile(join(folder, name), "utf8")));
    // Quoted-printable (RFC 2045).
    return texts.map((text) => text.replaceAll("=\r\n", "").replaceAll("=3D", "="));
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
