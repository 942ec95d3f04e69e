// `npm run storm -- [--rounds N] [--seed S] [--json]`: see `USAGE`.

import { parseArgs } from "node:util";

import { playStorm } from "./storm.ts";

const USAGE = `Usage: storm [--rounds N] [--seed S] [--json]

  --rounds N  how many rounds [default: 500]
  --seed S    the seed of the first round; each next one has the next [default: 1]
  --json      one JSON object a round on stdout, and one at the end`;

try {
  process.exitCode = await run();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function run(): Promise<number> {
  const asked = readArguments();
  if (asked === "help") {
    console.log(USAGE);
    return 0;
  }
  if (!asked) {
    console.error(USAGE);
    return 2;
  }
  const { isJson, ...bounds } = asked;
  const start = performance.now();
  const failures = await playStorm(bounds, (round) => {
    const { seed, failure, story = [], requests, refreshes } = round;
    const again = `  again: --seed ${seed} --rounds 1`;
    if (isJson) console.log(JSON.stringify(round));
    else if (failure) console.log([`seed ${seed}: ${failure}`, ...story, again].join("\n"));
    else console.log(`seed ${seed}: ${requests} requests, ${refreshes} refreshes`);
  });
  const seconds = Math.round((performance.now() - start) / 1000);
  const sum = { rounds: bounds.rounds, failures, seconds };
  console.log(
    isJson
      ? JSON.stringify(sum)
      : `${sum.rounds} rounds in ${seconds} s: ${failures} with a false sign-out or worse`,
  );
  return failures ? 1 : 0;
}

function readArguments() {
  const number = { type: "string" } as const;
  try {
    const flag = { type: "boolean" } as const;
    const options = { rounds: number, seed: number, json: flag, help: { ...flag, short: "h" } };
    const { values } = parseArgs({ options });
    if (values.help) return "help";
    const [rounds, seed] = [Number(values.rounds ?? 500), Number(values.seed ?? 1)];
    const isGood = Number.isInteger(rounds) && rounds > 0 && Number.isInteger(seed) && seed >= 0;
    return isGood ? { rounds, seed, isJson: values.json ?? false } : undefined;
  } catch {
    return undefined;
  }
}
