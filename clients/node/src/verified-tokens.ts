import type { Claims } from "./claims.ts";

/**
 * Tokens whose signature was verified before: seen again, they cost no cryptography.
 *
 * Only what passed the signature check enters, and it is found by its whole text, so nobody can
 * fill it with junk or collide with another's token. What is used stays: there are two halves, and
 * when the younger one is full the older one is dropped.
 */
export class VerifiedTokens {
  readonly #halfMax: number;
  #young = new Map<string, Claims>();
  #old = new Map<string, Claims>();

  constructor(tokensMax: number) {
    this.#halfMax = Math.floor(tokensMax / 2);
  }

  find(token: string): Claims | undefined {
    const claims = this.#young.get(token);
    if (claims) return claims;
    const older = this.#old.get(token);
    if (older) this.insert(token, older);
    return older;
  }

  insert(token: string, claims: Claims): void {
    if (this.#halfMax < 1) return;
    if (this.#young.size >= this.#halfMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(token, claims);
  }

  /** How many tokens are remembered; one that is in both halves counts twice. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }
}
