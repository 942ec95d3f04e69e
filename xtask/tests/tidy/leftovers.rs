//! What must not stay behind: work put off, and tests that are not run.

use crate::source::{code, has_word};
use crate::tree::{Tree, Violation};

/// No marker of work put off, in any text of the tree.
pub(crate) fn nothing_is_left_for_later(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.files() {
        for (number, line) in file.lines() {
            if let Some(marker) = MARKERS.iter().find(|marker| has_word(line, marker)) {
                let advice = format!("`{marker}`: do it now, or open an issue and remove it");
                violations.push(file.breach(number, advice));
            }
        }
    }
    violations
}

/// A test that is not run proves nothing; neither does an example that is not compiled.
pub(crate) fn no_test_is_ignored(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.rust() {
        for (number, line) in file.lines() {
            let is_example = line.trim_start().starts_with("//") && line.contains("```ignore");
            if is_example || code(line).contains("#[ignore") {
                violations.push(file.breach(number, "ignored: mend the test or remove it"));
            }
        }
    }
    violations
}

/// In two parts each, so that this file does not name itself.
const MARKERS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::check;

    #[test]
    fn markers_are_named_in_any_file() {
        for marker in MARKERS {
            for path in ["a.rs", "a.sql", "a.md", "Cargo.toml"] {
                let text = format!("\nsome words {marker}: more words");
                check(nothing_is_left_for_later, &[(path, &text)], &[&format!("{path}:2")]);
            }
            check(nothing_is_left_for_later, &[("a.rs", &format!("{marker}S and S{marker}"))], &[]);
        }
    }

    #[test]
    fn ignored_tests_and_examples_are_named() {
        check(no_test_is_ignored, &[("a.rs", "#[test]\n#[ignore]\nfn a() {}")], &["a.rs:2"]);
        check(no_test_is_ignored, &[("a.rs", "#[ignore = \"slow\"]")], &["a.rs:1"]);
        check(no_test_is_ignored, &[("a.rs", "/// ```ignore")], &["a.rs:1"]);
        check(no_test_is_ignored, &[("a.rs", "/// ```text\nlet ignored = 1;")], &[]);
    }
}
