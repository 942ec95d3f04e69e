/**
 * Decodes canonical base64url (RFC 4648, section 5): no padding, no other characters, spare bits
 * zero.
 */
export function decodeBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64url");
  // The decoder forgives almost anything; only canonical text comes back as it was.
  return bytes.toString("base64url") === text ? bytes : undefined;
}
