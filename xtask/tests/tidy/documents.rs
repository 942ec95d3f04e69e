//! What a document points at is there: files, headings and tests; and the map has every module.

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

/// Every module at the top of a crate stands in the map, under the heading of its crate.
pub(crate) fn the_map_has_every_module(tree: &Tree) -> Vec<Violation> {
    let map = tree.find(MAP).map_or("", |file| &file.text);
    let mut violations = Vec::new();
    for file in tree.rust() {
        let Some((folder, module)) = top_module(&file.path) else { continue };
        let is_named = |line| quoted(line).any(|name| is_module(name, module));
        if !section(map, folder).lines().any(is_named) {
            let advice = format!("`{module}` is not in {MAP} under `{folder}`: say what it is");
            violations.push(file.breach(1, advice));
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

/// The folder of a crate, and the module at its top that a path is the beginning of.
fn top_module(path: &str) -> Option<(&str, &str)> {
    let at = path.find("/src/").filter(|_| path.starts_with("crates/"))?;
    let (folder, file) = (&path[..at], &path[at + "/src/".len()..]);
    let module = file.strip_suffix("/mod.rs").or_else(|| file.strip_suffix(".rs"))?;
    (!module.contains('/') && !["lib", "main"].contains(&module)).then_some((folder, module))
}

/// What stands under the heading of a folder, up to the next heading.
fn section<'a>(map: &'a str, folder: &str) -> &'a str {
    let heading = format!("### `{folder}`\n");
    let text = map.split_once(&heading).map_or("", |(_, text)| text);
    text.split_once("\n#").map_or(text, |(text, _)| text)
}

/// Whether a module is meant, with or without the ending of its file or the slash of its folder.
fn is_module(name: &str, module: &str) -> bool {
    let name = name.strip_suffix(".rs").or_else(|| name.strip_suffix('/')).unwrap_or(name);
    name == module
}

const MAP: &str = "ARCHITECTURE.md";
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
    #[test]
    fn a_module_stands_under_its_crate() {
        let modules = [
            ("crates/a/src/lib.rs", ""),
            ("crates/a/src/one.rs", ""),
            ("crates/a/src/one/deep.rs", ""),
            ("crates/a/src/two/mod.rs", ""),
        ];
        let with = |map| [modules.as_slice(), &[(MAP, map)]].concat();
        let good = "### `crates/a`\n`one.rs` and `two/`.\n### `crates/b`\n";
        check(the_map_has_every_module, &with(good), &[]);
        let bad = "`one`\n### `crates/a`\n`two`, one\n### `crates/b`\n`one`\n";
        check(the_map_has_every_module, &with(bad), &["crates/a/src/one.rs:1"]);
    }
}
