import { claimedKey, Keys } from "./keys.ts";
import { Misaddressed } from "./misaddressed.ts";
import { type VerifyPolicy, type VerifyPolicyInit, verifyPolicy } from "./policy.ts";
import { refuse, type Verdict } from "./refusal.ts";
import { FeedFollower } from "./remote/feed-follower.ts";
import { KeyFetches } from "./remote/key-fetches.ts";
import type { Source } from "./remote/source.ts";
import { Revocations } from "./revocations.ts";
import { warn } from "./seldom.ts";

/**
 * Verifies access tokens of one issuer for one audience, from memory alone.
 *
 * It accepts nothing before it has keys and has heard which sessions were revoked; see
 * {@link VerifyPolicy} for how it may be told otherwise.
 */
export class Verifier {
  readonly policy: VerifyPolicy;
  /** What was revoked; to be filled by whoever follows the revocations by other means. */
  readonly revocations: Revocations;
  readonly #keys: Keys;
  readonly #misaddressed: Misaddressed;
  #following: { fetches: KeyFetches; feed: FeedFollower | undefined } | undefined;

  /** @throws {TypeError} where the policy cannot be meant. */
  constructor(policy: VerifyPolicyInit) {
    this.policy = verifyPolicy(policy);
    this.revocations = new Revocations(this.policy.revocationsMax, this.policy.leewaySecs);
    this.#misaddressed = new Misaddressed(this.policy);
    this.#keys = new Keys(this.policy, this.#misaddressed);
  }

  /**
   * Keeps the keys fresh and follows the revocations in the background, until told to stop. What
   * goes wrong is tried again, at growing intervals with jitter, and shown by {@link
   * Verifier.status}. It keeps no process alive. With no service key in the source, only the keys
   * are kept fresh; the process is warned where the policy refuses every token over it.
   *
   * @returns what stops it. From then on the verifier knows less with every second.
   * @throws {Error} where it follows somebody already.
   */
  follow(source: Source): () => void {
    if (this.#following)
      throw new Error("a verifier follows one service; stop the other one first");
    const stop = new AbortController();
    const fetches = new KeyFetches(source, this.#keys, stop.signal);
    // Three of four times that the service would have spoken in.
    const silenceMaxMs = this.policy.stalenessMaxSecs * 750;
    const feed = source.hasServiceKey
      ? new FeedFollower(source, this.revocations, silenceMaxMs, stop.signal)
      : undefined;
    const following = { fetches, feed };
    this.#following = following;
    void fetches.run();
    void feed?.run();
    if (this.#lacksServiceKey()) warn(`every token is refused: ${NO_SERVICE_KEY}`);
    return () => {
      stop.abort();
      if (this.#following === following) this.#following = undefined;
    };
  }

  /**
   * Waits until tokens can be judged, or for as long as this.
   *
   * @throws {Error} which says what is missing, and why.
   */
  async ready(timeoutMs = 10_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!this.#knowsAll()) {
      // No time would mend that.
      if (this.#lacksServiceKey()) {
        throw new Error(`revocations are not known: ${NO_SERVICE_KEY}`);
      }
      if (performance.now() > deadline) {
        const { keysAgeMs, keysTrouble, feedTrouble } = this.status();
        const isFeed = keysAgeMs !== undefined;
        const why =
          (isFeed ? feedTrouble : keysTrouble) ?? "nothing was heard; see Verifier.follow";
        throw new Error(`${isFeed ? "revocations are" : "keys are"} not known yet: ${why}`);
      }
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
    }
  }

  /**
   * Trusts the keys of this set (RFC 7517), fetched at this time, and no others from now on.
   *
   * @returns false where the text is no set of the issuing service, or has no key of the policy's
   * algorithms. The keys stay as they were.
   */
  takeUpKeys(set: Uint8Array, fetchedAt = Date.now()): boolean {
    return this.#keys.takeUp(set, fetchedAt);
  }

  /**
   * Verifies a token. Waits for nothing; a token that was seen before costs no cryptography, and is
   * judged afresh in all else. `now` is in milliseconds.
   */
  verify(token: string, now = Date.now()): Verdict {
    const bySignature = this.#keys.verify(token, now);
    if (!bySignature.claims) return bySignature;
    this.#misaddressed.accept();
    const verdict = this.revocations.judge(bySignature.claims);
    const mayPass = this.policy.whenStale === "acceptUntilExpiry" || this.#isCurrent(now);
    return verdict.claims && !mayPass ? refuse("STORE_UNAVAILABLE") : verdict;
  }

  /**
   * Verifies a token as {@link Verifier.verify} does; where it names a key that is not known yet,
   * waits until the keys were fetched once more. However many tokens wait, they wait for one fetch,
   * and fetches are apart by the cool-down of the source. Never rejects.
   */
  async authenticate(token: string): Promise<Verdict> {
    const verdict = this.verify(token);
    const kid = verdict.refusal === "INVALID_TOKEN" ? claimedKey(token) : undefined;
    const isKnown = () => this.#keys.has(token.slice(0, token.indexOf(".")));
    if (kid === undefined || isKnown()) return verdict;
    const lookup = await this.#following?.fetches.lookFor(kid, isKnown);
    if (lookup === "known") return this.verify(token);
    return refuse(lookup === "missing" ? "INVALID_TOKEN" : "STORE_UNAVAILABLE");
  }

  /** How much it knows at this moment, for a readiness check or a gauge. */
  status(now = Date.now()): Status {
    return {
      keysAgeMs: this.#keys.ageMs(now),
      stalenessMs: this.revocations.stalenessMs(now),
      revocations: this.revocations.size,
      keysTrouble: this.#following?.fetches.trouble,
      feedTrouble: this.#lacksServiceKey() ? NO_SERVICE_KEY : this.#following?.feed?.trouble,
      tokenTrouble: this.#misaddressed.trouble,
    };
  }

  /** Whether revocations have to be known here, and nothing has brought or will bring them. */
  #lacksServiceKey(): boolean {
    return (
      this.#following !== undefined &&
      this.#following.feed === undefined &&
      this.policy.whenStale === "failClosed" &&
      this.revocations.stalenessMs() === undefined
    );
  }

  #isCurrent(now: number): boolean {
    const staleness = this.revocations.stalenessMs(now);
    return staleness !== undefined && staleness <= this.policy.stalenessMaxSecs * 1000;
  }

  #knowsAll(): boolean {
    const needsFeed = this.#following?.feed !== undefined || this.policy.whenStale === "failClosed";
    return (
      this.#keys.ageMs(Date.now()) !== undefined && (!needsFeed || this.#isCurrent(Date.now()))
    );
  }
}

/** How much a verifier knows at one moment. */
export interface Status {
  /** How long ago the keys were fetched; `undefined` before the first time. */
  readonly keysAgeMs: number | undefined;
  /**
   * For how long the service has been silent about revocations; `undefined` before its first word.
   */
  readonly stalenessMs: number | undefined;
  /** How many revocations are held. */
  readonly revocations: number;
  /** What is wrong with fetching the keys, where something is. */
  readonly keysTrouble: string | undefined;
  /** What is wrong with following the revocations, where something is. */
  readonly feedTrouble: string | undefined;
  /**
   * Where a token that the service signed was refused since it is for another issuer or audience
   * than the policy's: both of each. As a rule every token fares so. Until one is accepted.
   */
  readonly tokenTrouble: string | undefined;
}

const NO_SERVICE_KEY =
  "no service key: give Source one with the scope `revocations`, or set whenStale to " +
  "acceptUntilExpiry";

const READY_POLL_MS = 20;
