//! What a verdict costs, over the table that verifiers in every language share.

use std::collections::BTreeSet;
use std::hash::RandomState;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::*;
use crate::keys::{SIGNATURE_CHECKS, read_jwk_set};

/// Nobody can have signatures checked by what is not even of the form of our tokens; and whatever
/// is, costs one check, or none where it was good before.
#[test]
fn no_signature_is_checked_that_need_not_be() {
    let table: Value = serde_json::from_str(TABLE).expect("JSON");
    let (mut spared, mut checked, mut remembered) = (0, 0, 0);
    for case in table["cases"].as_array().expect("cases") {
        let (name, token) = (&case["name"], text(&case["token"]));
        let now = case["now"].as_i64().or_else(|| table["now"].as_i64()).expect("seconds");
        let (verified, headers) = verifier(&table, case);
        let check = || {
            let before = SIGNATURE_CHECKS.get();
            let verdict = verified.verify(token, Timestamp::from_secs(now));
            (verdict.is_ok(), SIGNATURE_CHECKS.get() - before)
        };
        let is_of_our_form = is_of_our_form(token, &headers);
        let (is_good, checks) = check();
        assert_eq!(checks, usize::from(is_of_our_form), "{name}");
        assert_eq!(check(), (is_good, usize::from(is_of_our_form && !is_good)), "{name}, again");
        spared += usize::from(!is_of_our_form);
        checked += usize::from(is_of_our_form && !is_good);
        remembered += usize::from(is_good);
    }
    assert!(spared > 350 && checked > 200 && remembered > 30, "{spared} {checked} {remembered}");
}

/// Three parts, not too long, under the very header of a key that counts, with bytes as signature.
fn is_of_our_form(token: &str, headers: &BTreeSet<String>) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    token.len() <= 4096
        && parts.len() == 3
        && headers.contains(parts[0])
        && URL_SAFE_NO_PAD.decode(parts[2]).is_ok()
}

/// A verifier of the published keys that count in this case, and what their tokens begin with.
fn verifier(table: &Value, case: &Value) -> (VerifiedTokens, BTreeSet<String>) {
    let names = case.get("algorithms").unwrap_or(&table["algorithms"]);
    let names = names.as_array().expect("names").iter();
    let algorithms: Vec<_> =
        names.map(|name| Algorithm::from_name(text(name)).expect("an algorithm")).collect();
    let keys = read_jwk_set(table["keySet"].to_string().as_bytes(), &algorithms);
    let keys = keys.expect("a good set");
    let headers = keys.iter().map(|key| key.header().to_owned()).collect();
    let leeway = Duration::from_secs(table["leewaySecs"].as_u64().expect("seconds"));
    let [issuer, audience] = ["issuer", "audience"].map(|name| text(&table[name]).to_owned());
    let expected = ExpectedClaims { issuer, audience, leeway };
    (VerifiedTokens::new(Verifier::new(keys, expected), 10, RandomState::new()), headers)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

const TABLE: &str = include_str!("../../../../tests/cases/access-tokens.json");
