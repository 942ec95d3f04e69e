//! Which part may know of which: the borders inside a crate that Cargo cannot hold.

use crate::source::{code, has_word};
use crate::tree::{File, Tree, Violation};

/// SQL and its drivers are the store's; whoever else needs data asks the `Store` trait.
pub(crate) fn sql_drivers_stay_in_the_store(tree: &Tree) -> Vec<Violation> {
    let sources = tree.rust().filter(|file| !file.is_within(STORE));
    let mut violations = lines_with(sources, SQL_DRIVERS, |word| {
        format!("`{word}` is used outside the store: add a use case to the Store trait instead")
    });
    let manifests = tree.files().filter(|file| {
        file.path.starts_with("crates/")
            && file.path.ends_with("/Cargo.toml")
            && !file.is_within(&["crates/keyward/"])
    });
    for file in manifests {
        // What only tests depend on is not shipped.
        let shipped = file.lines().take_while(|(_, line)| *line != "[dev-dependencies]");
        for (number, line) in shipped {
            if let Some(word) = SQL_DRIVERS.iter().find(|word| has_word(line, word)) {
                let advice =
                    format!("only the crate `keyward` depends on `{word}`: remove it here");
                violations.push(file.breach(number, advice));
            }
        }
    }
    violations
}

/// Status codes and the web framework are known in `http/`, to the accept loop and where a verifier
/// asks and answers. Tests may drive a router from outside.
pub(crate) fn web_types_stay_in_http(tree: &Tree) -> Vec<Violation> {
    let inner = tree.rust().filter(|file| {
        file.path.starts_with("crates/") && file.path.contains("/src/") && !file.is_within(WEB)
    });
    let mut violations = Vec::new();
    for file in inner {
        for (number, line) in file.lines() {
            if let Some(word) = web_word(&code(line)) {
                violations.push(file.breach(
                    number,
                    format!("`{word}` is used outside http/: answer with a type of this layer"),
                ));
            }
        }
    }
    violations
}

/// `http` calls `service`, which calls `store`; nobody looks back up.
pub(crate) fn layers_look_down(tree: &Tree) -> Vec<Violation> {
    let advice = |word: &str| format!("`{word}` lies above this layer: let it call, not be called");
    let store = tree.rust().filter(|file| file.is_within(&["crates/keyward/src/store/"]));
    let mut violations = lines_with(store, &["crate::http", "crate::service"], advice);
    let service = tree.rust().filter(|file| file.is_within(SERVICE));
    violations.extend(lines_with(service, &["crate::http"], advice));
    violations
}

/// Services that only verify tokens carry neither the service nor a store.
pub(crate) fn verifiers_need_the_core_alone(tree: &Tree) -> Vec<Violation> {
    let Some(manifest) = tree.find(VERIFIER_MANIFEST) else { return Vec::new() };
    let shipped = manifest.lines().take_while(|(_, line)| *line != "[dev-dependencies]");
    let names = shipped.map(|(number, line)| (number, line.split(['.', ' ', '=']).next()));
    names
        .filter(|(_, name)| name.is_some_and(|name| OF_THE_SERVICE.contains(&name)))
        .map(|(number, _)| manifest.breach(number, "verifiers know the core alone: remove it here"))
        .collect()
}

/// The core computes; time, entropy and data come in as arguments.
pub(crate) fn the_core_touches_nothing(tree: &Tree) -> Vec<Violation> {
    let core = tree.rust().filter(|file| file.is_within(&["crates/keyward-core/src/"]));
    let mut violations = lines_with(core, OUTSIDE_WORLD, |word| {
        format!("`{word}` in the core: take what it yields as an argument")
    });
    let manifest = tree.files().filter(|file| file.path == "crates/keyward-core/Cargo.toml");
    violations.extend(lines_with(manifest, &["tokio", "axum", "tracing"], |word| {
        format!("the core does no I/O and has no use for `{word}`: remove it here")
    }));
    violations
}

/// Every line whose code holds one of the words.
fn lines_with<'a>(
    files: impl Iterator<Item = &'a File>,
    words: &[&str],
    advice: impl Fn(&str) -> String,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files {
        for (number, line) in file.lines() {
            let code = code(line);
            if let Some(word) = words.iter().find(|word| has_word(&code, word)) {
                violations.push(file.breach(number, advice(word)));
            }
        }
    }
    violations
}

/// The web's word in a line of code. Our own module `http` is not the crate of that name.
fn web_word(code: &str) -> Option<&'static str> {
    if let Some(word) = ["axum", "StatusCode"].into_iter().find(|word| has_word(code, word)) {
        return Some(word);
    }
    let is_crate = |(at, _): (usize, &str)| {
        let before = &code[..at];
        !before.ends_with("::") && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    };
    code.match_indices("http::").any(is_crate).then_some("http::")
}

