// A few rounds of the storm; `cargo xtask storm` plays as many as one likes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { playStorm } from "../src/storm/storm.ts";

test("25 rounds, and not one false sign-out", async (t) => {
  const failed: number[] = [];
  await playStorm({ rounds: 25, seed: 1 }, ({ seed, refreshes, failure, story = [] }) => {
    t.diagnostic(`seed ${seed}: ${failure ?? `${refreshes} refreshes`}`);
    for (const line of story) t.diagnostic(line);
    if (failure) failed.push(seed);
  });
  assert.deepEqual(failed, []);
});
