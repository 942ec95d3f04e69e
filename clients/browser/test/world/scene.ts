import { after, afterEach, before, beforeEach } from "node:test";
import { Browser } from "./browser.ts";
import { Service } from "./service.ts";
import { setClockRight } from "./time.ts";

/** What a test plays with; made anew for each, but for the service. */
export interface Scene {
  service: Service;
  browser: Browser;
}

/** Sets the scene for the tests of a suite. */
export function scene(settings: Readonly<Record<string, string>> = {}): Scene {
  const scene = {} as Scene;
  before(async () => {
    scene.service = await Service.start(settings);
  });
  beforeEach(() => {
    scene.browser = new Browser(scene.service);
  });
  afterEach(() => {
    setClockRight();
    scene.browser.close();
  });
  after(() => scene.service.stop());
  return scene;
}

/** A tab of a browser in which somebody is signed in, and whose token is about to be replaced. */
export async function signedIn({ service, browser }: Scene) {
  const first = browser.open();
  const person = service.somebody();
  await first.client.register(person);
  first.crash();
  return { ...browser.open(), person };
}
