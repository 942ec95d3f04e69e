// Starts the service and the pages: `npm ci && npm start`, and the browser at http://localhost:5173.
//
// KEYWARD_BINARY names the service's program; without it cargo builds and runs the one of this repository.

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build, preview } from "vite";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

buildClient();
const service = startService();
await build({ root: path("."), logLevel: "warn" });
const pages = await preview({
  root: path("."),
  preview: { host: "localhost" },
});
pages.printUrls();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, stop);
service.once("exit", stop);

function buildClient() {
  const words = ["run", "build", "--workspace", "@keyward/browser"];
  const { status } = spawnSync("npm", words, { cwd: path("../.."), stdio: "inherit" });
  if (status !== 0) process.exit(1);
}

function startService() {
  const data = path("../../node_modules/.keyward-example");
  mkdirSync(data, { recursive: true });
  const serve = ["serve", "--dev", "--listen", "127.0.0.1:8080", "--data-dir", data];
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
  return started;
}

function stop() {
  service.kill();
  pages.close();
}
