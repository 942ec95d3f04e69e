//! How a table lies on a terminal.
//!
//! Where it is too wide, texts are cut, the widest first. Ids and times are not: half of one is of
//! no use. Where that is not enough each row becomes a block of its own, a line for each column.
//! What is no terminal is a file or a program, and gets everything.

use super::printable;

/// The headings, then the rows, for a terminal of this many columns; one line each where there is
/// none.
pub(super) fn lines(
    headings: &[&str],
    rows: &[impl AsRef<[String]>],
    columns: Option<usize>,
) -> Vec<String> {
    let headings: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
    let rows = rows.iter().map(|row| row.as_ref().iter().map(|cell| printable(cell)).collect());
    let rows: Vec<Vec<String>> = rows.collect();
    let mut widths: Vec<usize> = headings.iter().map(|heading| length(heading)).collect();
    let least = widths.clone();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = length(cell).max(*width);
        }
    }
    if let Some(columns) = columns
        && !fit(&mut widths, &least, &rows, columns)
    {
        return blocks(&headings, &rows);
    }
    std::iter::once(&headings).chain(&rows).map(|row| aligned(row, &widths)).collect()
}

/// Narrows columns of text, the widest first, until all fit. `false`: they do not.
fn fit(widths: &mut [usize], least: &[usize], rows: &[Vec<String>], columns: usize) -> bool {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    loop {
        if widths.iter().sum::<usize>() + gaps <= columns {
            return true;
        }
        let can_be_cut = |column: usize| {
            widths[column] > least[column].max(TEXT_MIN)
                && !rows.iter().any(|row| row.get(column).is_some_and(|cell| is_whole(cell)))
        };
        let widest = (0..widths.len()).filter(|column| can_be_cut(*column));
        let Some(widest) = widest.max_by_key(|column| widths[*column]) else { return false };
        widths[widest] -= 1;
    }
}

/// Whether it is an id or a time.
fn is_whole(cell: &str) -> bool {
    let bytes = cell.as_bytes();
    let is_id = bytes.len() == 36 && bytes[8] == b'-' && bytes[13] == b'-';
    let is_time = bytes.len() == 24 && bytes[10] == b'T' && bytes[23] == b'Z';
    is_id || is_time
}

/// Each row as a line for each column, with an empty line between rows.
fn blocks(headings: &[String], rows: &[Vec<String>]) -> Vec<String> {
    let width = headings.iter().map(|heading| length(heading)).max().unwrap_or(0);
    let mut lines = Vec::new();
    for row in rows {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(
            headings.iter().zip(row).map(|(heading, cell)| {
                format!("{heading:<width$}{GAP}{cell}").trim_end().to_owned()
            }),
        );
    }
    lines
}

fn aligned(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, &width)| {
        let cell = cut(cell, width);
        format!("{cell:<width$}")
    });
    cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
}

fn cut(cell: &str, width: usize) -> String {
    if length(cell) <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Between two columns.
const GAP: &str = "  ";

/// A text is not cut to less.
const TEXT_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198c0de-7a8b-7c3d-8e4f-5a6b7c8d9e0f";

    fn laid_out(columns: Option<usize>) -> Vec<String> {
        let row = |id: &str, email: &str| [id.to_owned(), email.to_owned(), "-".to_owned()];
        let rows = [row(ID, "ada@example.org"), row(ID, "a.very.long.address@example.org")];
        lines(&["USER", "EMAIL", "NAME"], &rows, columns)
    }

    #[test]
    fn a_file_gets_everything_without_trailing_space() {
        let lines = laid_out(None);
        assert!(lines[0].starts_with("USER      ") && lines[0].ends_with("NAME"));
        assert!(lines[2].contains("a.very.long.address@example.org"));
        assert!(lines.iter().all(|line| !line.ends_with(' ')));
    }

    #[test]
    fn what_fits_is_left_alone() {
        assert_eq!(laid_out(Some(75)), laid_out(None));
    }

    #[test]
    fn texts_are_cut_and_ids_are_not() {
        let lines = laid_out(Some(60));
        assert_eq!(lines[2], format!("{ID}  a.very.long.add…  -"));
        assert!(lines.iter().all(|line| length(line) <= 60));
    }

    #[test]
    fn a_table_that_cannot_fit_becomes_blocks() {
        let lines = laid_out(Some(40));
        assert_eq!(lines.len(), 7);
        assert_eq!(
            lines[..4],
            [
                format!("USER   {ID}"),
                "EMAIL  ada@example.org".to_owned(),
                "NAME   -".to_owned(),
                String::new()
            ]
        );
    }
}
