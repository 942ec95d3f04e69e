import assert from "node:assert/strict";
import { describe, it } from "node:test";
import axios, { type AxiosInstance } from "axios";
import { attach } from "../src/axios.ts";
import { scene, signedIn } from "./world/scene.ts";

describe("axios", () => {
  const now = scene();
  /** An instance whose requests go through the network of the tab. */
  const instance = (fetch: typeof globalThis.fetch): AxiosInstance =>
    axios.create({ baseURL: now.service.baseUrl, adapter: "fetch", env: { fetch } });

  it("sends the token, and once more where it has expired", async () => {
    const { client, network, person } = await signedIn(now);
    const http = instance(network.fetch);
    attach(http, client);
    const { data } = await http.get<{ user: { email: string } }>("/me");
    assert.equal(data.user.email, person.email);
    const expired = { status: 401, body: { error: "Expired.", code: "TOKEN_EXPIRED" } };
    network.expect("/me", { ...expired, headers: { "Content-Type": "application/json" } });
    const changed = await http.patch("/me", { name: "Ada" });
    assert.equal(changed.data.user.name, "Ada");
    assert.equal(network.count("/refresh"), 2);
  });

  for (const responseType of ["text", "blob", "arraybuffer"] as const) {
    it(`tries once more by the body alone, as across origins: ${responseType}`, async () => {
      const { client, network } = await signedIn(now);
      const http = instance(network.fetch);
      attach(http, client);
      network.expect("/sessions", {
        status: 401,
        body: { error: "Expired.", code: "TOKEN_EXPIRED" },
      });
      const { status } = await http.get("/sessions", { responseType });
      assert.equal(status, 200);
      assert.equal(network.count("/refresh"), 2);
    });
  }

  it("tries once more where another interceptor copies requests", async () => {
    const { client, network } = await signedIn(now);
    const http = instance(network.fetch);
    // Runs later than the one that is attached after it.
    http.interceptors.request.use((config) => ({ ...config }));
    attach(http, client);
    network.expect("/sessions", {
      status: 401,
      body: { error: "Expired.", code: "TOKEN_EXPIRED" },
    });
    await http.get("/sessions");
    assert.equal(network.count("/refresh"), 2);
  });

  it("gives up after one more try, and leaves other failures alone", async () => {
    const { client, network } = await signedIn(now);
    const http = instance(network.fetch);
    const detach = attach(http, client);
    const revoked = { status: 401, body: { error: "Revoked.", code: "TOKEN_REVOKED" } };
    const answer = { ...revoked, headers: { "Content-Type": "application/json" } };
    network.expect("/sessions", answer, answer, answer);
    await assert.rejects(http.get("/sessions"), { status: 401 });
    assert.equal(network.count("/sessions"), 2);
    await assert.rejects(http.get("/nowhere"), { status: 404 });
    await assert.rejects(http.get("http://elsewhere.example/"), /list it in "origins"/);
    detach();
    await assert.rejects(http.get("/me"), { status: 401 });
    assert.equal(network.count("/refresh"), 2);
  });
});
