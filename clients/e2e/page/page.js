// A page of an app that signs its users in. It uses what the package publishes, and nothing else.

import { createClient } from "/keyward/index.js";

const baseUrl = new URL(location.href).searchParams.get("service");
const client = createClient({ baseUrl });
const told = [];

client.onChange((state) => told.push(state));

/** What tests ask a tab for. */
globalThis.tab = {
  client,

  /** Every change that the page was told of since it was loaded. */
  told,

  /** Who is signed in, or the code of the error that the question met. */
  async who() {
    try {
      return (await client.user())?.email ?? null;
    } catch (error) {
      return error.code ?? String(error);
    }
  },

  /** What an app does all day: asks for something with the access token. */
  async work() {
    try {
      return (await client.fetch(`${baseUrl}/me`)).status;
    } catch (error) {
      return error.code ?? String(error);
    }
  },

  /** All that a script of this page can find where browsers keep things. */
  async findings() {
    const stores = [];
    for (const { name } of await indexedDB.databases()) stores.push(...(await read(name)));
    return JSON.stringify([
      { ...localStorage },
      { ...sessionStorage },
      document.cookie,
      document.documentElement.outerHTML,
      location.href,
      stores,
    ]);
  },
};

function read(name) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(name);
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const database = opening.result;
      const names = [...database.objectStoreNames];
      const all = names.map((store) => {
        return new Promise((found) => {
          const asked = database.transaction(store).objectStore(store).getAll();
          asked.onsuccess = () => found(asked.result);
        });
      });
      Promise.all(all).then((values) => {
        database.close();
        resolve(values);
      });
    };
  });
}
