/** A browser, as far as an app can tell: a cookie jar, forms, and redirects within the app. */
export class Browser {
  readonly #origin: string;
  readonly #jar = new Map<string, string>();

  constructor(origin: string) {
    this.#origin = origin;
  }

  /** The cookies by name, for tests that take some away or steal them. */
  get jar(): Map<string, string> {
    return this.#jar;
  }

  /** Another browser with the same cookies. */
  copy(origin = this.#origin): Browser {
    const other = new Browser(origin);
    for (const [name, value] of this.#jar) other.#jar.set(name, value);
    return other;
  }

  get(path: string): Promise<Page> {
    return this.#send(path, { method: "GET" });
  }

  /** Sends a form of a page of this app, or of another origin. */
  post(path: string, fields: Record<string, string> = {}, from = this.#origin): Promise<Page> {
    const site = from === this.#origin ? "same-origin" : "cross-site";
    const headers = { Origin: from, "Sec-Fetch-Site": site };
    return this.#send(path, { method: "POST", headers, body: new URLSearchParams(fields) });
  }

  async #send(path: string, init: RequestInit): Promise<Page> {
    const cookie = [...this.#jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(`${this.#origin}${path}`, {
      ...init,
      redirect: "manual",
      headers: { ...init.headers, "User-Agent": "a browser", ...(cookie && { Cookie: cookie }) },
    });
    for (const line of response.headers.getSetCookie()) this.#store(line);
    const text = await response.text();
    return { status: response.status, headers: response.headers, text };
  }

  #store(line: string): void {
    const [pair = "", ...attributes] = line.split("; ");
    const equals = pair.indexOf("=");
    const isGone = attributes.includes("Max-Age=0");
    if (isGone) this.#jar.delete(pair.slice(0, equals));
    else this.#jar.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
}

/** What a browser was shown. */
export interface Page {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}
