/** What the process was warned of since this was imported, as whoever runs an app sees it. */
const warnings: string[] = [];
process.on("warning", ({ name, message }) => {
  if (name === "KeywardWarning") warnings.push(message);
});

/** Those with this in them. Warnings come after the current tick. */
export async function warningsWith(part: string): Promise<string[]> {
  await new Promise((resolve) => setImmediate(resolve));
  return warnings.filter((warning) => warning.includes(part));
}
