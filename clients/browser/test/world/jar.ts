interface Cookie {
  readonly value: string;
  readonly path: string;
  readonly expiresAt: number;
}

/** The cookies of one host: for all its ports, as browsers keep them. Its clock is never set. */
export class CookieJar {
  readonly #cookies = new Map<string, Cookie>();

  /** What a request to this path carries. */
  header(path: string): string {
    return this.#live()
      .filter(([, cookie]) => path.startsWith(cookie.path))
      .map(([name, { value }]) => `${name}=${value}`)
      .join("; ");
  }

  /** What scripts see: everything but what is `HttpOnly`, which the service's test looks after. */
  visible(): string {
    const value = this.value("csrfToken");
    return value === undefined ? "" : `csrfToken=${value}`;
  }

  value(name: string): string | undefined {
    return this.#live().find(([key]) => key === name)?.[1].value;
  }

  set(name: string, value: string, path = "/api/auth"): void {
    this.#cookies.set(name, { value, path, expiresAt: Number.POSITIVE_INFINITY });
  }

  store(answer: Response): void {
    for (const line of answer.headers.getSetCookie()) {
      const [pair = "", ...attributes] = line.split("; ");
      const at = pair.indexOf("=");
      const named = (name: string) =>
        attributes.find((attribute) => attribute.startsWith(`${name}=`))?.slice(name.length + 1);
      const expiresAt = performance.now() + Number(named("Max-Age")) * 1000;
      const cookie = { value: pair.slice(at + 1), path: named("Path") ?? "/", expiresAt };
      this.#cookies.set(pair.slice(0, at), cookie);
    }
  }

  clear(): void {
    this.#cookies.clear();
  }

  #live(): [string, Cookie][] {
    return [...this.#cookies].filter(([, { expiresAt }]) => expiresAt > performance.now());
  }
}
