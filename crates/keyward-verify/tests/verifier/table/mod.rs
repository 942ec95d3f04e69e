//! The table that verifiers in every language run, in `tests/cases`: that ours gives its verdicts,
//! and that it is what `cases` makes of the keys beside it.

mod cases;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use keyward_core::keys::read_jwk_set;
use keyward_verify::{Algorithm, Revocation, RevokedSubject, Timestamp, Verifier, VerifyPolicy};
use serde_json::Value;

#[test]
fn every_case_has_the_verdict_of_the_table() {
    let table = table();
    let cases = table["cases"].as_array().expect("cases");
    assert!(cases.len() > 500, "{}", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| text(&case["name"])).collect();
    assert_eq!(names.len(), cases.len(), "a name is one case's");
    for case in cases {
        let verifier = verifier(&table, case);
        let (token, now) = (text(&case["token"]), time(&case["now"], &table["now"]));
        // The second time it may be remembered.
        for _ in 0..2 {
            let (verdict, claims) = match verifier.verify(token, now) {
                Ok(claims) => ("ACCEPTED", serde_json::to_value(&*claims).expect("JSON")),
                Err(refusal) => (refusal.code(), Value::Null),
            };
            assert_eq!(verdict, case["verdict"], "{}", case["name"]);
            assert_eq!(claims, case["claims"], "{}", case["name"]);
        }
    }
}

#[test]
fn every_key_set_is_taken_or_refused_as_the_table_says() {
    let table = table();
    let sets = table["sets"].as_array().expect("sets");
    assert!(sets.len() > 20, "{}", sets.len());
    for set in sets {
        let keys = read_jwk_set(text(&set["text"]).as_bytes(), &algorithms(&table["algorithms"]));
        let fits = keys.is_ok_and(|keys| !keys.is_empty());
        assert_eq!(fits, set["fits"], "{}", set["name"]);
    }
}

/// Whoever changes the cases finds the new table in the target folder, and looks at the difference.
#[test]
fn the_table_is_what_its_cases_make() {
    let made = cases::make(&keys(), &table());
    if made != fs::read_to_string(folder().join(TABLE)).expect("the table is there") {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(TABLE);
        fs::write(&path, made).expect("the target folder can be written to");
        panic!("the cases make another table: compare tests/cases/{TABLE} with {path:?}, copy it");
    }
}

/// A verifier as the case, or else the table, describes it.
fn verifier(table: &Value, case: &Value) -> Verifier {
    let either = |name: &str| case.get(name).unwrap_or(&table[name]).clone();
    let mut policy = VerifyPolicy::new(text(&table["issuer"]), text(&table["audience"]));
    policy.algorithms = algorithms(&either("algorithms"));
    assert_eq!(policy.leeway.as_secs(), table["leewaySecs"]);
    assert_eq!(policy.staleness_max.as_secs(), table["stalenessMaxSecs"]);
    assert_eq!(policy.keys_age_max.as_secs(), table["keysAgeMaxSecs"]);
    let verifier = Verifier::new(policy);
    if let Some(fetched_at) = moment(&either("fetchedAt")) {
        let set = table["keySet"].to_string();
        verifier.take_up_keys(set.as_bytes(), fetched_at).expect("a good set");
    }
    for data in case["revocations"].as_array().into_iter().flatten() {
        let taken_in = verifier.revocations().take_in(revocation(data), time(&table["now"], data));
        taken_in.expect("there is room");
    }
    if let Some(heard_at) = moment(&either("heardAt")) {
        verifier.revocations().hear(heard_at);
    }
    verifier
}

fn revocation(data: &Value) -> Revocation {
    let exp = data["exp"].as_i64().expect("seconds");
    let subject = if let Some(sid) = data["sid"].as_str() {
        RevokedSubject::Session(sid.parse().expect("an id"))
    } else {
        let id = text(&data["sub"]).parse().expect("an id");
        RevokedSubject::User { id, revoked_at: data["revokedAt"].as_i64().expect("seconds") }
    };
    Revocation { subject, exp }
}

/// The first of both that is a number, as a time.
fn time(value: &Value, otherwise: &Value) -> Timestamp {
    moment(value).or_else(|| moment(otherwise)).expect("seconds")
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_i64().map(Timestamp::from_secs)
}

fn algorithms(names: &Value) -> Vec<Algorithm> {
    let names = names.as_array().expect("names").iter();
    names.map(|name| Algorithm::from_name(text(name)).expect("an algorithm")).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn table() -> Value {
    read(TABLE)
}

fn keys() -> Value {
    read("keys.json")
}

fn read(name: &str) -> Value {
    let bytes = fs::read(folder().join(name)).expect("the file is part of the repository");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases")
}

const TABLE: &str = "access-tokens.json";
