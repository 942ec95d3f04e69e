import type { Client, State } from "@keyward/browser";

declare global {
  /** What `page/page.js` offers to tests. */
  var tab: {
    readonly client: Client;
    readonly told: readonly State[];
    who(): Promise<string | null>;
    work(): Promise<number | string>;
    workByAxios(method: "get" | "patch", data?: object): Promise<number>;
  };
}
