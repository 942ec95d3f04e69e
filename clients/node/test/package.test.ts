import assert from "node:assert/strict";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

import { packUnbuilt } from "./support/package.ts";

it("is built when it is packed, and holds that, its readme and its licences", () => {
  const files = packUnbuilt(fileURLToPath(new URL("..", import.meta.url)));
  const others = files.filter((path) => !/^dist\/[a-z0-9/-]+\.(js|d\.ts)$/.test(path)).sort();
  assert.deepEqual(others, ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "package.json"]);
  for (const name of ["index", "express", "fastify"]) {
    assert.ok(files.includes(`dist/${name}.js`) && files.includes(`dist/${name}.d.ts`), name);
  }
});
