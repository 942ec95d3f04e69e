import type { JsonObject } from "../strict-json.ts";
import type { ApiAnswer } from "./api.ts";

/** What signing in came to. */
export type SignIn =
  | {
      readonly status: "signedIn";
      readonly user: JsonObject;
      readonly setCookies: readonly string[];
    }
  /** A second factor is asked for: `POST /login/mfa` with this token and a code. */
  | {
      readonly status: "mfaRequired";
      readonly mfaToken: string;
      readonly setCookies: readonly string[];
    }
  | Refused;

/** What registering came to. */
export type Registration =
  | SignIn
  /** Nobody is signed in. The mailbox learns the rest: a link, or that there is an account. */
  | { readonly status: "mailSent"; readonly setCookies: readonly string[] };

/** What came of a request that signs nobody in. */
export type Outcome =
  | {
      readonly status: "done";
      /** What the service answered. */
      readonly body: JsonObject;
      readonly setCookies: readonly string[];
    }
  | Refused;

/** What the service would not do, or could not. */
export interface Refused {
  readonly status: "refused";
  /** Such as `INVALID_CREDENTIALS`. */
  readonly code: string;
  /** One sentence for the person in front of it. */
  readonly error: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly retryAfterSecs: number | undefined;
  readonly setCookies: readonly string[];
}

/** An answer that grants nothing, with the cookies of the app. */
export function refused({ body, setCookies }: ApiAnswer): Refused {
  const { code, error, fields, retryAfter } = body;
  return {
    status: "refused",
    code: typeof code === "string" ? code : "STORE_UNAVAILABLE",
    error:
      typeof error === "string" ? error : "The service cannot answer right now; try again soon.",
    fields: textsIn(fields),
    retryAfterSecs: typeof retryAfter === "number" ? retryAfter : undefined,
    setCookies,
  };
}

/** Whether this is an object with members. */
export function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function textsIn(value: unknown): Record<string, string> {
  const pairs = isObject(value) ? Object.entries(value) : [];
  return Object.fromEntries(
    pairs.flatMap(([name, text]) => (typeof text === "string" ? [[name, text]] : [])),
  );
}
