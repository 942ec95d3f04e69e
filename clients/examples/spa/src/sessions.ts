import type { Client, EndedSession, Session } from "@keyward/browser";
import { element } from "./view.ts";

/** Lists where the user is signed in, with a button to end each, and what has ended. */
export async function showSessions(keyward: Client): Promise<void> {
  const { sessions, ended } = await keyward.sessions();
  const live = sessions.map((session) => {
    const item = itemOf(
      session,
      session.current ? "this device" : `used ${time(session.lastUsedAt)}`,
    );
    const button = item.querySelector("button");
    if (button && !session.current) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        button.disabled = true;
        await keyward.endSession(session.id).catch(() => {});
        await showSessions(keyward);
      });
    }
    return item;
  });
  element("sessions").replaceChildren(...live);
  element("ended").replaceChildren(...ended.map(endedItem));
}

function endedItem(session: EndedSession): HTMLElement {
  return itemOf(session, `${session.reason.replaceAll("_", " ")}, ${time(session.endedAt)}`);
}

function itemOf(session: Session, detail: string): HTMLElement {
  const template = element<HTMLTemplateElement>("session").content.firstElementChild;
  const item = template?.cloneNode(true) as HTMLElement;
  const texts: Record<string, string> = {
    device: session.device ?? "Unknown device",
    detail,
  };
  for (const place of item.querySelectorAll<HTMLElement>("[data-text]")) {
    place.textContent = texts[place.dataset["text"] ?? ""] ?? "";
  }
  return item;
}

function time(text: string): string {
  return new Date(text).toLocaleString();
}
