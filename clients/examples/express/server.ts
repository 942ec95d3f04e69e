/**
 * Notes behind an API. Signing in, refreshing and signing out are Keyward's; what is left of it
 * here are the two lines that guard the routes. The pages use `@keyward/browser`.
 */

import { fileURLToPath } from "node:url";

import { Source, Verifier } from "@keyward/node";
import { authenticate, requireRecentAuth, requireRole } from "@keyward/node/express";
import express from "express";

const { PORT = "3000", KEYWARD_URL = "http://localhost:8080", SERVICE_KEY } = process.env;

if (!SERVICE_KEY) {
  console.warn("Without SERVICE_KEY an ended session's access token counts until it expires.");
}
const verifier = new Verifier({
  issuer: KEYWARD_URL,
  whenStale: SERVICE_KEY ? "failClosed" : "acceptUntilExpiry",
});
verifier.follow(new Source(KEYWARD_URL, { serviceKey: SERVICE_KEY }));

/** Each user's notes; an app would have a database. */
const notesOf = new Map<string, string[]>();

const api = express.Router();
api.use(authenticate(verifier));
api.use(express.json({ limit: "16kb" }));

api.get("/notes", (req, res) => {
  res.json({ notes: notesOf.get(req.keyward.userId) ?? [] });
});

api.post("/notes", (req, res) => {
  const { text } = req.body ?? {};
  if (typeof text !== "string" || text.length === 0 || text.length > 1000) {
    res.status(400).json({ error: "A note has 1 to 1000 characters.", code: "INVALID_REQUEST" });
    return;
  }
  const notes = [...(notesOf.get(req.keyward.userId) ?? []), text].slice(-100);
  notesOf.set(req.keyward.userId, notes);
  res.status(201).json({ notes });
});

// Whoever left a browser open does not lose everything to the next person in front of it.
api.delete("/notes", requireRecentAuth({ maxAgeSecs: 15 * 60 }), (req, res) => {
  notesOf.delete(req.keyward.userId);
  res.status(204).end();
});

api.get("/statistics", requireRole("admin"), (_, res) => {
  res.json({ writers: notesOf.size });
});

const app = express();
app.disable("x-powered-by");
app.use((_, res, next) => {
  res.set({
    "Content-Security-Policy": [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      `connect-src 'self' ${KEYWARD_URL}`,
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join("; "),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
  });
  next();
});
app.use("/api", api);
app.get("/settings.json", (_, res) => {
  res.json({ baseUrl: `${KEYWARD_URL}/api/auth` });
});
app.use(
  "/keyward",
  express.static(fileURLToPath(new URL(".", import.meta.resolve("@keyward/browser")))),
);
app.use(express.static(fileURLToPath(new URL("public", import.meta.url))));

await verifier.ready();
app.listen(Number(PORT), "127.0.0.1", () => {
  console.log(`listening on http://localhost:${PORT}`);
});
