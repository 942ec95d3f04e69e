/**
 * Verifies Keyward's access tokens in Node, and keeps the users of server-rendered apps signed in.
 *
 * {@link Verifier} gives the verdict, {@link Source} says where the issuing service is, and
 * {@link Sessions} is for apps that render their pages on the server. Middleware is in
 * `@keyward/node/express` and `@keyward/node/fastify`.
 *
 * @module
 */

export type { Claims } from "./claims.ts";
export { Caller, type RecentAuth } from "./http/caller.ts";
export type { DenialCode } from "./http/denial.ts";
export type { Algorithm, VerifyPolicy, VerifyPolicyInit, WhenStale } from "./policy.ts";
export type { Refusal, Verdict } from "./refusal.ts";
export { Source, type SourceInit } from "./remote/source.ts";
export type { Revocation, Revocations } from "./revocations.ts";
export type { ApiAnswer } from "./session/api.ts";
export type { CookieNames } from "./session/cookies.ts";
export type { Outcome, Refused, Registration, SignIn } from "./session/outcomes.ts";
export { localPath } from "./session/own-requests.ts";
export { Sessions, type SessionsPolicy } from "./session/sessions.ts";
export type {
  BrowserRequest,
  SignedIn,
  SignedOut,
  Unknown,
  Visit,
  Visitor,
} from "./session/visit.ts";
export type { Json, JsonObject } from "./strict-json.ts";
export { type Status, Verifier } from "./verifier.ts";
