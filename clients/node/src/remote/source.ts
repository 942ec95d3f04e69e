import { BlockList, isIP } from "node:net";

/** What is told of the issuing service besides its origin. */
export interface SourceInit {
  /**
   * Opens the feed of revocations: a key with the scope `revocations`, from
   * `keyward service-key create`. Without it only the keys are fetched.
   */
  readonly serviceKey?: string | undefined;
  /** Below which path its API lies, where it is not `/api/auth` (`server.base_path`). */
  readonly basePath?: string;
  /** The certificates (PEM) that vouch for it, and no others; those of the system if absent. */
  readonly certificates?: string | Buffer;
  /**
   * How far apart fetches are that tokens of unknown keys cause: 5 seconds, so that junk cannot
   * hammer the service.
   */
  readonly coolDownSecs?: number;
}

/** The issuing service: where it is, and how it is trusted. */
export class Source {
  readonly origin: URL;
  readonly keysPath = "/.well-known/jwks.json";
  readonly basePath: string;
  readonly certificates: string | Buffer | undefined;
  readonly coolDownMs: number;
  /** Private, so that no log that shows this object shows the key. */
  readonly #serviceKey: string | undefined;

  /**
   * The service at this origin, such as `https://auth.example.org`. Plain http is for the same
   * machine only: whoever sits in between could hand out keys of their own.
   *
   * @throws {TypeError} which says what is wrong with the origin or the key.
   */
  constructor(origin: string, init: SourceInit = {}) {
    this.origin = readOrigin(origin);
    this.basePath = (init.basePath ?? "/api/auth").replace(/\/+$/, "");
    this.certificates = init.certificates;
    this.coolDownMs = (init.coolDownSecs ?? 5) * 1000;
    const serviceKey = init.serviceKey?.trim();
    if (serviceKey !== undefined && !/^kwk_[A-Za-z0-9_-]+$/.test(serviceKey)) {
      throw new TypeError(
        "a service key begins with kwk_; make one with keyward service-key create",
      );
    }
    this.#serviceKey = serviceKey;
  }

  get feedPath(): string {
    return `${this.basePath}/revocations`;
  }

  get hasServiceKey(): boolean {
    return this.#serviceKey !== undefined;
  }

  /** The `Authorization` header that opens the feed; for no other request. */
  authorization(): Record<string, string> {
    return this.#serviceKey === undefined ? {} : { Authorization: `Bearer ${this.#serviceKey}` };
  }
}

function readOrigin(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isBare = url && url.pathname === "/" && !url.search && !url.hash && !url.username;
  if (!isBare || url.password || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw new TypeError("write the origin as https://host or https://host:port");
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    throw new TypeError(
      "plain http beyond this machine would let anyone on the way hand out keys; use https",
    );
  }
  return url;
}

/** Whether a host's name can only be this machine. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, "");
  const version = isIP(host);
  return (
    host === "localhost" || (version !== 0 && LOOPBACK.check(host, version === 6 ? "ipv6" : "ipv4"))
  );
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");
