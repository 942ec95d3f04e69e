import type { Client } from "./client.ts";

/** What an authenticator app needs: shown once, before it is confirmed. */
export interface TotpSecret {
  readonly secret: string;
  readonly otpauthUri: string;
  /** A picture of the URI, as SVG. */
  readonly qrSvg: string;
}

/** Begins to set up an authenticator app: show what this answers, then confirm with a code. */
export function beginTotp(client: Client, password: string): Promise<TotpSecret> {
  return client.request("POST", "/mfa/totp", { password });
}

/** Turns the second factor on, and answers the recovery codes, which are shown once. */
export async function confirmTotp(client: Client, code: string): Promise<readonly string[]> {
  const answer = await client.request<RecoveryCodes>("POST", "/mfa/totp/confirm", { code });
  await show(client);
  return answer.recoveryCodes;
}

/** Turns the second factor off. */
export async function removeTotp(client: Client, password: string, code: string): Promise<void> {
  await client.request("DELETE", "/mfa/totp", { password, code });
  await show(client);
}

/** Other recovery codes; the earlier ones are worth nothing from here on. */
export async function renewRecoveryCodes(
  client: Client,
  password: string,
): Promise<readonly string[]> {
  const answer = client.request<RecoveryCodes>("POST", "/mfa/recovery-codes", { password });
  return (await answer).recoveryCodes;
}

/** Shows what has changed, where the service can be asked. It has changed all the same. */
async function show(client: Client): Promise<void> {
  await client.user().catch(() => {});
}

interface RecoveryCodes {
  readonly recoveryCodes: readonly string[];
}
