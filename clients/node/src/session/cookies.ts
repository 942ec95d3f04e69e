import { isLoopback } from "../remote/source.ts";

/** The names of the service's cookies. */
export interface CookieNames {
  readonly refresh: string;
  readonly access: string;
  readonly csrf: string;
  /** What shows that an account has signed in with this browser before; the default if absent. */
  readonly device?: string;
}

/** The tokens that a browser carries for the app. */
export type Cookies = { readonly [Kind in keyof CookieNames]-?: string | undefined };

/** Reads and writes the cookies under the app's own origin. */
export class CookieJar {
  readonly #names: Required<CookieNames>;
  readonly #attributes: string;

  /** The names are those that the service uses by default, unless others are given. */
  constructor(isSecure: boolean, names?: CookieNames) {
    this.#names = { ...(isSecure ? SECURE_NAMES : PLAIN_NAMES), ...names };
    // The app sends all of them to the service, and no script needs any. `Lax`, so that whoever
    // follows a link to the app is known there; a form of another site carries none.
    this.#attributes = `Path=/; ${isSecure ? "Secure; " : ""}HttpOnly; SameSite=Lax; Priority=High`;
  }

  /**
   * Finds the cookies in a `Cookie` header. One that comes twice is none: a sibling host may have
   * tossed one of them, and nothing tells which (RFC 6265, section 8.6).
   */
  read(header: string | undefined): Cookies {
    const find = (name: string) => {
      const values = (header ?? "").split(";").flatMap((pair) => {
        const equals = pair.indexOf("=");
        return equals >= 0 && pair.slice(0, equals).trim() === name ? [pair.slice(equals + 1)] : [];
      });
      const value = values.length === 1 ? values[0]?.trim() : undefined;
      // It is sent on as a header: nothing goes there that no cookie of the service has.
      return value && COOKIE_VALUE.test(value) ? value : undefined;
    };
    const { refresh, access, csrf, device } = this.#names;
    return {
      refresh: find(refresh),
      access: find(access),
      csrf: find(csrf),
      device: find(device),
    };
  }

  /** The headers that present these to the service; none where there are none. */
  present({ refresh, csrf, device }: Partial<Cookies>): Record<string, string> {
    const names = this.#names;
    const pairs = [
      // Neither is of any use without the other.
      ...(refresh && csrf ? [`${names.refresh}=${refresh}`, `${names.csrf}=${csrf}`] : []),
      ...(device ? [`${names.device}=${device}`] : []),
    ];
    return pairs.length > 0 ? { Cookie: pairs.join("; ") } : {};
  }

  /**
   * The `Set-Cookie` lines of the service as lines of the app: the values and their life are kept,
   * and cookies that are none of these are left out.
   */
  adopt(lines: readonly string[]): string[] {
    return lines.flatMap((line) => {
      const [pair = "", ...attributes] = line.split(";").map((part) => part.trim());
      const isOurs = Object.values(this.#names).includes(pair.slice(0, pair.indexOf("=")));
      const maxAge = attributes.find((attribute) => /^max-age=\d+$/i.test(attribute));
      return isOurs && maxAge ? [`${pair}; ${this.#attributes}; ${maxAge}`] : [];
    });
  }

  /** The values that these lines set; what they clear has none. */
  valuesIn(lines: readonly string[]): Cookies {
    const set = lines.filter((line) => !/; max-age=0(?:;|$)/i.test(line));
    return this.read(set.map((line) => line.split(";", 1)[0]).join(";"));
  }

  /** Lines that clear the tokens of a session. The device stays known, as in the service. */
  clear(): string[] {
    const { refresh, access, csrf } = this.#names;
    return [refresh, access, csrf].map((name) => `${name}=; ${this.#attributes}; Max-Age=0`);
  }
}

const SECURE_NAMES: Required<CookieNames> = {
  refresh: "__Secure-refreshToken",
  access: "__Host-accessToken",
  csrf: "__Host-csrfToken",
  device: "__Secure-device",
};

/** For browsers in development. */
const PLAIN_NAMES: Required<CookieNames> = {
  refresh: "refreshToken",
  access: "accessToken",
  csrf: "csrfToken",
  device: "device",
};

const COOKIE_VALUE = /^[A-Za-z0-9._-]+$/;

/**
 * Reads the origin of an app.
 *
 * @throws {TypeError} where its cookies would travel in the clear.
 */
export function readAppOrigin(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isBare = url !== undefined && text.replace(/\/$/, "") === url.origin;
  const isSafe = url?.protocol === "https:" || (url && isLoopback(url.hostname));
  if (!isBare || !isSafe) {
    throw new TypeError("write the app's origin as https://host; http is for this machine alone");
  }
  return url;
}
