import assert from "node:assert/strict";

import type { Page } from "playwright-core";

/** Neither token may be where scripts, or whoever copies the profile's storage, can read it. */
export async function inspect(page: Page): Promise<void> {
  const found = await page.evaluate(findings);
  for (const { httpOnly, value } of await page.context().cookies()) {
    if (httpOnly) assert.ok(!found.includes(value), "a token lies open");
  }
  assert.doesNotMatch(found, /eyJ[\w-]+\.[\w-]+\.[\w-]+|(?:refresh|access)Token=/);
}

/** All that a script of this page can find where browsers keep things. */
async function findings(): Promise<string> {
  const stored: unknown[] = [];
  for (const { name = "" } of await indexedDB.databases()) {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const opening = indexedDB.open(name);
      opening.onsuccess = () => resolve(opening.result);
      opening.onerror = () => reject(opening.error);
    });
    for (const store of Array.from(database.objectStoreNames)) {
      const asked = database.transaction(store).objectStore(store).getAll();
      await new Promise((resolve) => {
        asked.onsuccess = resolve;
      });
      stored.push(asked.result);
    }
    database.close();
  }
  return JSON.stringify([
    { ...localStorage },
    { ...sessionStorage },
    document.cookie,
    document.documentElement.outerHTML,
    location.href,
    stored,
  ]);
}
