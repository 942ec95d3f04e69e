import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A certificate for loopback, made for one run and trusted by its browser alone. */
export class Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
  readonly #folder: string;

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), "keyward-certificate-"));
    this.certFile = join(this.#folder, "cert.pem");
    this.keyFile = join(this.#folder, "key.pem");
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    const names = ["-subj", "/CN=localhost", "-addext", NAMES];
    const files = ["-keyout", this.keyFile, "-out", this.certFile];
    execFileSync("openssl", ["req", "-x509", "-days", "2", ...key, ...names, ...files], {
      stdio: "pipe",
    });
    chmodSync(this.keyFile, 0o600);
    this.cert = readFileSync(this.certFile, "utf8");
    this.key = readFileSync(this.keyFile, "utf8");
  }

  /** The hash of its public key, as Chromium is told to trust it. */
  get pin(): string {
    const key = new X509Certificate(this.cert).publicKey;
    return createHash("sha256")
      .update(key.export({ type: "spki", format: "der" }))
      .digest("base64");
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1";
