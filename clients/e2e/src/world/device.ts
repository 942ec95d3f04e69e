import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import {
  type Browser,
  type BrowserContext,
  chromium,
  type Page,
  type Request,
} from "playwright-core";

import type { Certificate } from "./certificate.ts";
import { inspect } from "./findings.ts";
import { fingerprint } from "./journal.ts";
import type { Scene } from "./scene.ts";

/** Starts Chromium, which trusts this certificate. */
export function launch(certificate: Certificate): Promise<Browser> {
  return chromium.launch(optionsWith(certificate));
}

/** How a device differs from others. */
export interface Traits {
  /** A browser without Web Locks: its tabs take turns by a lease. */
  readonly lacksLocks?: boolean;
}

/** One person's browser: tabs that share cookies and storage. */
export class Device {
  readonly context: BrowserContext;
  readonly tabs: Page[] = [];
  readonly #scene: Scene;
  readonly #names = new Map<Page, string>();
  #isOffline = false;
  #aheadMs = 0;
  #stoppedAt: number | undefined;
  #profile: string | undefined;

  private constructor(context: BrowserContext, scene: Scene) {
    this.context = context;
    this.#scene = scene;
  }

  /** As a private window, which shares nothing with others. */
  static async open(browser: Browser, scene: Scene, traits: Traits = {}): Promise<Device> {
    return Device.#prepare(await browser.newContext(), scene, traits);
  }

  /**
   * As a browser of its own, whose owner lets pages use the cookies of other sites: few browsers
   * do so unasked, and no private window does.
   */
  static async openProfile(
    certificate: Certificate,
    scene: Scene,
    traits: Traits = {},
  ): Promise<Device> {
    const profile = mkdtempSync(join(tmpdir(), "keyward-profile-"));
    mkdirSync(join(profile, "Default"));
    writeFileSync(join(profile, "Default", "Preferences"), JSON.stringify(ALL_COOKIES));
    const context = await chromium.launchPersistentContext(profile, optionsWith(certificate));
    const device = await Device.#prepare(context, scene, traits);
    device.#profile = profile;
    return device;
  }

