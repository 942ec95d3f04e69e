// A verifier beside a real service: its algorithms, its keys as they rotate, its revocations, its
// absence.

import assert from "node:assert/strict";
import { test } from "node:test";

import { type Algorithm, Source, Verifier } from "../src/index.ts";
import { until } from "./support/publisher.ts";
import { PASSWORD, Service } from "./support/service.ts";

const LIMIT = { timeout: 60_000 };

/** How often the service says that it is there, where there is nothing else to say. */
const BEAT_MS = 15_000;

for (const algorithm of ["ES256", "EdDSA", "RS256"] as const) {
  test(`${algorithm}: tokens count, and end with their session`, LIMIT, async (t) => {
    await beside({ KEYWARD_ACCESS_TOKEN__ALGORITHM: algorithm }, [algorithm], async (given) => {
      const { service, verifier } = given;
      const token = await service.register("ada@example.org");
      const { claims } = await verifier.authenticate(token);
      assert.equal(claims?.email, "ada@example.org");
      const held = verifier.status().revocations;
      const start = performance.now();
      assert.equal((await service.ask("POST", "/logout", { token })).status, 200);
      await until(() => verifier.verify(token).refusal === "TOKEN_REVOKED");
      const ms = Math.round(performance.now() - start);
      t.diagnostic(`refused ${ms} ms after the sign-out was asked for`);
      // As soon as it happened, that is, and not with the next beat.
      assert.ok(ms < BEAT_MS, `${ms} ms`);
      assert.equal(verifier.status().revocations, held + 1);
    });
  });
}

test("how soon the end of a session is known here", LIMIT, async (t) => {
  await beside({}, ["ES256"], async ({ service, verifier }) => {
    const times: number[] = [];
    for (let at = 0; at < 20; at += 1) {
      const token = await service.register(`soon${at}@example.org`);
      assert.ok((await verifier.authenticate(token)).claims);
      const start = performance.now();
      assert.equal((await service.ask("POST", "/logout", { token })).status, 200);
      await until(() => verifier.verify(token).refusal === "TOKEN_REVOKED");
      times.push(performance.now() - start);
    }
    times.sort((one, other) => one - other);
    const [p50, greatest] = [times[9], times[19]].map((ms) => ms?.toFixed(1));
    t.diagnostic(`from the sign-out's request to the refusal: p50 ${p50} ms, max ${greatest} ms`);
  });
});

test(
  "whatever ends a session is told: elsewhere, by a password, with the account",
  LIMIT,
  async () => {
    await beside({}, ["ES256"], async ({ service, verifier }) => {
      const changes: [string, string, object?][] = [
        ["POST", "/logout-all"],
        ["POST", "/password/change", { currentPassword: PASSWORD, newPassword: `${PASSWORD}!` }],
        ["DELETE", "/me", { password: PASSWORD }],
      ];
      for (const [at, [method, path, body]] of changes.entries()) {
        const token = await service.register(`user${at}@example.org`);
        assert.ok(verifier.verify(token).claims, path);
        const { status } = await service.ask(method, path, { token, ...(body && { body }) });
        assert.ok(status < 300, `${path} ${status}`);
        await until(() => verifier.verify(token).refusal === "TOKEN_REVOKED");
      }
    });
  },
);

test("a new key counts at once, and those before it go on", LIMIT, async () => {
  await beside({}, ["ES256"], async ({ service, verifier }) => {
    const before = await service.register("before@example.org");
    assert.ok((await verifier.authenticate(before)).claims);
    service.run("key", "rotate");
    let after = await service.register("after@example.org");
    // The service itself follows its keys at intervals.
    for (let at = 0; headerOf(after) === headerOf(before); at += 1) {
      after = await service.register(`after${at}@example.org`);
    }
    assert.ok((await verifier.authenticate(after)).claims);
    assert.ok(verifier.verify(before).claims);
  });
});

test("a restart is outlived, and what ended meanwhile is known after it", LIMIT, async () => {
  await beside({}, ["ES256"], async ({ service, verifier }) => {
    const [gone, kept] = [
      await service.register("a@example.org"),
      await service.register("b@example.org"),
    ];
    const { claims } = verifier.verify(gone);
    await service.stop();
    assert.ok(verifier.verify(kept).claims, "silence is no revocation");
    service.run("session", "revoke", claims?.sid ?? "");
    await service.start();
    await until(() => verifier.verify(gone).refusal === "TOKEN_REVOKED");
    assert.ok(verifier.verify(kept).claims);
  });
});

interface Beside {
  readonly service: Service;
  readonly verifier: Verifier;
}

async function beside(
  env: NodeJS.ProcessEnv,
  algorithms: readonly Algorithm[],
  run: (given: Beside) => Promise<void>,
): Promise<void> {
  const service = await Service.start({ ...env, KEYWARD_LIMITS__REGISTER_ADDRESS: "1000 per 1m" });
  const verifier = new Verifier({ issuer: service.url, algorithms });
  const source = new Source(service.url, { serviceKey: service.serviceKey(), coolDownSecs: 0.1 });
  const stop = verifier.follow(source);
  try {
    await verifier.ready();
    await run({ service, verifier });
  } finally {
    stop();
    await service.remove();
  }
}

function headerOf(token: string): string {
  return token.slice(0, token.indexOf("."));
}
