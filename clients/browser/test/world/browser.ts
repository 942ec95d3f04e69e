import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { mock } from "node:test";
import { IDBFactory, IDBObjectStore } from "fake-indexeddb";
import { type Client, type ClientOptions, createClient } from "../../src/index.ts";
import { CookieJar } from "./jar.ts";
import { Locks } from "./locks.ts";
import { Network } from "./network.ts";
import type { Service } from "./service.ts";

/** What Node lacks of a browser: cookies, locks, a database, and tabs that can be closed. */
export class Browser {
  readonly jar = new CookieJar();
  readonly locks = new Locks();
  #database: IDBFactory | undefined = new IDBFactory();
  readonly #origin: string;
  readonly #service: Service;
  /** Where its pages hear of `online`, `pageshow` and the like. */
  readonly window = new EventTarget();
  readonly #tabs = new Set<Tab>();
  readonly #channels = channelsOf(randomUUID());
  #freeDisk: (() => void) | undefined;

  /** `origin` is that of its pages: the service's own unless said otherwise. */
  constructor(service: Service, origin = service.origin) {
    this.#service = service;
    this.#origin = origin;
    setMaxListeners(0, this.window);
  }

  /** A page that was just loaded. */
  open(options: Partial<ClientOptions> = {}, world: { readonly hasLocks?: boolean } = {}): Tab {
    const network = new Network(this.jar, this.#origin);
    const owner = {};
    this.#enter(world.hasLocks === false ? undefined : this.locks.of(owner));
    const { baseUrl } = this.#service;
    const client = createClient({ baseUrl, fetch: network.fetch, ...options });
    const crash = () => {
      network.cut();
      client.close();
      this.locks.release(owner);
      this.#tabs.delete(tab);
    };
    const tab: Tab = { client, network, crash };
    this.#tabs.add(tab);
    return tab;
  }

  /** From now on nothing can be stored, as where people forbid it. */
  breakDatabase(): void {
    this.#database = undefined;
  }

  /** From now on what is stored can be read, and nothing more can be written. */
  fillDisk(): void {
    const put = mock.method(IDBObjectStore.prototype, "put", refuse);
    this.#freeDisk = () => put.mock.restore();
  }

  /** There is room again. */
  freeDisk(): void {
    this.#freeDisk?.();
  }

  /** Closes all tabs; cookies and what is on the disk stay. */
  close(): void {
    this.freeDisk();
    for (const tab of this.#tabs) tab.crash();
  }

  /** Makes what pages see of this browser what modules see. */
  #enter(locks: unknown): void {
    const document = Object.defineProperty({}, "cookie", { get: () => this.jar.visible() });
    const pages = { document, location: new URL(`${this.#origin}/`), navigator: { locks } };
    const addEventListener = this.window.addEventListener.bind(this.window);
    const shared = {
      indexedDB: this.#database,
      BroadcastChannel: this.#channels,
      addEventListener,
    };
    for (const [name, value] of Object.entries({ ...pages, ...shared })) {
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
  }
}

/** A write for which there is no room ends its transaction, after what was read in it. */
function refuse(this: IDBObjectStore): void {
  this.transaction.abort();
}

/** Channels that other browsers of this process do not hear. */
function channelsOf(browser: string) {
  return class extends NodeChannel {
    constructor(name: string) {
      super(`${browser} ${name}`);
    }
  };
}

const NodeChannel = globalThis.BroadcastChannel;

/** One tab of a browser. */
export interface Tab {
  readonly client: Client;
  readonly network: Network;
  /** Ends it in the middle of whatever it does. */
  readonly crash: () => void;
}
