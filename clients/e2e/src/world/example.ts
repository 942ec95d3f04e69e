import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { freePort, type Running, start } from "../../../node/test/support/process.ts";

/** An example, started by the one command that its readme names. */
export class Example {
  readonly origin: string;
  readonly #running: Running;

  private constructor(origin: string, running: Running) {
    this.origin = origin;
    this.#running = running;
  }

  /** On a free port; the settings are those of the example. */
  static async start(name: "express" | "spa" | "ssr", settings: NodeJS.ProcessEnv) {
    const port = await freePort();
    const running = await start("npm", ["start", "-w", `keyward-example-${name}`], {
      cwd: fileURLToPath(new URL("../../..", import.meta.url)),
      env: { KEYWARD_BINARY: BINARY, NO_COLOR: "1", PORT: String(port), ...settings },
      line: new RegExp(`(http://localhost:${port})`),
      isLeader: true,
    });
    return new Example(running.said, running);
  }

  /** Stops it with all that it has started, as Ctrl-C does. */
  async stop(): Promise<void> {
    const { pid } = this.#running.child;
    if (pid !== undefined && this.#isRunning) process.kill(-pid);
    await this.ended();
  }

  /** Waits until it has ended. */
  async ended(): Promise<void> {
    if (this.#isRunning) await once(this.#running.child, "exit");
  }

  get #isRunning(): boolean {
    const { exitCode, signalCode } = this.#running.child;
    return exitCode === null && signalCode === null;
  }
}

const BINARY =
  process.env["KEYWARD_BINARY"] ??
  fileURLToPath(new URL("../../../../target/debug/keyward", import.meta.url));
