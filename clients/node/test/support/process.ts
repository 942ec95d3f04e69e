import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";

/** A program that says when it is ready. */
export interface Running {
  readonly child: ChildProcess;
  /** The first group of what its line matched. */
  readonly said: string;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/**
 * Starts a program and waits for its line; what it writes before that is in the error where it
 * ends. One that starts others leads a group of its own, so that all can be stopped together.
 */
export async function start(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string; line: RegExp; isLeader?: boolean },
): Promise<Running> {
  const env = { ...process.env, ...options.env };
  const stdio = ["ignore", "pipe", "pipe"] as const;
  const { cwd, isLeader: detached = false } = options;
  const child = spawn(command, args, { env, cwd, detached, stdio: [...stdio] });
  endWithUs(child, detached);
  const lines: string[] = [];
  child.stderr.on("data", (piece) => lines.push(String(piece)));
  const said = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).on("line", (line) => {
      lines.push(line);
      const found = options.line.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("error", reject);
    child.once("exit", (code) =>
      reject(new Error(`${command} ended: ${code}\n${lines.join("\n")}`)),
    );
  });
  return { child, said, stop: (signal) => stop(child, signal) };
}

/**
 * Ends a program, or the group that it leads, once this process is gone without having done so: a
 * file of tests that takes too long is killed, and says goodbye to nobody.
 */
export function endWithUs(child: ChildProcess, isLeader = false): void {
  const { pid } = child;
  if (pid === undefined) return;
  // What it reads ends when we do, however that is.
  const args = ["-c", 'read _; kill -- "$0"', String(isLeader ? -pid : pid)];
  const watch = spawn("sh", args, { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  child.once("exit", () => watch.kill());
  watch.unref();
  (watch.stdin as Socket).unref();
}

async function stop(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}

/** A port on loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