  static async #prepare(context: BrowserContext, scene: Scene, traits: Traits): Promise<Device> {
    await context.addInitScript(MOVABLE_CLOCK);
    if (traits.lacksLocks) await context.addInitScript("delete Navigator.prototype.locks");
    return new Device(context, scene);
  }

  /** Opens so many more tabs, each with the page loaded. */
  async openTabs(count: number): Promise<Page[]> {
    const opened = await Promise.all(Array.from({ length: count }, () => this.#openTab()));
    this.tabs.push(...opened);
    return opened;
  }

  async openTab(): Promise<Page> {
    const [tab] = await this.openTabs(1);
    if (!tab) throw new Error("no tab");
    return tab;
  }

  /** Closes it, after nothing was found in it that scripts must not find. */
  async closeTab(tab: Page): Promise<void> {
    this.tabs.splice(this.tabs.indexOf(tab), 1);
    await inspect(tab);
    this.#note(tab, "is closed");
    await tab.close();
  }

  /** Its process is gone from one moment to the next; the page is told nothing. */
  async crashTab(tab: Page): Promise<void> {
    this.tabs.splice(this.tabs.indexOf(tab), 1);
    await inspect(tab);
    const session = await this.context.newCDPSession(tab);
    const crashed = tab.waitForEvent("crash");
    // There is nobody left to answer this.
    session.send("Page.crash").catch(() => {});
    await crashed;
    await tab.close();
  }

  /** Cuts or mends the network of all tabs; again where one was closed while it was told. */
  async setOffline(isOffline: boolean): Promise<void> {
    this.#isOffline = isOffline;
    this.#scene.front.journal.note(`device    ${isOffline ? "offline" : "online"}`);
    const set = () => this.context.setOffline(isOffline);
    await set().catch(set);
  }

  /** Until they are loaded anew, tabs can read what is stored, and there is no room for more. */
  async fillDisk(): Promise<void> {
    await Promise.all(this.tabs.map((tab) => tab.evaluate(FULL_DISK)));
  }

  /** The lid was shut for so long: the clock on the wall went on, the steady one did not. */
  async sleep(milliseconds: number): Promise<void> {
    this.#aheadMs += milliseconds;
    this.#scene.front.journal.note(`device    slept for ${milliseconds} ms`);
    await Promise.all(this.tabs.map((tab) => this.#setClock(tab)));
  }

  /** Stops the clock on the wall, so that nothing ends by it; `sleep` alone puts it forward. */
  async stopClock(): Promise<void> {
    this.#stoppedAt = Date.now();
    await Promise.all(this.tabs.map((tab) => this.#setClock(tab)));
  }

  /** Loads the page anew, whatever it was doing; again and again where that fails. */
  async reload(tab: Page): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        this.#note(tab, "is loaded");
        await tab.goto(`${this.#scene.url}&clock=${encodeURIComponent(this.#clock)}`);
        await tab.waitForFunction(() => "tab" in globalThis, undefined, { timeout: LOAD_MS });
        break;
      } catch (error) {
        // Offline, or with scripts that did not all come.
        const isPassing = /net::ERR_|Timeout|interrupted by another/.test(String(error));
        if (!isPassing || tries === LOADS_MAX) throw error;
        if (/ERR_INTERNET_DISCONNECTED/.test(String(error))) await this.#mendNetwork();
        await pause(RETRY_MS);
      }
    }
    await this.#setClock(tab);
  }

  /** What all tabs answer, asked at once. */
  all<T>(ask: () => T | Promise<T>): Promise<T[]> {
    return Promise.all(this.tabs.map((tab) => tab.evaluate(ask) as Promise<T>));
  }

  /** Closes the browser, after nothing was found in it that scripts must not find. */
  async close(): Promise<void> {
    try {
      await this.inspect();
    } finally {
      await this.context.close();
      if (this.#profile) rmSync(this.#profile, { recursive: true, force: true, maxRetries: 9 });
    }
  }

  /** Looks for tokens in all tabs. */
  async inspect(): Promise<void> {
    await Promise.all(this.tabs.map(inspect));
  }

  /** A tab that was opened while the network was mended may not have been told: all are, anew. */
  async #mendNetwork(): Promise<void> {
    if (this.#isOffline) return;
    await this.context.setOffline(true).catch(() => {});
    await this.setOffline(this.#isOffline);
  }

  async #openTab(): Promise<Page> {
    const tab = await this.context.newPage();
    this.#names.set(tab, `tab ${this.#names.size + 1}`.padEnd(9));
    tab.on("request", (request) => this.#noteFetch(tab, request, "asks"));
    tab.on("requestfailed", (request) => this.#noteFetch(tab, request, "has no answer from"));
    tab.on("requestfinished", (request) => this.#noteFetch(tab, request, "was answered by"));
    await this.reload(tab);
    return tab;
  }

  #noteFetch(tab: Page, request: Request, what: string): void {
    if (!request.url().includes("/api/")) return;
    const key = request.headers()["idempotency-key"];
    const { pathname } = new URL(request.url());
    const how = `${key ? `, key ${fingerprint(key)}` : ""} ${request.failure()?.errorText ?? ""}`;
    this.#note(tab, `${what} ${request.method()} ${pathname}${how}`);
  }

  #note(tab: Page, text: string): void {
    this.#scene.front.journal.note(`${this.#names.get(tab)} ${text}`);
  }

  async #setClock(tab: Page): Promise<void> {
    await tab.evaluate((clock) => void Object.assign(globalThis, JSON.parse(clock)), this.#clock);
  }

  /** What the clock of its pages says. */
  get #clock(): string {
    return JSON.stringify({ aheadMs: this.#aheadMs, stoppedAt: this.#stoppedAt });
  }
}

function optionsWith(certificate: Certificate) {
  return {
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    // Else tests could not be ended from outside: only their browser would.
    handleSIGTERM: false,
    args: [`--ignore-certificate-errors-spki-list=${certificate.pin}`],
  };
}

/** What the choice is called in the preferences of a profile. */
const ALL_COOKIES = { profile: { cookie_controls_mode: 0, block_third_party_cookies: false } };

/**
 * Lets the wall's clock be put forward and stopped; `performance.now` and timers stay. A page has
 * it from its first moment: tabs of one device never differ, and leases count on that.
 */
const MOVABLE_CLOCK = `{
  const now = Date.now;
  globalThis.aheadMs = 0;
  Object.assign(globalThis, JSON.parse(new URLSearchParams(location.search).get("clock")));
  Date.now = () => (globalThis.stoppedAt ?? now()) + globalThis.aheadMs;
}`;

/** Where there is no room the transaction ends, after what was read in it. */
const FULL_DISK = `IDBObjectStore.prototype.put = function () {
  this.transaction.abort();
};`;

/** More than scripts take that come at all. */
const LOAD_MS = 3000;
const RETRY_MS = 100;

/** More than in the longest time without a network. */
const LOADS_MAX = 300;
