//! Names that say nothing about what a thing is.

use crate::source::{code, functions};
use crate::tree::{Tree, Violation};

/// Types are not called after being a helper; functions are not called after merely being called.
pub(crate) fn names_say_what_a_thing_is(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.rust() {
        for function in functions(file) {
            if let Some(prefix) = PREFIXES.iter().find(|prefix| function.name.starts_with(*prefix))
            {
                let advice = format!("`{}`: `{prefix}` says nothing, name the act", function.name);
                violations.push(file.breach(function.line, advice));
            }
        }
        for (number, line) in file.lines() {
            let code = code(line);
            let Some(name) = type_name(&code) else { continue };
            if let Some(suffix) = SUFFIXES.iter().find(|suffix| name.ends_with(*suffix)) {
                let advice = format!("`{name}`: `{suffix}` says nothing, name the thing");
                violations.push(file.breach(number, advice));
            }
        }
    }
    violations
}

/// The name of the type or trait that a line declares.
fn type_name(code: &str) -> Option<&str> {
    let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.find(|word| matches!(*word, "struct" | "enum" | "trait"))?;
    words.next().filter(|name| !name.is_empty())
}

const PREFIXES: &[&str] = &["process_", "handle_", "do_", "get_"];
const SUFFIXES: &[&str] = &["Manager", "Helper", "Util", "Utils", "Handler", "Service"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::check;

    #[test]
    fn empty_names_are_named() {
        for line in ["fn get_user() {}", "async fn handle_login() {}", "pub struct KeyManager;"] {
            check(names_say_what_a_thing_is, &[("a.rs", line)], &["a.rs:1"]);
        }
        for line in ["pub(crate) enum TokenHelper {", "trait LoginService: Send {"] {
            check(names_say_what_a_thing_is, &[("a.rs", line)], &["a.rs:1"]);
        }
        for line in ["fn find_user() {}", "impl Service<Request> for A {", "// struct Manager"] {
            check(names_say_what_a_thing_is, &[("a.rs", line)], &[]);
        }
    }
}
