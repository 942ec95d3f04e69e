//! Everything that the commands say: the only owner of stdout and stderr.

mod layout;

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

/// Writes rows under their headings, aligned, as wide as the terminal at most.
pub(crate) fn table(
    headings: impl AsRef<[&'static str]>,
    rows: &[impl AsRef<[String]>],
) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for line in layout::lines(headings.as_ref(), rows, terminal_columns()) {
        writeln!(stdout, "{line}")?;
    }
    stdout.flush()
}

/// Writes rows under their headings, and below each one, indented, what would make it too wide.
pub(crate) fn annotated_table(
    headings: impl AsRef<[&'static str]>,
    rows: &[impl AsRef<[String]>],
    notes: &[String],
) -> io::Result<()> {
    let mut lines = layout::lines(headings.as_ref(), rows, None).into_iter();
    let mut stdout = io::stdout().lock();
    if let Some(heading) = lines.next() {
        writeln!(stdout, "{heading}")?;
    }
    for (line, note) in lines.zip(notes) {
        writeln!(stdout, "{line}")?;
        if !note.is_empty() {
            writeln!(stdout, "  {}", printable(note))?;
        }
    }
    stdout.flush()
}

/// A cell for what may be absent.
pub(crate) fn cell(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

/// How many columns the terminal has that stdout is; `None` where it is none.
fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
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
}
