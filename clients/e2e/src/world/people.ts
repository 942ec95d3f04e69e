import type { Page } from "playwright-core";

/** Somebody with an account. */
export interface Person {
  readonly email: string;
  readonly password: string;
}

/** Makes an account in this tab, and is signed in with it. */
export async function register(tab: Page): Promise<Person> {
  people += 1;
  const person = { email: `person-${people}@example.org`, password: "zimtkringel im regen" };
  await tab.evaluate((account) => globalThis.tab.client.register(account), person);
  return person;
}

let people = 0;
