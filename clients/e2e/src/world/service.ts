import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { type Running, start } from "../../../node/test/support/process.ts";
import type { Certificate } from "./certificate.ts";

/** Settings as the environment names them, such as `KEYWARD_ACCESS_TOKEN__TTL`. */
export type Settings = Readonly<Record<string, string>>;

/** The real service, configured as in production, on a store of its own. */
export class Service {
  /** Where it listens itself. */
  readonly origin: string;
  readonly #running: Running;
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(running: Running, folder: string, env: NodeJS.ProcessEnv) {
    this.origin = running.said;
    this.#running = running;
    this.#folder = folder;
    this.#env = env;
  }

  /** Browsers see it at `publicUrl`; with a certificate it speaks TLS, and cookies are secure. */
  static async start(
    publicUrl: string,
    settings: Settings,
    certificate?: Certificate,
  ): Promise<Service> {
    const folder = mkdtempSync(join(tmpdir(), "keyward-e2e-"));
    const scheme: Settings = certificate
      ? {
          KEYWARD_SERVER__TLS_CERT: certificate.certFile,
          KEYWARD_SERVER__TLS_KEY: certificate.keyFile,
        }
      : { KEYWARD_COOKIES__SECURE: "false" };
    const env = { ...UNHURRIED, KEYWARD_SERVER__PUBLIC_URL: publicUrl, ...scheme, ...settings };
    const args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", folder];
    const running = await start(BINARY, args, { env, cwd: folder, line: /listens on (\S+)/ });
    return new Service(running, folder, { ...process.env, ...env });
  }

  /** The audit log, as the operator reads it. */
  async audit(...filter: string[]): Promise<AuditEvent[]> {
    const args = ["audit", "--json", "--limit", "10000", "--data-dir", this.#folder, ...filter];
    const options = { env: this.#env, cwd: this.#folder, maxBuffer: AUDIT_BYTES_MAX };
    const { stdout } = await promisify(execFile)(BINARY, args, options);
    const lines = stdout.split("\n").filter(Boolean);
    return lines.map((line) => JSON.parse(line) as AuditEvent);
  }

  async stop(): Promise<void> {
    await this.#running.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** One line of `keyward audit --json`, as far as it is read here. */
export interface AuditEvent {
  readonly id: number;
  /** RFC 3339. */
  readonly at: string;
  readonly type: string;
  readonly sessionId?: string;
  readonly requestId?: string | null;
  readonly detail: object;
}

const BINARY =
  process.env["KEYWARD_BINARY"] ??
  fileURLToPath(new URL("../../../../target/debug/keyward", import.meta.url));

/**
 * Tabs of many people share one address here, and refresh far more often than people's do. Limits
 * are tested where they are kept.
 */
const UNHURRIED: Settings = {
  KEYWARD_LIMITS__REGISTER_ADDRESS: "off",
  KEYWARD_LIMITS__REFRESH_SESSION: "off",
  KEYWARD_LIMITS__REFRESH_ADDRESS: "off",
};

const AUDIT_BYTES_MAX = 64 * 1024 * 1024;
