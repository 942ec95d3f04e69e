/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

/** A JSON object. */
export type JsonObject = { readonly [name: string]: Json };

/** An object that was read strictly. */
export interface StrictObject {
  readonly members: JsonObject;
  /** The whole numbers among its members, by name: what was written as `1.0` or `1e3` is none. */
  readonly wholeNumbers: ReadonlyMap<string, number>;
}

/**
 * Reads UTF-8 text as one JSON object. `undefined` where it is none, and also where two readers
 * could understand it differently: a name that comes twice at any depth, half a surrogate pair, a
 * number beyond all numbers, or nesting that not everybody follows.
 */
export function readStrictObject(bytes: Uint8Array): StrictObject | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const value: Json = JSON.parse(text);
    if (value === null || typeof value !== "object" || Array.isArray(value)) return undefined;
    const wholeNumbers = scan(text);
    return wholeNumbers && { members: value as JsonObject, wholeNumbers };
  } catch {
    // Neither decoder throws but over its text.
    return undefined;
  }
}

/** Looks at the tokens of text that is JSON, for what its value no longer shows. */
function scan(text: string): Map<string, number> | undefined {
  const wholeNumbers = new Map<string, number>();
  /** The names so far of each object that is open; an array has none. */
  const open: (Set<string> | undefined)[] = [];
  let name = "";
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === "{" || token === "[") {
      if (open.push(token === "{" ? new Set() : undefined) > DEPTH_MAX) return undefined;
    } else if (token === "}" || token === "]") {
      open.pop();
    } else if (token.startsWith('"')) {
      const isName = token.endsWith(":");
      const string: string = JSON.parse(isName ? token.slice(0, -1) : token);
      if (!string.isWellFormed()) return undefined;
      if (isName) {
        const names = open.at(-1);
        if (names?.has(string)) return undefined;
        names?.add(string);
        name = string;
      }
    } else if (!isBounded(token)) {
      return undefined;
    } else if (open.length === 1 && WHOLE.test(token) && fitsInt64(token)) {
      wholeNumbers.set(name, Number(token));
    }
  }
  return wholeNumbers;
}

function isBounded(word: string): boolean {
  return /^[tfn]/.test(word) || Number.isFinite(Number(word));
}

function fitsInt64(digits: string): boolean {
  return BigInt.asIntN(64, BigInt(digits)) === BigInt(digits);
}

/** A string (with the colon that makes it a name), a bracket, or a word. */
const TOKEN = /"(?:[^"\\]|\\.)*"(?:\s*:)?|[{}[\]]|[^\s"{}[\],:]+/g;

const WHOLE = /^(?:0|-?[1-9][0-9]*)$/;

/** As deep as the issuing service reads. */
const DEPTH_MAX = 127;
