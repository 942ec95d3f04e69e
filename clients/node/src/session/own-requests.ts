/** What a browser says of where a request comes from. */
export interface SentBy {
  readonly method: string;
  readonly origin: string | undefined;
  readonly referer: string | undefined;
  /** `Sec-Fetch-Site`. */
  readonly site: string | undefined;
}

/**
 * Whether a request may change something (CSRF): it only reads, or it comes from a page of this
 * origin, or from no browser. Cookies are `SameSite=Lax`, which keeps other sites out already; this
 * keeps out sibling hosts of the same site, and signing somebody in from a foreign page.
 */
export function isOwnRequest({ method, origin, referer, site }: SentBy, own: string): boolean {
  if (SAFE_METHODS.includes(method)) return true;
  // Browsers that send it say so themselves, which also covers pages that hide their origin.
  if (site === "same-origin") return true;
  if (site !== undefined && site !== "none") return false;
  const claimed = origin ?? (referer === undefined ? own : originOf(referer));
  return claimed === own;
}

function originOf(referer: string): string | undefined {
  return URL.canParse(referer) ? new URL(referer).origin : undefined;
}

const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];

/**
 * Where to go after signing in: a path of this app. What else a link may have put there is `/`, so
 * that nobody is sent on to a foreign page.
 */
export function localPath(next: unknown): string {
  if (typeof next !== "string" || !next.startsWith("/")) return "/";
  const here = "http://app.invalid";
  const url = URL.canParse(next, here) ? new URL(next, here) : undefined;
  // `/.//host` is a path of this app until a browser has tidied it up.
  const isHere = url?.origin === here && !url.pathname.startsWith("//");
  return isHere ? `${url.pathname}${url.search}` : "/";
}
