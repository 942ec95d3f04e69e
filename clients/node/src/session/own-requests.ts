/** What a browser says of where a request comes from. */
export interface SentBy {
  readonly method: string;
  readonly origin: string | undefined;
  readonly referer: string | undefined;
  /** `Sec-Fetch-Site`. */
  readonly site: string | undefined;
}

/**
 * Whether a request may change something (CSRF): it only reads, or it comes from a page of this origin,
 * or from no browser. Cookies are `SameSite=Lax`, which keeps other sites out already; this keeps out
 * sibling hosts of the same site, and signing somebody in from a foreign page.
 */
export function isOwnRequest({ method, origin, referer, site }: SentBy, own: string): boolean {
  if (SAFE_METHODS.includes(method)) return true;
  if (site !== undefined && site !== "same-origin" && site !== "none") return false;
  const claimed = origin ?? (referer === undefined ? own : originOf(referer));
  return claimed === own;
}

function originOf(referer: string): string | undefined {
  return URL.canParse(referer) ? new URL(referer).origin : undefined;
}

const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];
