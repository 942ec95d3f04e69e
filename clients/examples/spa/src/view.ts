/** An element of the page, by its id. */
export function element<E extends HTMLElement = HTMLElement>(id: string): E {
  return document.getElementById(id) as E;
}

/** Shows one section of the page, and no other. */
export function show(id: string): void {
  for (const section of document.querySelectorAll("section")) section.hidden = section.id !== id;
}

/** Shows a sentence, or none. */
export function say(sentence: string | undefined): void {
  const message = element("message");
  message.textContent = sentence ?? "";
  message.hidden = !sentence;
}

/** What was filled in, by the names of the fields. */
export function fields(form: HTMLFormElement): Record<string, string> {
  const filled = [...new FormData(form)].map(([name, value]) => [name, String(value)]);
  return Object.fromEntries(filled);
}
