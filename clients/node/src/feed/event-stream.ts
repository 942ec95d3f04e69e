/** What a stream says. */
export type Item = Comment | StreamEvent;

/** A line that shows that somebody is there, and may say more. */
export interface Comment {
  comment: string;
}

/** One event. Each field is empty where it was not sent. */
export interface StreamEvent {
  /** What kind of event. */
  name: string;
  /** Its content; several lines are joined by line feeds. */
  data: string;
  /** Where in the stream it stands. */
  id: string;
}

/** A stream that cannot be trusted to have been read rightly. */
export class Garbled extends Error {
  override readonly name = "Garbled";
}

/**
 * Server-Sent Events (HTML standard, section 9.2.6), out of whatever pieces the network delivers.
 * Bounded, and stricter than browsers: a line that is too long or no UTF-8 ends the stream.
 */
export class EventStream {
  #line: Uint8Array = new Uint8Array();
  /** The last byte was a carriage return: a line feed that follows belongs to it. */
  #afterReturn = false;
  #event = emptyEvent();

  /**
   * Takes in the next piece and hands on what it completes, in order. An event that was begun and
   * not completed is never handed on.
   *
   * @throws {Garbled} and is of no use from then on.
   */
  *read(piece: Uint8Array): Generator<Item> {
    let rest = piece;
    while (rest.length > 0) {
      const isSecondHalf = this.#afterReturn && rest[0] === LINE_FEED;
      this.#afterReturn = false;
      if (isSecondHalf) {
        rest = rest.subarray(1);
        continue;
      }
      const end = rest.findIndex((byte) => byte === LINE_FEED || byte === RETURN);
      const text = end < 0 ? rest : rest.subarray(0, end);
      if (this.#line.length + text.length > LINE_BYTES_MAX) {
        throw new Garbled("a line of the feed is too long");
      }
      this.#line = Buffer.concat([this.#line, text]);
      if (end < 0) return;
      this.#afterReturn = rest[end] === RETURN;
      rest = rest.subarray(end + 1);
      const item = this.#takeLine(decode(this.#line));
      this.#line = new Uint8Array();
      if (item) yield item;
    }
  }

  #takeLine(line: string): Item | undefined {
    if (line === "") {
      const event = this.#event;
      this.#event = emptyEvent();
      return event.name || event.data || event.id ? event : undefined;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "") return { comment: value };
    if (field === "event") this.#event.name = value;
    if (field === "id" && !value.includes("\0")) this.#event.id = value;
    if (field === "data") {
      if (this.#event.data.length + value.length > LINE_BYTES_MAX) {
        throw new Garbled("an event of the feed is too long");
      }
      this.#event.data += (this.#event.data && "\n") + value;
    }
    // Another field is of no meaning here, or of none at all.
    return undefined;
  }
}

function emptyEvent(): StreamEvent {
  return { name: "", data: "", id: "" };
}

function decode(line: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line);
  } catch {
    throw new Garbled("the feed is no UTF-8");
  }
}

const LINE_FEED = 10;
const RETURN = 13;

/** Far beyond any line of the feed. */
const LINE_BYTES_MAX = 4096;
