import type { IncomingMessage } from "node:http";

import { Garbled } from "../feed/event-stream.ts";
import { Feed } from "../feed/feed.ts";
import type { Revocations } from "../revocations.ts";
import { ANSWER_TIMEOUT_MS, begin, SILENCE } from "./exchange.ts";
import { Pause, sleep } from "./pause.ts";
import type { Source } from "./source.ts";

/**
 * Follows the revocations of the issuing service, from where it was, through every interruption.
 */
export class FeedFollower {
  readonly #source: Source;
  readonly #revocations: Revocations;
  readonly #silenceMaxMs: number;
  readonly #signal: AbortSignal;
  readonly #feed = new Feed();
  readonly #pause = new Pause();
  trouble: string | undefined;

  /** `silenceMaxMs`: how old the last word may be before another connection is tried. */
  constructor(source: Source, revocations: Revocations, silenceMaxMs: number, signal: AbortSignal) {
    this.#source = source;
    this.#revocations = revocations;
    this.#silenceMaxMs = silenceMaxMs;
    this.#signal = signal;
  }

  /** Connects again and again, until the signal. */
  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      try {
        await this.#readOnce();
        this.trouble = "the service ended the feed";
      } catch (error) {
        if (error instanceof Garbled) this.#feed.beginAnew();
        this.trouble = error instanceof Error ? error.message : String(error);
      }
      await sleep(this.#pause.next(), this.#signal);
    }
  }

  /** Reads one connection to its end. */
  async #readOnce(): Promise<void> {
    const watch = new AbortController();
    const signal = AbortSignal.any([this.#signal, watch.signal]);
    const expire = () => watch.abort(new Error(SILENCE));
    let timer = setTimeout(expire, ANSWER_TIMEOUT_MS).unref();
    const expireAfter = (ms: number) => {
      clearTimeout(timer);
      timer = setTimeout(expire, ms).unref();
    };
    try {
      const askedAt = Date.now();
      const message = await begin(this.#source, this.#question(), signal);
      this.#expectEventStream(message);
      const connected = this.#feed.connect(this.#revocations, askedAt);
      expireAfter(this.#silenceMaxMs);
      for await (const piece of message as AsyncIterable<Buffer>) {
        const now = Date.now();
        connected.read(piece, now);
        // A word counts from when it was spoken, not from when it came.
        const staleness = connected.isSynced ? (this.#revocations.stalenessMs(now) ?? 0) : 0;
        const patience = this.#silenceMaxMs - staleness;
        if (patience <= 0) throw new Error("what the service says comes too late");
        expireAfter(patience);
        if (connected.isSynced) {
          this.#pause.reset();
          this.trouble = undefined;
        }
      }
    } catch (error) {
      // The reason tells more than that something was aborted.
      throw watch.signal.aborted ? watch.signal.reason : error;
    } finally {
      clearTimeout(timer);
      watch.abort();
    }
  }

  #question() {
    const cursor = this.#feed.cursor;
    return {
      path: this.#source.feedPath,
      headers: {
        Accept: "text/event-stream",
        ...this.#source.authorization(),
        ...(cursor === undefined ? {} : { "Last-Event-ID": cursor }),
      },
    };
  }

  #expectEventStream({ statusCode: status = 0, headers }: IncomingMessage): void {
    if (status !== 200) {
      // It is the cursor that is not understood: nothing else was asked.
      if (status === 400) this.#feed.beginAnew();
      throw new Error(`the service answered ${status}: ${REMEDIES[status] ?? "see its log"}`);
    }
    if (headers["content-type"]?.split(";")[0] !== "text/event-stream") {
      throw new Error("the answer is no event stream");
    }
  }
}

const REMEDIES: Record<number, string> = {
  401: "the service key is unknown, expired or revoked",
  403: "the service key lacks the scope `revocations`",
  404: "is basePath the service's server.base_path?",
};
