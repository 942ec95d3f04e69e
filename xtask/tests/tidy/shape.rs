//! How long lines, files and functions may be.

use crate::source::{Function, functions};
use crate::tree::{File, Tree, Violation};

/// Lines of source are at most 100 columns wide.
pub(crate) fn lines_are_short(tree: &Tree) -> Vec<Violation> {
    let breach = |file: &File, number, line: &str| {
        let columns = line.chars().count();
        (columns > LINE_COLUMNS_MAX).then(|| {
            file.breach(
                number,
                format!("{columns} columns: break the line at {LINE_COLUMNS_MAX} or before"),
            )
        })
    };
    sources(tree)
        .flat_map(|file| file.lines().filter_map(move |(number, line)| breach(file, number, line)))
        .collect()
}

/// Files of source have at most 500 lines.
pub(crate) fn files_are_short(tree: &Tree) -> Vec<Violation> {
    sources(tree)
        .filter(|file| file.text.lines().count() > FILE_LINES_MAX)
        .map(|file| {
            let advice = format!("over {FILE_LINES_MAX} lines: split the file along an idea");
            file.breach(FILE_LINES_MAX + 1, advice)
        })
        .collect()
}

/// No function is longer than 70 lines, its signature included.
pub(crate) fn functions_are_short(tree: &Tree) -> Vec<Violation> {
    longer_than(FUNCTION_LINES_MAX, tree.rust(), |_| true)
}

/// Nine of ten functions have at most 33 lines. Names those above where the share is exceeded.
pub(crate) fn nine_of_ten_functions_fit_a_screen(tree: &Tree) -> Vec<Violation> {
    let all: usize = tree.rust().map(|file| functions(file).len()).sum();
    let long = longer_than(MOST_FUNCTION_LINES_MAX, tree.rust(), |_| true);
    if long.len() * 10 > all { long } else { Vec::new() }
}

/// A route's function reads its arguments, asks the service and answers; it decides nothing.
pub(crate) fn handlers_are_thin(tree: &Tree) -> Vec<Violation> {
    let routes = tree.rust().filter(|file| file.is_within(ROUTES));
    longer_than(HANDLER_LINES_MAX, routes, |function| function.is_async)
}

fn longer_than<'a>(
    lines_max: usize,
    files: impl Iterator<Item = &'a File>,
    applies: fn(&Function<'_>) -> bool,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files {
        for function in functions(file) {
            if function.length > lines_max && applies(&function) {
                let Function { name, line, length, .. } = function;
                let advice = format!("`{name}` has {length} lines of {lines_max}: give it less");
                violations.push(file.breach(line, advice));
            }
        }
    }
    violations
}

/// The files whose shape counts.
fn sources(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files().filter(|file| file.path.ends_with(".rs") || file.path.ends_with(".ts"))
}

const LINE_COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const MOST_FUNCTION_LINES_MAX: usize = 33;
const HANDLER_LINES_MAX: usize = 25;

/// Where the functions are that axum calls for a route.
const ROUTES: &[&str] = &["crates/keyward/src/http/routes"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::check;

    /// A function of so many lines.
    fn function(head: &str, lines: usize) -> String {
        format!("{head} {{\n{}}}\n", "    step();\n".repeat(lines - 2))
    }

    #[test]
    fn a_line_over_100_columns_is_named() {
        let (fits, too_long) = ("ä".repeat(100), "ä".repeat(101));
        check(lines_are_short, &[("a.rs", &fits), ("b.ts", &fits), ("c.md", &too_long)], &[]);
        check(lines_are_short, &[("a.rs", &format!("\n{too_long}"))], &["a.rs:2"]);
        check(lines_are_short, &[("a.ts", &too_long)], &["a.ts:1"]);
    }

    #[test]
    fn a_file_over_500_lines_is_named() {
        check(files_are_short, &[("a.rs", &"\n".repeat(500))], &[]);
        check(files_are_short, &[("a.rs", &"\n".repeat(501))], &["a.rs:501"]);
    }

    #[test]
    fn a_function_over_70_lines_is_named() {
        check(functions_are_short, &[("a.rs", &function("fn a()", 70))], &[]);
        check(functions_are_short, &[("a.rs", &function("fn a()", 71))], &["a.rs:1"]);
    }

    #[test]
    fn one_of_ten_functions_may_be_longer_than_33_lines() {
        let short = function("fn a()", 33).repeat(9);
        let long = function("fn b()", 34);
        check(nine_of_ten_functions_fit_a_screen, &[("a.rs", &short), ("b.rs", &long)], &[]);
        check(
            nine_of_ten_functions_fit_a_screen,
            &[("a.rs", &short), ("b.rs", &long.repeat(2))],
            &["b.rs:1", "b.rs:35"],
        );
    }

    #[test]
    fn a_handler_over_25_lines_is_named() {
        let handler = function("async fn a()", 26);
        check(handlers_are_thin, &[("crates/keyward/src/service/a.rs", &handler)], &[]);
        let path = "crates/keyward/src/http/routes/a.rs";
        check(handlers_are_thin, &[(path, &function("async fn a()", 25))], &[]);
        check(handlers_are_thin, &[(path, &function("fn a()", 26))], &[]);
        check(handlers_are_thin, &[(path, &handler)], &[&format!("{path}:1")]);
        let path = "crates/keyward/src/http/routes.rs";
        check(handlers_are_thin, &[(path, &handler)], &[&format!("{path}:1")]);
    }
}
