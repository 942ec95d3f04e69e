//! Server-Sent Events (HTML standard, section 9.2.6), out of whatever pieces the network delivers.
//!
//! Bounded, and stricter than browsers: a line that is too long or no UTF-8 ends the stream.

use std::fmt;

/// Cuts bytes into lines and lines into events.
#[derive(Debug, Default)]
pub(crate) struct EventStream {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    event: Event,
}

/// What a stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// A line that shows that somebody is there, and may say more.
    Comment(String),
    /// An event, complete with the blank line after it.
    Event(Event),
}

/// One event. Each field is empty where it was not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// What kind of event.
    pub(crate) name: String,
    /// Its content; several lines are joined by line feeds.
    pub(crate) data: String,
    /// Where in the stream it stands.
    pub(crate) id: String,
}

/// A stream that cannot be trusted to have been read rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbled(pub(crate) &'static str);

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Garbled {}

impl EventStream {
    /// Takes in the next piece and hands on what it completes, in order. An event that was begun
    /// and not completed is never handed on.
    pub(crate) fn read(
        &mut self,
        mut piece: &[u8],
        mut hand_on: impl FnMut(Item) -> Result<(), Garbled>,
    ) -> Result<(), Garbled> {
        while let Some(first) = piece.first() {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                piece = &piece[1..];
                continue;
            }
            let end = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (text, rest) = piece.split_at(end.unwrap_or(piece.len()));
            if self.line.len() + text.len() > LINE_BYTES_MAX {
                return Err(Garbled("a line of the feed is too long"));
            }
            self.line.extend_from_slice(text);
            let Some((ending, rest)) = rest.split_first() else { return Ok(()) };
            self.after_return = *ending == b'\r';
            piece = rest;
            let line = std::mem::take(&mut self.line);
            let line = std::str::from_utf8(&line).map_err(|_| Garbled("the feed is no UTF-8"))?;
            if let Some(item) = self.take_line(line)? {
                hand_on(item)?;
            }
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str) -> Result<Option<Item>, Garbled> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return Ok((event != Event::default()).then_some(Item::Event(event)));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => return Ok(Some(Item::Comment(value.to_owned()))),
            "event" => value.clone_into(&mut self.event.name),
            "id" if value.contains('\0') => {}
            "id" => value.clone_into(&mut self.event.id),
            "data" => {
                if self.event.data.len() + value.len() > LINE_BYTES_MAX {
                    return Err(Garbled("an event of the feed is too long"));
                }
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // Of no meaning here, or of none at all.
            _ => {}
        }
        Ok(None)
    }
}

/// Far beyond any line of the feed.
const LINE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_each_way_and_pieces_are_cut_anywhere() {
        let text = "event: a\r\ndata: 1\r\n\r\n: still here\n\ndata:2\rdata: 3\nid: x:y\n\n\
                    id\nretry: 5\nevent: b\n\n";
        let comment = Item::Comment("still here".to_owned());
        let expected = [event("a", "1", ""), comment, event("", "2\n3", "x:y"), event("b", "", "")];
        for size in 1..=text.len() {
            let mut stream = EventStream::default();
            let mut items = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                read(&mut stream, piece, &mut items).expect("a good stream");
            }
            assert_eq!(items, expected, "{size}");
        }
    }

    #[test]
    fn what_was_not_completed_is_not_handed_on() {
        let text = "data: 1\n\ndata: 2\nid: 2\n";
        let mut items = Vec::new();
        read(&mut EventStream::default(), text.as_bytes(), &mut items).expect("a good stream");
        assert_eq!(items, [event("", "1", "")]);
    }

    #[test]
    fn what_cannot_be_trusted_ends_the_stream() {
        let too_long = "a".repeat(LINE_BYTES_MAX + 1);
        let without_end = format!("data: {}\n", "a".repeat(4000)).repeat(2);
        let bad: [&[u8]; 3] = [too_long.as_bytes(), without_end.as_bytes(), b"data: \xff\n"];
        for text in bad {
            for size in [1, 7, text.len()] {
                let mut stream = EventStream::default();
                let mut outcomes = text.chunks(size).map(|piece| stream.read(piece, |_| Ok(())));
                assert!(outcomes.any(|outcome| outcome.is_err()), "{size}");
            }
        }
    }

    fn read(stream: &mut EventStream, piece: &[u8], items: &mut Vec<Item>) -> Result<(), Garbled> {
        stream.read(piece, |item| {
            items.push(item);
            Ok(())
        })
    }

    fn event(name: &str, data: &str, id: &str) -> Item {
        Item::Event(Event { name: name.into(), data: data.into(), id: id.into() })
    }
}
