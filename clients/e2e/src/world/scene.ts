import type { Certificate } from "./certificate.ts";
import { Front } from "./front.ts";
import { Service, type Settings } from "./service.ts";

/** How pages and service are reached, and where they are from each other. */
export interface Place {
  readonly name: string;
  readonly isTls: boolean;
  /** Two ports of one host are two origins of one site; two hosts are two sites. */
  readonly pages: "same origin" | "cross origin" | "cross site";
  readonly settings?: Settings;
}

/** A service, what stands before it, and the pages of an app. */
export class Scene {
  readonly service: Service;
  /** What stands before the service. */
  readonly front: Front;
  /** What stands before the pages: the same, where they share an origin. */
  readonly pages: Front;

  private constructor(service: Service, front: Front, pages: Front) {
    this.service = service;
    this.front = front;
    this.pages = pages;
    front.lead(service.origin);
  }

  /** `settings` go over those of the place. */
  static async open(
    { isTls, pages, settings }: Place,
    certificate: Certificate,
    over: Settings = {},
  ): Promise<Scene> {
    const spoken = isTls ? certificate : undefined;
    const front = await Front.open("localhost", spoken);
    const host = pages === "cross site" ? "127.0.0.1" : "localhost";
    const before = pages === "same origin" ? front : await Front.open(host, spoken);
    const listed = before === front ? {} : { KEYWARD_CORS__ALLOWED_ORIGINS: before.origin };
    const all = { ...listed, ...settings, ...over };
    return new Scene(await Service.start(front.origin, all, spoken), front, before);
  }

  /** Where the service is, as pages know it. */
  get baseUrl(): string {
    return `${this.front.origin}/api/auth`;
  }

  /** The address of the page. */
  get url(): string {
    return `${this.pages.origin}/?service=${encodeURIComponent(this.baseUrl)}`;
  }

  async close(): Promise<void> {
    await this.front.close();
    if (this.pages !== this.front) await this.pages.close();
    await this.service.stop();
  }
}
