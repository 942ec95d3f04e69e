import { Client } from "./client.ts";
import type { ClientOptions } from "./types.ts";

/** A client of the service at `baseUrl`. A page needs one. */
export function createClient(options: ClientOptions): Client {
  return new Client(options);
}

export type { Client } from "./client.ts";
export { type ErrorCode, type ErrorDetails, KeywardError } from "./error.ts";
export type * from "./types.ts";
