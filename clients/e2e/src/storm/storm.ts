import { Certificate } from "../world/certificate.ts";
import { launch } from "../world/device.ts";
import { Scene } from "../world/scene.ts";
import { type Outcome, playRound, TOKEN_TTL_MS } from "./round.ts";

/** Which rounds are played. */
export interface Bounds {
  readonly rounds: number;
  /** Of the first round; each next one has the next. */
  readonly seed: number;
}

/** A round that was played to its end, or why it failed. */
export interface Round extends Partial<Outcome> {
  readonly seed: number;
  readonly failure?: string;
  /** What happened in it, where it failed. */
  readonly story?: readonly string[];
}

/**
 * Plays rounds in one browser, in one place after the other, and answers how many failed. What is
 * asked for when follows from the seed; what the machine makes of it differs each time.
 */
export async function playStorm(bounds: Bounds, tell: (round: Round) => void): Promise<number> {
  const certificate = new Certificate();
  const browser = await launch(certificate);
  const scenes = await Promise.all(
    PLACES.map((place) => Scene.open({ name: "storm", ...place }, certificate, SETTINGS)),
  );
  let failures = 0;
  try {
    for (let seed = bounds.seed; seed < bounds.seed + bounds.rounds; seed++) {
      const scene = scenes[seed % scenes.length];
      if (!scene) break;
      const begin = Date.now();
      try {
        tell(await playRound(browser, scene, seed));
      } catch (error) {
        // Closed from outside: that says nothing about the round.
        if (!browser.isConnected()) throw error;
        failures += 1;
        tell({ seed, failure: String(error), story: await storyOf(scene, begin) });
      }
    }
  } finally {
    await browser.close();
    await Promise.all(scenes.map((scene) => scene.close()));
    certificate.remove();
  }
  return failures;
}

/** What pages, network and service did since then, and what the audit log says of it. */
async function storyOf({ front, service }: Scene, begin: number): Promise<string[]> {
  const audit = await service.audit().catch((error) => {
    front.journal.note(`audit     ${error}`);
    return [];
  });
  const audited = audit.map(({ id, at, type, sessionId, requestId, detail }) => {
    const what = `session ${sessionId}, request ${requestId}, ${JSON.stringify(detail)}`;
    return { at: Date.parse(at), text: `audit     ${id} ${type}, ${what}` };
  });
  const entries = [...audited.filter(({ at }) => at >= begin), ...front.journal.since(begin)];
  const inOrder = entries.sort((one, other) => one.at - other.at);
  return inOrder.map(({ at, text }) => `${String(at - begin).padStart(6)} ms  ${text}`);
}

const PLACES = [
  { isTls: false, pages: "same origin" },
  { isTls: true, pages: "same origin" },
  { isTls: true, pages: "cross origin" },
] as const;

const SETTINGS = { KEYWARD_ACCESS_TOKEN__TTL: `${TOKEN_TTL_MS / 1000}s` };
