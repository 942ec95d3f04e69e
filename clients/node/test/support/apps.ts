import { fileURLToPath } from "node:url";

import { freePort, type Running, start } from "./process.ts";

/** An example, running as its own process. */
export interface App {
  readonly origin: string;
  readonly running: Running;
}

/** Starts an example; processes of one app share `origin`, each with a port of its own. */
export async function startExample(name: "express" | "ssr", env: NodeJS.ProcessEnv): Promise<App> {
  const port = await freePort();
  const cwd = fileURLToPath(new URL(`../../../examples/${name}`, import.meta.url));
  const args = ["--import", "tsx", "server.ts"];
  const options = { cwd, line: /listening on (\S+)/, env: { ...env, PORT: String(port) } };
  return {
    origin: `http://localhost:${port}`,
    running: await start(process.execPath, args, options),
  };
}
