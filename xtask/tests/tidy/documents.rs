//! What a document points at is there: files, headings and tests.

use crate::tree::{File, Tree, Violation};

/// Every link within the repository leads to a file, and to a heading where it names one.
pub(crate) fn links_lead_somewhere(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for document in documents(tree) {
        for (number, line) in document.lines() {
            for link in links(line).filter(|link| !link.contains(':')) {
                if !leads_somewhere(tree, document, link) {
                    violations.push(document.breach(number, format!("`{link}` leads nowhere")));
                }
            }
        }
    }
    violations
}

/// Every test that a document names as `file::test` is there. `file` is the file's name without its
/// ending, or its folder's where it is called `main`, `mod` or `tests`.
pub(crate) fn named_tests_are_there(tree: &Tree) -> Vec<Violation> {
    let Some(document) = tree.find(THREAT_MODEL) else { return Vec::new() };
    let mut violations = Vec::new();
    for (number, line) in document.lines() {
        for (file, test) in quoted(line).filter_map(|name| name.split_once("::")) {
            let function = format!("fn {test}(");
            let is_there =
                |source: &File| is_called(source, file) && source.text.contains(&function);
            if !tree.rust().any(is_there) {
                violations.push(document.breach(number, format!("no test `{file}::{test}`")));
            }
        }
    }
    violations
}

fn documents(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files().filter(|file| file.path.ends_with(".md"))
}

fn leads_somewhere(tree: &Tree, from: &File, link: &str) -> bool {
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { from.path.clone() } else { resolve(&from.path, path) };
    let folder = format!("{}/", target.trim_end_matches('/'));
    match tree.find(&target) {
        Some(file) => heading.is_empty() || headings(file).any(|anchor| anchor == heading),
        None => heading.is_empty() && tree.files().any(|file| file.path.starts_with(&folder)),
    }
}

/// A path as seen from the folder of a document, from the root of the repository.
fn resolve(document: &str, path: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The targets of a line's links.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
}

/// What stands between backquotes.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The anchors of a document's headings, as the usual renderers make them.
fn headings(document: &File) -> impl Iterator<Item = String> {
    let lines = document.text.lines().filter(|line| line.starts_with('#'));
    lines.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    })
}

fn is_called(source: &File, name: &str) -> bool {
    let path = source.path.strip_suffix(".rs").unwrap_or(&source.path);
    let folder = ["/main", "/mod", "/tests"].iter().find_map(|name| path.strip_suffix(name));
    let path = folder.unwrap_or(path);
    path.rsplit('/').next() == Some(name)
}

const THREAT_MODEL: &str = "docs/threat-model.md";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::check;

    #[test]
    fn a_link_needs_a_file_a_folder_or_a_heading() {
        let target = ("docs/a.md", "# One `two` three\n[up](../README.md) [here](#one-two-three)");
        let good = "[a](docs/a.md#one-two-three) [docs](docs) [docs](docs/)\n[web](https://a.b/c)";
        check(links_lead_somewhere, &[target, ("README.md", good)], &[]);
        let bad = "[a](docs/b.md)\n[a](docs/a.md#four)\n[a](#one)";
        let places = ["README.md:1", "README.md:2", "README.md:3"];
        check(links_lead_somewhere, &[("README.md", bad), target], &places);
    }

    #[test]
    fn a_test_that_is_not_there_is_named() {
        let source = ("crates/a/tests/story.rs", "async fn a_thief_is_seen() {}");
        let folder = ("crates/a/tests/input/main.rs", "fn junk_is_refused() {}");
        let good =
            (THREAT_MODEL, "`story::a_thief_is_seen`, `keyward drill`\n`input::junk_is_refused`");
        check(named_tests_are_there, &[source, folder, good], &[]);
        let bad = (THREAT_MODEL, "`story::a_thief_is_seen`\n`input::a_thief_is_seen`");
        check(named_tests_are_there, &[source, folder, bad], &[&format!("{THREAT_MODEL}:2")]);
    }
}
