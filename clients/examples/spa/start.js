// Starts the service and the pages: `npm ci && npm start`, and the browser at http://localhost:5173.
//
// KEYWARD_BINARY names the service's program; without it cargo builds and runs the one of this repository.
// VITE_KEYWARD_URL, PORT and DATA_DIR name another address of the service, another port of the pages,
// and another folder for the store.

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build, preview } from "vite";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

buildClient();
startService();
await build({ root: path("."), logLevel: "warn" });
const pages = await preview({
  root: path("."),
  preview: { host: "localhost" },
});
pages.printUrls();

function buildClient() {
  const words = ["run", "build", "--workspace", "@keyward/browser"];
  const { status } = spawnSync("npm", words, { cwd: path("../.."), stdio: "inherit" });
  if (status !== 0) process.exit(1);
}

/** Without the service there are no pages: they would be in front of somebody else's. */
function startService() {
  const { VITE_KEYWARD_URL = "http://localhost:8080", DATA_DIR } = process.env;
  const data = DATA_DIR ?? path("../../node_modules/.keyward-example");
  mkdirSync(data, { recursive: true });
  const address = `127.0.0.1:${new URL(VITE_KEYWARD_URL).port}`;
  const serve = ["serve", "--dev", "--listen", address, "--data-dir", data];
  const program = process.env.KEYWARD_BINARY;
  const cargo = ["run", "--quiet", "-p", "keyward-server", "--", ...serve];
  const [command, words] = program ? [program, serve] : ["cargo", cargo];
  const started = spawn(command, words, {
    cwd: path("../../.."),
    stdio: "inherit",
  });
  started.once("error", (error) => {
    console.error(
      `The service cannot be started (${error.message}). Set KEYWARD_BINARY to its program.`,
    );
    process.exit(1);
  });
  started.once("exit", (code) => process.exit(code ?? 1));
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => started.kill(signal));
}
