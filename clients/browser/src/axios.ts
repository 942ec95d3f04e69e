import type { AxiosError, AxiosInstance, InternalAxiosRequestConfig } from "axios";
import type { Client } from "./client.ts";
import type { Pass } from "./types.ts";
import { isRefused } from "./wire.ts";

/** What a request was sent with, and what was refused where it is sent once more. */
type Config = InternalAxiosRequestConfig & { sentPass?: Pass; refusedPass?: Pass };

/**
 * Lets an instance of axios send the access token as the client's `fetch` does: replaced before it
 * expires, and once more where it was refused. Sees only what axios takes for an error: nothing
 * where `validateStatus` lets 401 and 403 pass. Returns a function that ends this.
 */
export function attach(axios: AxiosInstance, client: Client): () => void {
  const request = axios.interceptors.request.use(async (config: Config) => {
    const pass = await client.pass({
      url: axios.getUri(config),
      method: config.method?.toUpperCase() ?? "GET",
      ...(config.signal instanceof AbortSignal && { signal: config.signal }),
      ...(config.refusedPass && { refused: config.refusedPass }),
    });
    config.headers.set({ ...pass.headers });
    if (pass.credentials) config.withCredentials = true;
    // On the request itself: other interceptors may copy it.
    config.sentPass = pass;
    return config;
  });
  const response = axios.interceptors.response.use(undefined, async (error: AxiosError) => {
    const config: Config | undefined = error.config;
    const pass = config?.sentPass;
    if (!pass || config.refusedPass || !(await isRefused(answerOf(error)))) throw error;
    const again: Partial<Config> = { ...config, refusedPass: pass };
    return axios.request(again);
  });
  return () => {
    axios.interceptors.request.eject(request);
    axios.interceptors.response.eject(response);
  };
}

function answerOf({ response }: AxiosError): Response {
  const { status = 200, data, headers } = response ?? {};
  const authenticate = headers?.["www-authenticate"];
  const shown = typeof authenticate === "string" ? { "WWW-Authenticate": authenticate } : {};
  const body = status === 204 || status === 304 ? null : bodyOf(data);
  return new Response(body, { status, headers: shown });
}

/** As it came, where `responseType` asked for it so; what axios has read is written again. */
function bodyOf(data: unknown): BodyInit {
  const isRead = !(typeof data === "string" || data instanceof Blob || data instanceof ArrayBuffer);
  return isRead ? JSON.stringify(data ?? null) : data;
}
