//! Everything that the commands say: the only owner of stdout and stderr.

use std::io::{self, IsTerminal as _, Write as _};

use keyward_core::text::misleads;
use serde_json::Value;

/// Writes one line to stdout.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Writes a secret to stdout, and where a person reads along, a note about it below.
pub(crate) fn secret(text: &str, note: &str) -> io::Result<()> {
    line(text)?;
    if io::stdout().is_terminal() { line(note) } else { Ok(()) }
}

/// Writes objects to stdout, one a line.
pub(crate) fn json_lines(objects: impl IntoIterator<Item = Value>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for object in objects {
        writeln!(stdout, "{object}")?;
    }
    stdout.flush()
}

/// Writes one sentence to stderr, which may repeat what somebody else has written. Where even that
/// fails there is nobody left to tell.
pub(crate) fn complain(sentence: &str) {
    let _ = writeln!(io::stderr().lock(), "keyward: {}", printable(sentence));
}

/// Writes to stderr how far long work has come.
pub(crate) fn progress(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes rows under their headings, aligned.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))).collect();
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut stdout = io::stdout().lock();
    for row in std::iter::once(&headings.map(str::to_owned)).chain(&rows) {
        writeln!(stdout, "{}", aligned(row, &widths))?;
    }
    stdout.flush()
}

/// A cell for what may be absent.
pub(crate) fn cell(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

fn aligned<const N: usize>(row: &[String; N], widths: &[usize; N]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// Names and browsers are what strangers wrote: what could steer a terminal is shown, not obeyed.
pub(crate) fn printable(text: &str) -> String {
    let shown = |char: char| {
        if misleads(char) { char.escape_default().to_string() } else { char.to_string() }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(printable("Zoë \u{1b}[2J\r\n\u{202e}x"), "Zoë \\u{1b}[2J\\r\\n\\u{202e}x");
    }

    #[test]
    fn columns_align_without_trailing_space() {
        let row = ["a".to_owned(), "bc".to_owned()];
        assert_eq!(aligned(&row, &[3, 4]), "a    bc");
    }
}
