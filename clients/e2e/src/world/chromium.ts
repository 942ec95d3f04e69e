import { after, before } from "node:test";

import type { Browser } from "playwright-core";

import { Certificate } from "./certificate.ts";
import { launch } from "./device.ts";

/** A browser, once it has started, and the certificate that it trusts. */
export interface Chromium {
  browser: Browser;
  readonly certificate: Certificate;
}

/** One for all tests of a file: started before the first, and closed after the last. */
export function chromium(): Chromium {
  const certificate = new Certificate();
  const opened = { certificate } as Chromium;
  before(async () => {
    opened.browser = await launch(certificate);
  });
  after(async () => {
    await opened.browser.close();
    certificate.remove();
  });
  return opened;
}
