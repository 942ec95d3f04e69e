// A few rounds of the storm; `cargo xtask storm` plays as many as one likes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { playStorm, type Round } from "../src/storm/storm.ts";

test("25 rounds, and not one false sign-out", async (t) => {
  const failed: Round[] = [];
  await playStorm({ rounds: 25, seed: 1 }, (round) => {
    t.diagnostic(`seed ${round.seed}: ${round.failure ?? `${round.refreshes} refreshes`}`);
    if (round.failure) failed.push(round);
  });
  assert.deepEqual(failed, []);
});
