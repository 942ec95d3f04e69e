// A page of an app that signs its users in. It uses what the package publishes, and nothing else.

import { createClient } from "/keyward/index.js";

const baseUrl = new URL(location.href).searchParams.get("service");
const client = createClient({ baseUrl });
const told = JSON.parse(sessionStorage.getItem("told") ?? "[]");

client.onChange((state) => {
  told.push(state);
  sessionStorage.setItem("told", JSON.stringify(told));
});

/** What tests ask a tab for. */
globalThis.tab = {
  client,

  /** Every change that the tab was told of since it was opened, over all its reloads. */
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

  /** Asks the service by axios, with the package's adapter, and says with which status it answered. */
  async workByAxios(method, data) {
    const { default: axios } = await import("/axios.js");
    const { attach } = await import("/keyward/axios.js");
    const instance = axios.create();
    attach(instance, client);
    return (await instance.request({ method, url: `${baseUrl}/me`, data })).status;
  },
};
