import { type ErrorCode, type ErrorDetails, KeywardError } from "./error.ts";

/** Runs requests that are aborted together when their time is over. */
export async function bounded<T>(
  milliseconds: number,
  work: (signal: AbortSignal) => Promise<T>,
  controller = new AbortController(),
): Promise<T> {
  const timer = setTimeout(() => controller.abort(), milliseconds);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted || error instanceof KeywardError) throw error;
    throw unanswered("TIMEOUT", { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** The body of a good answer, or the error that the answer is. */
export async function read<T>(answer: Response): Promise<T> {
  const text = await answer.text().catch((cause) => {
    throw unanswered("NETWORK", { cause });
  });
  const body = parse(text);
  if (answer.ok && (body !== undefined || answer.status === 204)) return body as T;
  throw errorOf(answer, body);
}

/** Whether any service refused the access token itself. Does not use the answer's body up. */
export async function isRefused(answer: Response): Promise<boolean> {
  if (![401, 403].includes(answer.status)) return false;
  // RFC 6750, section 3; other origins show this header only where they choose to.
  if (answer.headers.get("WWW-Authenticate")?.includes('"invalid_token"')) return true;
  const body = parse(await answer.clone().text()) as Partial<ErrorBody> | null | undefined;
  return REFUSALS.includes(body?.code as string);
}

/** What a promise comes to, for whoever may lose interest; the work itself goes on. */
export function until<T>(work: Promise<T>, signal: AbortSignal | null | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal?.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    work.then(resolve, reject).finally(() => signal?.removeEventListener("abort", abort));
  });
}

interface ErrorBody extends Omit<ErrorDetails, "message" | "status" | "cause"> {
  readonly error: string;
  readonly code: string;
}

function errorOf(answer: Response, body: unknown): KeywardError {
  const { error, code, ...details } = (body ?? {}) as Partial<ErrorBody>;
  const { ok, status } = answer;
  if (ok || typeof code !== "string" || typeof error !== "string") {
    return unanswered("UNEXPECTED_ANSWER", { status });
  }
  return new KeywardError(code, { ...details, message: error, status });
}

/** No answer came, or one of something else. */
export function unanswered(code: ErrorCode, details: ErrorDetails): KeywardError {
  return new KeywardError(code, { message: "No answer came.", ...details });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * The service refused the access token itself. `NO_TOKEN` and `CSRF_FAILED` where tokens come in
 * cookies, which others have moved on.
 */
export const REFUSALS: readonly string[] = [
  "CSRF_FAILED",
  "INVALID_TOKEN",
  "NO_TOKEN",
  "TOKEN_EXPIRED",
  "TOKEN_REVOKED",
];
