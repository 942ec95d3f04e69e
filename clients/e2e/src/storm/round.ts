import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";

import type { State } from "@keyward/browser";
import type { Browser, Page } from "playwright-core";

import { Device } from "../world/device.ts";
import { CALM, type Weather } from "../world/front.ts";
import { register } from "../world/people.ts";
import type { Scene } from "../world/scene.ts";
import { Chance } from "./chance.ts";

/** What one round came to. */
export interface Outcome {
  readonly seed: number;
  /** Requests to the service, and those of them that were refreshes. */
  readonly requests: number;
  readonly refreshes: number;
}

/**
 * One person signs in and works in ten tabs through bad weather: answers are lost, requests come
 * late or twice, tabs are loaded anew or closed in mid-flight, the device sleeps or is offline.
 * Then the sky clears, and everything must be as if nothing had been. Rejects where it is not.
 */
export async function playRound(browser: Browser, scene: Scene, seed: number): Promise<Outcome> {
  const chance = new Chance(seed);
  const start = scene.front.seen.length;
  const lacksLocks = chance.oneIn(3);
  const device = await Device.open(browser, scene, { lacksLocks });
  try {
    const { email } = await register(await device.openTab());
    await device.openTabs(TABS - 1);
    for (let wave = 0; wave < WAVES; wave++) {
      scene.front.weather = badWeather(chance);
      await playWave(device, chance);
    }
    scene.front.weather = CALM;
    await judge(device, scene, email);
    await device.inspect();
  } finally {
    scene.front.weather = CALM;
    await device.context.close();
  }
  const { length: requests } = scene.front.seen.slice(start);
  const refreshes = scene.front.seen.slice(start).filter(({ path }) => path.endsWith("/refresh"));
  return { seed, requests, refreshes: refreshes.length };
}

/** Every tab wants something at about the same time, while the tokens are stale. */
async function playWave(device: Device, chance: Chance): Promise<void> {
  if (chance.oneIn(2)) await device.sleep(NIGHT_MS);
  else await pause(TOKEN_TTL_MS);
  const deeds = [...device.tabs].map((tab) => deedOf(device, tab, chance));
  if (chance.oneIn(4)) {
    const [beginMs, darkMs] = [chance.below(250), chance.below(2 * TOKEN_TTL_MS)];
    deeds.push(() => loseNetwork(device, beginMs, darkMs));
  }
  await Promise.all(deeds.map((deed) => deed()));
}

/** What happens to a tab: it works to the end, or is loaded anew or closed meanwhile. */
function deedOf(device: Device, tab: Page, chance: Chance): () => Promise<void> {
  const [beginMs, endMs] = [chance.below(120), chance.below(250)];
  const [isClosed, isLoadedAnew] = [chance.oneIn(2 * LOSS_ONE_IN), chance.oneIn(LOSS_ONE_IN)];
  return async () => {
    await pause(beginMs);
    // It has no answer where its page is gone before one came.
    const work = tab.evaluate(() => globalThis.tab.work()).catch(() => {});
    if (isClosed || isLoadedAnew) await pause(endMs);
    if (isClosed) {
      judgeNews(await tab.evaluate(newsOf));
      await device.closeTab(tab);
      await device.openTab();
    } else if (isLoadedAnew) {
      await device.reload(tab);
    }
    await work;
  };
}

async function loseNetwork(device: Device, beginMs: number, darkMs: number): Promise<void> {
  await pause(beginMs);
  await device.setOffline(true);
  await pause(darkMs);
  await device.setOffline(false);
}

/** One request in four meets something; one answer in eight is lost. */
function badWeather(chance: Chance): Weather {
  return () => ({
    ...(chance.oneIn(4) && { late: chance.below(LATE_MAX_MS) }),
    ...(chance.oneIn(4) && { slow: chance.below(LATE_MAX_MS) }),
    ...(chance.oneIn(5) && { again: chance.below(AGAIN_MAX_MS) }),
    lost: chance.oneIn(8),
  });
}

/** Everybody is still signed in, nobody was told otherwise, and the service saw no thief. */
async function judge(device: Device, scene: Scene, email: string): Promise<void> {
  const names = await Promise.all(
    device.tabs.map((tab) => askUnderSky(tab, () => globalThis.tab.who())),
  );
  assert.deepEqual(names, Array(TABS).fill(email), "who is signed in");
  for (const told of await device.all(newsOf)) judgeNews(told);
  const [tab] = device.tabs;
  assert.deepEqual(tab && (await askUnderSky(tab, countSessions)), { live: 1, ended: 0 });
  // Another round's person is not this one's fault.
  const filter = ["--type", "session.reuse_detected", "--user", email];
  assert.deepEqual(await scene.service.audit(...filter), []);
}

/** What a page was told; it runs there. */
function newsOf(): readonly State[] {
  return globalThis.tab.told;
}

function judgeNews(told: readonly State[]): void {
  const end = told.find(({ status }) => status === "signed-out");
  assert.equal(end, undefined, "a tab was told that nobody is signed in");
}

/** The person's sessions, or the code of an error; it runs in a page. */
function countSessions(): Promise<object | string> {
  return globalThis.tab.client.sessions().then(
    ({ sessions, ended }) => ({ live: sessions.length, ended: ended.length }),
    (error) => error.code ?? String(error),
  );
}

/** Clients rest after failures, and a slow machine outlives a token: they are asked once more. */
async function askUnderSky<T>(tab: Page, ask: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    const answer = (await tab.evaluate(ask)) as T;
    if (!PASSING.includes(String(answer)) || tries === SKY_TRIES_MAX) return answer;
    await pause(SKY_POLL_MS);
  }
}

const TABS = 10;

/** One page in so many is loaded anew in a wave, and half as many are closed. */
const LOSS_ONE_IN = 6;

const WAVES = 2;

/** The configured life of an access token: the shortest that there is. */
export const TOKEN_TTL_MS = 1000;

const NIGHT_MS = 8 * 3_600_000;
const LATE_MAX_MS = 200;

/** A repeat arrives when the browser is a few refreshes further. */
const AGAIN_MAX_MS = 1500;

/** What clients say of themselves for a while; none of it ends a session. */
const PASSING: readonly string[] = ["NETWORK", "TIMEOUT", "TOKEN_EXPIRED"];

const SKY_POLL_MS = 250;

/** A minute: no rest is longer. */
const SKY_TRIES_MAX = 240;
