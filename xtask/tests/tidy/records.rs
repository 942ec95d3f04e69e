//! What others rely on is written down and stays: migrations, audit events, error codes.

use aws_lc_rs::digest::{SHA256, digest};

use crate::source::literals;
use crate::tree::{File, Tree, Violation};

/// A migration that has been applied somewhere is never applied again, so a change in it would
/// reach new databases only. Each is listed with its SHA-256.
pub(crate) fn migrations_do_not_change(tree: &Tree) -> Vec<Violation> {
    let list = tree.find(CHECKSUMS).map_or("", |file| &file.text);
    let listed: Vec<(&str, &str)> = list.lines().filter_map(|line| line.split_once("  ")).collect();
    let mut violations = Vec::new();
    for file in tree.files().filter(|file| is_migration(file)) {
        let (name, actual) = (&file.path[MIGRATIONS.len()..], sha256(&file.text));
        match listed.iter().find(|(_, listed_name)| listed_name == &name) {
            Some((expected, _)) if *expected == actual => {}
            Some(_) => violations.push(file.breach(
                1,
                "changed since it was listed: restore it and add a new migration instead",
            )),
            None => {
                violations.push(file.breach(1, format!("add `{actual}  {name}` to {CHECKSUMS}")));
            }
        }
    }
    violations.extend(listed.iter().filter(|(_, name)| !is_there(tree, name)).map(|(_, name)| {
        Violation {
            path: CHECKSUMS.into(),
            line: 1,
            advice: format!("`{name}` is listed but gone: databases may still need it, restore it"),
        }
    }));
    violations
}

/// Every audit event has its row in `docs/audit.md`, and every row its event.
pub(crate) fn audit_events_are_documented(tree: &Tree) -> Vec<Violation> {
    let Some(source) = tree.find(AUDIT_SOURCE) else { return Vec::new() };
    let names = source.text.split_once("event_names! {\n").map_or("", |(_, rest)| rest);
    let names: Vec<&str> =
        literals(names.split_once("\n}").map_or("", |(names, _)| names)).collect();
    if names.is_empty() {
        return vec![
            source.breach(1, "`event_names!` is not here any more: tell the tidy test where"),
        ];
    }
    let mut violations = undocumented(tree, source, &names, AUDIT_DOCUMENT);
    if let Some(document) = tree.find(AUDIT_DOCUMENT) {
        for (number, line) in document.lines() {
            let row = line.strip_prefix("| `").and_then(|row| row.split_once('`'));
            if let Some((name, _)) = row.filter(|(name, _)| is_event(name) && !names.contains(name))
            {
                violations.push(document.breach(number, format!("no event is called `{name}`")));
            }
        }
    }
    violations
}

/// Every error code that a client can see stands in `docs/http.md`.
pub(crate) fn error_codes_are_documented(tree: &Tree) -> Vec<Violation> {
    let Some(source) = tree.find(ERROR_SOURCE) else { return Vec::new() };
    let codes: Vec<&str> =
        source.text.lines().flat_map(literals).filter(|text| is_code(text)).collect();
    if codes.is_empty() {
        return vec![source.breach(1, "no error code is here any more: tell the tidy test where")];
    }
    undocumented(tree, source, &codes, HTTP_DOCUMENT)
}

/// The names that a document does not hold between backquotes, each once.
fn undocumented(tree: &Tree, source: &File, names: &[&str], document: &str) -> Vec<Violation> {
    let text = tree.find(document).map_or("", |file| &file.text);
    let mut missing: Vec<_> =
        names.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
        .into_iter()
        .map(|name| {
            let line = source.lines().find(|(_, line)| line.contains(&format!("\"{name}\"")));
            let number = line.map_or(1, |(number, _)| number);
            source.breach(number, format!("`{name}` is not in {document}: describe it there"))
        })
        .collect()
}

fn is_migration(file: &File) -> bool {
    file.is_within(&[MIGRATIONS]) && file.path != CHECKSUMS
}

fn is_there(tree: &Tree, name: &str) -> bool {
    tree.files().any(|file| file.path.strip_prefix(MIGRATIONS) == Some(name))
}

/// Whether a name is written the way events are called: by what, and what happened to it.
fn is_event(name: &str) -> bool {
    name.contains('.')
}

/// Whether a literal is written the way error codes are.
fn is_code(text: &str) -> bool {
    text.len() >= 4
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn sha256(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

const MIGRATIONS: &str = "crates/keyward/migrations/";
const CHECKSUMS: &str = "crates/keyward/migrations/CHECKSUMS";
const AUDIT_SOURCE: &str = "crates/keyward-core/src/audit/kind.rs";
const AUDIT_DOCUMENT: &str = "docs/audit.md";
const ERROR_SOURCE: &str = "crates/keyward/src/http/error/table.rs";
const HTTP_DOCUMENT: &str = "docs/http.md";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::check;

    const FIRST: &str = "crates/keyward/migrations/sqlite/0001_first.sql";

    #[test]
    fn migrations_are_listed_with_their_hash_and_stay() {
        let listed = format!("{}  sqlite/0001_first.sql\n", sha256("SELECT 1;"));
        check(migrations_do_not_change, &[(FIRST, "SELECT 1;"), (CHECKSUMS, &listed)], &[]);
        let unlisted = [(FIRST, "SELECT 1;")];
        check(migrations_do_not_change, &unlisted, &[&format!("{FIRST}:1")]);
        let changed = [(FIRST, "SELECT 2;"), (CHECKSUMS, &*listed)];
        check(migrations_do_not_change, &changed, &[&format!("{FIRST}:1")]);
        let gone = [(CHECKSUMS, &*listed)];
        check(migrations_do_not_change, &gone, &[&format!("{CHECKSUMS}:1")]);
    }

    #[test]
    fn the_hash_is_the_one_that_sha256sum_prints() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(""), empty);
    }

    #[test]
    fn an_event_without_a_row_and_a_row_without_an_event_are_named() {
        let source = (AUDIT_SOURCE, "event_names! {\n    A = \"a.b\",\n    C = \"c.d\",\n}\n");
        let full = (AUDIT_DOCUMENT, "| `a.b` | when |\n| `c.d` | when |\n| `id` | a member |");
        check(audit_events_are_documented, &[source, full], &[]);
        let short = (AUDIT_DOCUMENT, "| `a.b` | when |");
        check(audit_events_are_documented, &[source, short], &[&format!("{AUDIT_SOURCE}:3")]);
        let long = (AUDIT_DOCUMENT, "| `a.b` | x |\n| `c.d` | x |\n| `e.f` | x |");
        check(audit_events_are_documented, &[source, long], &[&format!("{AUDIT_DOCUMENT}:3")]);
        let moved = (AUDIT_SOURCE, "\n");
        check(audit_events_are_documented, &[moved, full], &[&format!("{AUDIT_SOURCE}:1")]);
    }

    #[test]
    fn an_error_code_that_is_not_documented_is_named() {
        let source = (ERROR_SOURCE, "A => \"NO_TOKEN\",\nB => \"INTERNAL\",\n\"Bearer\"\n");
        let document = (HTTP_DOCUMENT, "`NO_TOKEN` and `INTERNAL`");
        check(error_codes_are_documented, &[source, document], &[]);
        check(error_codes_are_documented, &[document], &[]);
        let document = (HTTP_DOCUMENT, "`NO_TOKEN`");
        check(error_codes_are_documented, &[source, document], &[&format!("{ERROR_SOURCE}:2")]);
        let moved = (ERROR_SOURCE, "\n");
        check(error_codes_are_documented, &[moved, document], &[&format!("{ERROR_SOURCE}:1")]);
    }
}