const VERIFIER_MANIFEST: &str = "crates/keyward-verify/Cargo.toml";
const OF_THE_SERVICE: &[&str] = &["keyward", "keyward-server"];

const SQL_DRIVERS: &[&str] =
    &["rusqlite", "tokio_postgres", "tokio-postgres", "deadpool_postgres", "deadpool-postgres"];

/// The store, and the tests that look at its files behind its back.
const STORE: &[&str] = &[
    "crates/keyward/src/store/",
    "crates/keyward/tests/store_",
    "crates/keyward-server/tests/process/place.rs",
];

const SERVICE: &[&str] = &["crates/keyward/src/service/", "crates/keyward/src/service.rs"];

/// `http/`, the accept loop of the server, and what verifiers answer and ask.
const WEB: &[&str] = &[
    "crates/keyward-verify/src/http/",
    "crates/keyward-verify/src/remote/",
    "crates/keyward/src/http/",
    "crates/keyward/src/http.rs",
    "crates/keyward-server/src/serve/",
    "crates/keyward-server/src/serve.rs",
];

const OUTSIDE_WORLD: &[&str] =
    &["tokio", "std::env", "std::fs", "std::net", "std::process", "std::thread", "SystemTime"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::check;

    #[test]
    fn sql_drivers_outside_the_store_are_named() {
        let line = "use rusqlite::Connection;";
        check(
            sql_drivers_stay_in_the_store,
            &[("crates/keyward/src/store/sqlite/a.rs", line)],
            &[],
        );
        check(sql_drivers_stay_in_the_store, &[("a.rs", "// rusqlite\nf(\"rusqlite\");")], &[]);
        let path = "crates/keyward/src/service/a.rs";
        check(sql_drivers_stay_in_the_store, &[(path, line)], &[&format!("{path}:1")]);
        let path = "crates/keyward-server/Cargo.toml";
        let line = "rusqlite.workspace = true";
        check(sql_drivers_stay_in_the_store, &[(path, line)], &[&format!("{path}:1")]);
        let for_tests = format!("[dev-dependencies]\n{line}");
        check(sql_drivers_stay_in_the_store, &[(path, &for_tests)], &[]);
    }

    #[test]
    fn web_types_outside_http_are_named() {
        let path = "crates/keyward/src/service/a.rs";
        for line in ["use axum::Router;", "fn a() -> StatusCode {", "f(http::Method::GET)"] {
            check(web_types_stay_in_http, &[(path, line)], &[&format!("{path}:1")]);
            check(web_types_stay_in_http, &[("crates/keyward/src/http/a.rs", line)], &[]);
            check(web_types_stay_in_http, &[("crates/keyward/tests/a.rs", line)], &[]);
        }
        check(web_types_stay_in_http, &[(path, "use keyward::http::PeerAddress;")], &[]);
        check(web_types_stay_in_http, &[(path, "pub mod http;")], &[]);
    }

    #[test]
    fn looking_up_is_named() {
        let store = "crates/keyward/src/store/memory.rs";
        for line in ["use crate::http::A;", "crate::service::f();"] {
            check(layers_look_down, &[(store, line)], &[&format!("{store}:1")]);
        }
        let service = "crates/keyward/src/service/sessions.rs";
        check(layers_look_down, &[(service, "use crate::http::A;")], &[&format!("{service}:1")]);
        check(layers_look_down, &[(service, "use crate::store::Store;")], &[]);
    }

    #[test]
    fn a_verifier_that_carries_the_service_is_named() {
        for line in ["keyward.workspace = true", "keyward = { path = \"../keyward\" }"] {
            let place = format!("{VERIFIER_MANIFEST}:1");
            check(verifiers_need_the_core_alone, &[(VERIFIER_MANIFEST, line)], &[&place]);
            check(verifiers_need_the_core_alone, &[("crates/a/Cargo.toml", line)], &[]);
            let for_tests = format!("[dev-dependencies]\n{line}");
            check(verifiers_need_the_core_alone, &[(VERIFIER_MANIFEST, &for_tests)], &[]);
        }
        let core = "keyward-core.workspace = true";
        check(verifiers_need_the_core_alone, &[(VERIFIER_MANIFEST, core)], &[]);
    }

    #[test]
    fn a_core_that_reaches_out_is_named() {
        let path = "crates/keyward-core/src/a.rs";
        for line in ["use std::fs;", "use std::net::IpAddr;", "tokio::x()", "SystemTime::now()"] {
            check(the_core_touches_nothing, &[(path, line)], &[&format!("{path}:1")]);
            check(the_core_touches_nothing, &[("crates/keyward/src/a.rs", line)], &[]);
        }
        let path = "crates/keyward-core/Cargo.toml";
        let line = "tokio.workspace = true";
        check(the_core_touches_nothing, &[(path, line)], &[&format!("{path}:1")]);
    }
}
