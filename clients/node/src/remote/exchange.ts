import { type IncomingHttpHeaders, type IncomingMessage, request as overHttp } from "node:http";
import { request as overHttps } from "node:https";

import type { Source } from "./source.ts";

/** One request to the issuing service. */
export interface Question {
  readonly method?: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/** A short answer, read to its end. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * Sends a request over a connection of its own and answers once the answer has begun. No redirect
 * is followed, no cookie kept and no proxy asked, whatever the environment says.
 */
export function begin(
  source: Source,
  question: Question,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const send = source.origin.protocol === "https:" ? overHttps : overHttp;
  const { method = "GET", path, headers, body = "" } = question;
  const options = {
    method,
    path,
    // Without its brackets an IPv6 address is one that can be connected to.
    host: source.origin.hostname.replace(/^\[|\]$/g, ""),
    port: source.origin.port || undefined,
    agent: false,
    ca: source.certificates,
    // Whatever the environment says.
    rejectUnauthorized: true,
    signal,
    headers: {
      Host: source.origin.host,
      "User-Agent": USER_AGENT,
      // Between us and the service nobody may answer from memory.
      "Cache-Control": "no-cache",
      ...(method === "GET" ? {} : { "Content-Length": Buffer.byteLength(body) }),
      ...headers,
    },
  };
  return new Promise((resolve, reject) => {
    const request = send(options, resolve);
    request.on("error", reject);
    // An app that closes its server ends, though the feed is open.
    request.on("socket", (socket) => socket.unref());
    request.end(body);
  });
}

/**
 * Sends a request and reads all of its answer.
 *
 * @throws where there is none within ten seconds, or it is longer than this many bytes.
 */
export async function ask(
  source: Source,
  question: Question,
  bytesMax: number,
  signal?: AbortSignal,
): Promise<Answer> {
  // A timer of our own: it keeps the process alive for as long as somebody waits for the answer.
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(new Error(SILENCE)), ANSWER_TIMEOUT_MS);
  try {
    const either = signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal;
    const message = await begin(source, question, either);
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of message as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > bytesMax) throw new Error("the answer is too long");
      pieces.push(piece);
    }
    const { statusCode: status = 0, headers } = message;
    return { status, headers, body: Buffer.concat(pieces) };
  } catch (error) {
    // The reason tells more than that something was aborted.
    throw timeout.signal.aborted ? timeout.signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

/** What silence is called in a verifier's troubles. */
export const SILENCE = "the service says nothing";

/** For the beginning of an answer, and for all of a short one. */
export const ANSWER_TIMEOUT_MS = 10_000;

const USER_AGENT = "keyward-node/0.1.0";
