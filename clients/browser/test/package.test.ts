import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { build } from "esbuild";
import { packUnbuilt } from "../../node/test/support/package.ts";

const folder = fileURLToPath(new URL("..", import.meta.url));

describe("the package", () => {
  it("is small: minified and compressed", async (test) => {
    const { outputFiles } = await build({
      absWorkingDir: folder,
      entryPoints: ["src/index.ts"],
      bundle: true,
      minify: true,
      format: "esm",
      target: "es2022",
      write: false,
    });
    const code = outputFiles[0]?.contents ?? new Uint8Array();
    const [gzip, brotli] = [gzipSync(code, { level: 9 }).length, brotliCompressSync(code).length];
    test.diagnostic(`${code.length} bytes minified, ${gzip} with gzip, ${brotli} with Brotli`);
    assert.ok(code.length > 0);
    assert.ok(gzip < SIZE_MAX, `${gzip} bytes`);
  });

  it("is built when it is packed, and holds that, its readme and its licences", () => {
    const files = packUnbuilt(folder);
    const others = files.filter((path) => !/^dist\/[a-z]+\.(js|d\.ts)$/.test(path)).sort();
    assert.deepEqual(others, ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "package.json"]);
    for (const name of ["index", "axios", "mfa"]) {
      assert.ok(files.includes(`dist/${name}.js`) && files.includes(`dist/${name}.d.ts`));
    }
  });

  it("depends on nothing", () => {
    const { dependencies } = JSON.parse(readFileSync(`${folder}package.json`, "utf8"));
    assert.equal(dependencies, undefined);
  });

  it("can be imported as it is published, where there is no browser", async () => {
    const built = await import(new URL("../dist/index.js", import.meta.url).href);
    const client = built.createClient({ baseUrl: "https://auth.example.org/api/auth" });
    assert.deepEqual(client.state, { status: "unknown" });
  });
});

const SIZE_MAX = 5_000;
