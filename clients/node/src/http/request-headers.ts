/**
 * Every value of a header, in order. Node's own `headers` keeps the first of two `Authorization`
 * headers in silence; so the raw ones are read, which are pairs of name and value.
 */
export function headerValues(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const [own = "", value = ""] = rawHeaders.slice(at, at + 2);
    if (own.length === name.length && own.toLowerCase() === name) values.push(value);
  }
  return values;
}

/**
 * The token of the `Authorization` header (RFC 6750, section 2.1). A token in a cookie, a URL or a
 * body is none, and neither is another scheme's; two headers are no request of anybody's.
 */
export function bearer(
  rawHeaders: readonly string[],
): { token: string } | { code: "NO_TOKEN" | "INVALID_REQUEST" } {
  const [credentials = "", ...more] = headerValues(rawHeaders, "authorization");
  if (more.length > 0) return { code: "INVALID_REQUEST" };
  const space = credentials.indexOf(" ");
  const isBearer = credentials.slice(0, Math.max(space, 0)).toLowerCase() === "bearer";
  if (!isBearer || !/^[\t\x20-\x7e]*$/.test(credentials)) return { code: "NO_TOKEN" };
  return { token: credentials.slice(space + 1) };
}
