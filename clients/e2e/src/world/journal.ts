import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

/** Something that happened, and when (Unix milliseconds). */
export interface Entry {
  readonly at: number;
  readonly text: string;
}

/** What pages, network and service did, for whoever has to explain a failure. */
export class Journal {
  readonly #entries: Entry[] = [];

  note(text: string): void {
    this.#entries.push({ at: Date.now(), text });
  }

  since(begin: number): Entry[] {
    return this.#entries.filter(({ at }) => at >= begin);
  }
}

/** Says whether values are the same, and not what they are. */
export function fingerprint(value: string): string {
  return createHash("sha256").update(value).digest("hex").slice(0, 6);
}

/** What a request proves itself with: the refresh token among its cookies, and its key. */
export function proofOf({ cookie = "", "idempotency-key": key }: IncomingHttpHeaders): string {
  return refreshTokensIn([cookie]) + (key ? `, key ${fingerprint(String(key))}` : "");
}

/** The refresh tokens that an answer sets; `headers` has names and values in turn. */
export function tokensSetBy(headers: readonly string[]): string {
  const isSet = (_: string, index: number) => /^set-cookie$/i.test(headers[index - 1] ?? "");
  return refreshTokensIn(headers.filter(isSet));
}

/** By generation, which every token says in the clear, and fingerprint. */
function refreshTokensIn(lines: readonly string[]): string {
  const found = lines.flatMap((line) => [...line.matchAll(REFRESH_COOKIE)]);
  return found.map(([, token = ""]) => nameOf(token)).join(" and ") || "no token";
}

function nameOf(token: string): string {
  if (!token) return "an empty cookie";
  const bytes = Buffer.from(token.replace(/^kwr_/, ""), "base64url");
  // Behind the key's number and the session's id.
  const generation = bytes.length > 25 ? bytes.readBigUInt64BE(17) : "?";
  return `token ${generation} (${fingerprint(token)})`;
}

const REFRESH_COOKIE = /(?:^|; )(?:__Host-|__Secure-)?refreshToken=([^;]*)/g;
