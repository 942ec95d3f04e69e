//! The lines of an import, each within bounds.

use std::io::{self, BufRead, Read as _};

/// A line with its number, or why it is not taken.
pub(super) type Numbered = (u64, Result<Vec<u8>, String>);

/// Reads lines one by one and counts them from one, blank ones included.
pub(super) struct Lines<R> {
    reader: R,
    number: u64,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, number: 0, bytes: 0 }
    }

    /// How much was read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line that is not blank.
    pub(super) fn next(&mut self) -> io::Result<Option<Numbered>> {
        loop {
            let mut line = Vec::new();
            let bound = LINE_BYTES_MAX as u64 + 1;
            let read = self.reader.by_ref().take(bound).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.bytes += read as u64;
            if line.len() > LINE_BYTES_MAX && !line.ends_with(b"\n") {
                self.skip_rest()?;
                let why = format!("the line is longer than {LINE_BYTES_MAX} bytes");
                return Ok(Some((self.number, Err(why))));
            }
            // Some programs begin a file with it, as a mark of UTF-8.
            if self.number == 1 && line.starts_with(BYTE_ORDER_MARK) {
                line.drain(..BYTE_ORDER_MARK.len());
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some((self.number, Ok(line))));
            }
        }
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(length);
            self.bytes += length as u64;
            if end.is_some() || length == 0 {
                return Ok(());
            }
        }
    }
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Far beyond any user.
const LINE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_bounded() {
        let long = "x".repeat(LINE_BYTES_MAX);
        let text = format!("a\n\n \r\nb\r\n{long}\n{long}y\n{long}{long}{long}\nend");
        let mut lines = Lines::new(text.as_bytes());
        let mut read = Vec::new();
        while let Some((number, line)) = lines.next().expect("bytes in memory") {
            read.push((number, line.map(|line| line.trim_ascii().len()).ok()));
        }
        let longest = Some(LINE_BYTES_MAX);
        let expected =
            [(1, Some(1)), (4, Some(1)), (5, longest), (6, None), (7, None), (8, Some(3))];
        assert_eq!(read, expected);
        assert_eq!(lines.bytes(), text.len() as u64);
    }

    /// Elsewhere it is a character like any other.
    #[test]
    fn a_byte_order_mark_at_the_start_is_no_part_of_the_line() {
        let mut lines = Lines::new("\u{feff}a\n\u{feff}b\n".as_bytes());
        assert_eq!(lines.next().expect("bytes"), Some((1, Ok(b"a\n".to_vec()))));
        assert_eq!(lines.next().expect("bytes"), Some((2, Ok("\u{feff}b\n".into()))));
        assert_eq!(lines.next().expect("bytes"), None);
        assert_eq!(lines.bytes(), 10);
    }
}
