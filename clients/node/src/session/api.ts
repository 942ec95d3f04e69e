import { isIP } from "node:net";

import { type Answer, ask, type Question } from "../remote/exchange.ts";
import type { Source } from "../remote/source.ts";
import { type JsonObject, readStrictObject } from "../strict-json.ts";
import type { BrowserRequest } from "./visit.ts";

/** An answer of the service's API. */
export interface ApiAnswer {
  /** 0 where there was none. */
  readonly status: number;
  /** Empty where there was no JSON. */
  readonly body: JsonObject;
  readonly setCookies: readonly string[];
}

/** The API of the service, called for a browser by the app that serves it. */
export class Api {
  readonly #source: Source;

  constructor(source: Source) {
    this.#source = source;
  }

  /** Sends a request; never rejects. `path` is below the base path. */
  async send(question: Question, browser: BrowserRequest): Promise<ApiAnswer> {
    const path = `${this.#source.basePath}${question.path}`;
    const headers = { ...question.headers, ...origin(browser), ...contentType(question) };
    try {
      const answer = await ask(this.#source, { ...question, path, headers }, ANSWER_BYTES_MAX);
      return read(answer);
    } catch {
      return NO_ANSWER;
    }
  }
}

/** Whom the app speaks for: limits and the list of sessions are about the browser. */
function origin({ address, userAgent }: BrowserRequest): Record<string, string> {
  return {
    // A proxy may have passed on anything; what is no address is for nobody to count by.
    ...(address !== undefined && isIP(address) !== 0 && { "X-Forwarded-For": address }),
    // What was received as a header may be sent as one, but for what only the parser forgives.
    ...(userAgent !== undefined && { "User-Agent": userAgent.replace(/[^\x20-\x7e]/g, "?") }),
  };
}

function contentType({ body }: Question): Record<string, string> {
  return body === undefined ? {} : { "Content-Type": "application/json" };
}

function read({ status, headers, body }: Answer): ApiAnswer {
  const members = body.length > 0 ? readStrictObject(body)?.members : {};
  // An answer that is no JSON comes from something in between, and says nothing of the session.
  if (!members) return NO_ANSWER;
  const setCookies = headers["set-cookie"] ?? [];
  return { status, body: members, setCookies };
}

const NO_ANSWER: ApiAnswer = { status: 0, body: {}, setCookies: [] };

const ANSWER_BYTES_MAX = 256 * 1024;
