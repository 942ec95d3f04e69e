//! A rough reading of Rust, line by line. It leans on rustfmt, which puts the brace that closes a
//! function under the word that began it.

use crate::tree::File;

/// A function, from its first line to its closing brace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_async: bool,
    /// Number of its first line.
    pub(crate) line: usize,
    /// How many lines it has, the first and the last included.
    pub(crate) length: usize,
}

/// Every function with a body, nested ones too.
pub(crate) fn functions(file: &File) -> Vec<Function<'_>> {
    let lines: Vec<&str> = file.text.lines().collect();
    (0..lines.len())
        .filter_map(|index| {
            let (name, is_async) = signature(lines[index].trim_start())?;
            let length = function_length(&lines[index..])?;
            Some(Function { name, is_async, line: index + 1, length })
        })
        .collect()
}

/// What a line says once its comment and the insides of its string literals are gone.
pub(crate) fn code(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        code.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("//") {
            return code;
        }
        let skipped = match rest.as_bytes()[0] {
            b'"' => string_length(rest),
            // A quote character would open a string that never ends.
            b'\'' if rest.starts_with("'\"'") => 3,
            _ => {
                code.push_str(&rest[..1]);
                1
            }
        };
        rest = &rest[skipped..];
    }
    code + rest
}

/// Whether `word` stands in `text` on its own, not as part of a longer name.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_name_part) && !after.is_some_and(is_name_part)
    })
}

/// The string literals of a text, without their quotes. Escaped quotes are not understood.
pub(crate) fn literals(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// The name behind `fn`, and whether the function is async, where a line begins a function.
fn signature(line: &str) -> Option<(&str, bool)> {
    let (qualifiers, rest) = line.split_once("fn ")?;
    let mut is_async = false;
    for word in qualifiers.split_whitespace() {
        match word {
            "async" => is_async = true,
            "const" | "default" | "extern" | "pub" | "unsafe" | "\"C\"" => {}
            _ if word.starts_with("pub(") => {}
            _ => return None,
        }
    }
    let end = rest.find(|c| !is_name_part(c))?;
    (end > 0).then_some((&rest[..end], is_async))
}

/// How many lines the function has that the first line begins. `None` for a mere declaration.
fn function_length(lines: &[&str]) -> Option<usize> {
    let opening = lines.iter().position(|line| line.ends_with(['{', '}', ';']))?;
    match lines[opening].chars().next_back() {
        Some('{') => {}
        Some('}') => return Some(opening + 1),
        _ => return None,
    }
    let indent = lines[0].len() - lines[0].trim_start().len();
    let closing = lines.iter().position(|line| {
        line.len() == indent + 1 && line.ends_with('}') && line[..indent].trim().is_empty()
    })?;
    Some(closing + 1)
}

/// The length of the string literal that begins `text`, its quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_name_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_functions(text: &str, expected: &[(&str, bool, usize, usize)]) {
        let file = File { path: "a.rs".into(), text: text.into() };
        let found: Vec<_> = functions(&file)
            .iter()
            .map(|function| (function.name, function.is_async, function.line, function.length))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn functions_are_measured_from_signature_to_brace() {
        check_functions("fn a() {\n    b();\n}\n", &[("a", false, 1, 3)]);
        check_functions("impl A {\n    pub const fn a() {}\n}\n", &[("a", false, 2, 1)]);
        check_functions(
            "pub(crate) async fn a(\n    b: u8,\n) {\n    if b {\n    }\n}\n",
            &[("a", true, 1, 6)],
        );
        check_functions("fn a()\nwhere\n    B: C,\n{\n    b\n}\n", &[("a", false, 1, 6)]);
        check_functions(
            "fn a() {\n    fn b() {\n    }\n}\n",
            &[("a", false, 1, 4), ("b", false, 2, 2)],
        );
    }

    #[test]
    fn declarations_and_types_are_no_functions() {
        check_functions("trait A {\n    fn a(&self);\n    async fn b(\n    ) -> C;\n}\n", &[]);
        check_functions("struct A {\n    run: fn () -> u8,\n}\n// fn a() {\n// }\n", &[]);
    }

    #[test]
    fn code_is_what_is_left_without_comments_and_strings() {
        assert_eq!(code("use a; // b"), "use a; ");
        assert_eq!(code(r#"f("a // b", c) / d"#), "f(, c) / d");
        assert_eq!(code(r#"f("a\"b", 'x', '"')"#), "f(, 'x', )");
        assert_eq!(code("/// doc"), "");
    }

    #[test]
    fn words_stand_alone() {
        assert!(has_word("use axum::Router", "axum"));
        assert!(!has_word("use axum_core::Body", "axum"));
        assert!(!has_word("MyStatusCode", "StatusCode"));
    }

    #[test]
    fn literals_are_taken_in_order() {
        assert_eq!(literals(r#"["a", "b_c"]"#).collect::<Vec<_>>(), ["a", "b_c"]);
    }
}
