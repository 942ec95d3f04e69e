import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

/** The files that are packed from a checkout of this package in which nothing is built yet. */
export function packUnbuilt(folder: string): string[] {
  const root = mkdtempSync(join(tmpdir(), "keyward-package-"));
  const [from, to] = [join(folder, ".."), join(root, "clients")];
  const copy = join(to, basename(folder));
  const isSource = (path: string) => !/\/(dist|node_modules|LICENSE-\w+)$/.test(path);
  try {
    cpSync(folder, copy, { recursive: true, filter: isSource });
    cpSync(join(from, "tsconfig.base.json"), join(to, "tsconfig.base.json"));
    symlinkSync(join(from, "node_modules"), join(to, "node_modules"));
    for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) {
      cpSync(join(from, "..", name), join(root, name));
    }
    const told = execFileSync("npm", ["pack", "--dry-run", "--json", "--silent"], {
      cwd: copy,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [packed] = JSON.parse(told);
    return packed.files.map(({ path }: { path: string }) => path);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
