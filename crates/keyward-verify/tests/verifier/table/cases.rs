//! The cases, made from fixed keys.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keyward_verify::{Algorithm, VerifyPolicy};
use serde_json::{Map, Value, json};

use crate::attacks;
use crate::issuer::{
    AUDIENCE, ISSUER, NOW, SESSION, Signer, USER, claims, claims_with, decode, key_set,
};

/// The text of the table: a line for each case. Signatures that the table of `before` has are taken
/// from it where making them again would make others.
pub(crate) fn make(keys: &Value, before: &Value) -> String {
    let signers = Signers::read(keys, before);
    let mut cases = accepted(&signers);
    cases.extend(in_time(&signers.eddsa));
    cases.extend(revoked(&signers.eddsa));
    cases.extend(not_current(&signers.eddsa));
    cases.extend(pinned(&signers));
    let Signers { es256, eddsa, strangers, .. } = &signers;
    let mut attacks = attacks::named(es256, eddsa, strangers, "127.0.0.1:1");
    // An empty signature and a good one say enough of a header.
    attacks.retain(|(name, _)| !name.ends_with(attacks::WITH_JUNK));
    cases.extend(attacks.into_iter().map(|(name, token)| Case::new(name, token, "INVALID_TOKEN")));
    let policy = VerifyPolicy::new(ISSUER, AUDIENCE);
    let algorithms: Vec<_> = policy.algorithms.iter().map(|one| one.as_str()).collect();
    let mut text = "{\n".to_owned();
    for (name, value) in [
        ("issuer", json!(ISSUER)),
        ("audience", json!(AUDIENCE)),
        ("algorithms", json!(algorithms)),
        ("leewaySecs", json!(policy.leeway.as_secs())),
        ("stalenessMaxSecs", json!(policy.staleness_max.as_secs())),
        ("keysAgeMaxSecs", json!(policy.keys_age_max.as_secs())),
        ("now", json!(NOW)),
        ("fetchedAt", json!(NOW)),
        ("heardAt", json!(NOW)),
        ("keySet", signers.key_set()),
    ] {
        text.push_str(&format!("\"{name}\": {value},\n"));
    }
    let cases: Vec<_> = cases.into_iter().map(|case| case.line(&signers)).collect();
    let sets: Vec<_> = sets(&signers).iter().map(Value::to_string).collect();
    text.push_str(&format!("\"cases\": [\n{}\n],\n", cases.join(",\n")));
    text.push_str(&format!("\"sets\": [\n{}\n]\n}}\n", sets.join(",\n")));
    text
}

struct Signers {
    es256: Signer,
    eddsa: Signer,
    rs256: Signer,
    strangers: [Signer; 2],
}

impl Signers {
    fn read(keys: &Value, before: &Value) -> Self {
        let signer = |algorithm: Algorithm, name: &str| {
            let secret = STANDARD.decode(keys[name].as_str().expect("text")).expect("base64");
            let cases = before["cases"].as_array().into_iter().flatten();
            let tokens = cases.filter_map(|case| case["token"].as_str());
            Signer::known(algorithm, secret).remembering(tokens)
        };
        Self {
            es256: signer(Algorithm::Es256, "ES256"),
            eddsa: signer(Algorithm::EdDsa, "EdDSA"),
            rs256: signer(Algorithm::Rs256, "RS256"),
            strangers: [
                signer(Algorithm::Es256, "strange ES256"),
                signer(Algorithm::EdDsa, "strange EdDSA"),
            ],
        }
    }

    fn published(&self) -> [&Signer; 3] {
        [&self.es256, &self.eddsa, &self.rs256]
    }

    fn key_set(&self) -> Value {
        serde_json::from_slice(&key_set(&self.published())).expect("JSON")
    }

    /// Whether one of the published keys has signed it: only the issuer can have made it.
    fn have_signed(&self, token: &str) -> bool {
        let Some((signed, signature)) = token.rsplit_once('.') else { return false };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        let mut keys = self.published().into_iter();
        keys.any(|signer| signer.has_signed(signed, &signature))
    }
}

/// A token and what is to be said of it; `more` differs from what the table says for all.
struct Case {
    name: String,
    token: String,
    verdict: &'static str,
    more: Map<String, Value>,
}

impl Case {
    fn new(name: impl Into<String>, token: String, verdict: &'static str) -> Self {
        Self { name: name.into(), token, verdict, more: Map::new() }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    fn line(self, signers: &Signers) -> String {
        let Self { name, token, verdict, more } = self;
        let mut line = json!({
            "name": name,
            "verdict": verdict,
            "signed": signers.have_signed(&token),
            "token": token,
        });
        if verdict == "ACCEPTED" {
            let payload = token.split('.').nth(1).expect("three parts");
            line["claims"] = serde_json::from_slice(&decode(payload)).expect("JSON");
        }
        line.as_object_mut().expect("an object").extend(more);
        line.to_string()
    }
}

fn accepted(signers: &Signers) -> Vec<Case> {
    let mut cases = Vec::new();
    for signer in [&signers.es256, &signers.eddsa] {
        let name = signer.key.algorithm().as_str();
        let mut rich = claims_with("plan", json!({ "name": "Größe L", "seats": [1, 2.5, null] }));
        rich["roles"] = json!(["user", "admin"]);
        for (what, claims) in [
            ("good", claims()),
            ("another of the session", claims_with("roles", json!(["admin"]))),
            ("with claims of the user record", rich),
            ("without roles", claims_with("roles", json!([]))),
        ] {
            cases.push(Case::new(format!("{name}: {what}"), signer.sign(&claims), "ACCEPTED"));
        }
    }
    cases
}

/// `exp` and `iat` to the second.
fn in_time(signer: &Signer) -> Vec<Case> {
    let good = |name: &str, now: i64, verdict| {
        Case::new(name, signer.sign(&claims()), verdict)
            .with("now", json!(NOW + now))
            .with("fetchedAt", json!(NOW + now))
            .with("heardAt", json!(NOW + now))
    };
    let issued = |name: &str, ahead: i64, verdict| {
        Case::new(name, signer.sign(&claims_with("iat", json!(NOW + ahead))), verdict)
    };
    let until = |name: &str, exp: i64, verdict| {
        Case::new(name, signer.sign(&claims_with("exp", json!(NOW + exp))), verdict)
    };
    vec![
        good("time: in the last second", 889, "ACCEPTED"),
        good("time: in the last second of the leeway", 890 + 4, "ACCEPTED"),
        good("time: past the leeway", 890 + 5, "TOKEN_EXPIRED"),
        good("time: a year later", 365 * 86_400, "TOKEN_EXPIRED"),
        issued("time: issued by a clock that is a minute ahead", 65, "ACCEPTED"),
        issued("time: issued by a clock that is further ahead", 66, "INVALID_TOKEN"),
        until("time: ended in the second of its issue", -10, "TOKEN_EXPIRED"),
        until("time: ended before its issue", -11 - 900, "INVALID_TOKEN"),
    ]
}

fn revoked(signer: &Signer) -> Vec<Case> {
    let good = || signer.sign(&claims());
    let session = |sid: &str| json!([{ "sid": sid, "exp": NOW + 905 }]);
    let user = |id: &str, secs: i64| {
        let revoked_at = NOW + secs;
        json!([{ "sub": id, "exp": NOW + 905, "revokedAt": revoked_at }])
    };
    let both = |secs: i64| json!([session(SESSION)[0], user(USER, secs)[0]]);
    let other = "03030303-0303-0303-0303-030303030303";
    let late = NOW + 895;
    let cases = [
        ("its session", "TOKEN_REVOKED", session(SESSION)),
        ("another session", "ACCEPTED", session(other)),
        ("its user's id as a session", "ACCEPTED", session(USER)),
        ("its user, after its issue", "TOKEN_REVOKED", user(USER, 0)),
        ("its user, in the next second", "TOKEN_REVOKED", user(USER, -9)),
        ("its user, in the second of its issue", "ACCEPTED", user(USER, -10)),
        ("its user and session, in the second of its issue", "TOKEN_REVOKED", both(-10)),
        ("its user, before its issue", "ACCEPTED", user(USER, -11)),
        ("another user", "ACCEPTED", user(other, 0)),
    ];
    let mut revoked: Vec<_> = cases
        .into_iter()
        .map(|(what, verdict, revocations)| {
            Case::new(format!("revoked: {what}"), good(), verdict).with("revocations", revocations)
        })
        .collect();
    revoked.push(
        Case::new("revoked: its session, and it has expired", good(), "TOKEN_EXPIRED")
            .with("revocations", session(SESSION))
            .with("now", json!(late))
            .with("fetchedAt", json!(late))
            .with("heardAt", json!(late)),
    );
    for (what, secs, verdict) in [
        ("its user, in the second that it ended in", 0, "TOKEN_REVOKED"),
        ("its user, in the second before it ended", -1, "ACCEPTED"),
    ] {
        let mut claims = claims_with("iat", json!(NOW));
        claims["exp"] = json!(NOW);
        let case = Case::new(format!("revoked: {what}"), signer.sign(&claims), verdict);
        revoked.push(case.with("revocations", user(USER, secs)));
    }
    revoked
}

/// Keys and revocations that are unknown or too old; the clock may have been set back since.
fn not_current(signer: &Signer) -> Vec<Case> {
    let good = |name: &str, what: &str, at: Value, verdict| {
        Case::new(format!("not current: {name}"), signer.sign(&claims()), verdict).with(what, at)
    };
    let (unknown, heard, fetched) = ("STORE_UNAVAILABLE", "heardAt", "fetchedAt");
    let revoked = json!([{ "sid": SESSION, "exp": NOW + 905 }]);
    vec![
        good("never heard", heard, json!(null), unknown),
        good("heard a minute ago", heard, json!(NOW - 60), "ACCEPTED"),
        good("heard longer ago", heard, json!(NOW - 61), unknown),
        good("heard in a minute", heard, json!(NOW + 60), "ACCEPTED"),
        good("heard later than that", heard, json!(NOW + 61), unknown),
        good("known to be revoked", heard, json!(null), "TOKEN_REVOKED")
            .with("revocations", revoked),
        good("no keys", fetched, json!(null), unknown),
        good("keys of an hour ago", fetched, json!(NOW - 3600), "ACCEPTED"),
        good("keys of longer ago", fetched, json!(NOW - 3601), unknown),
        Case::new("not current: junk, never heard", "junk".to_owned(), "INVALID_TOKEN")
            .with(heard, json!(null)),
    ]
}

/// A published key counts where its algorithm is asked for.
fn pinned(signers: &Signers) -> Vec<Case> {
    let mut cases = Vec::new();
    for signer in signers.published() {
        for pin in signers.published() {
            let [of, only] = [signer, pin].map(|signer| signer.key.algorithm().as_str());
            let verdict = if of == only { "ACCEPTED" } else { "INVALID_TOKEN" };
            let name = format!("pinned: {of} where {only} is asked for");
            let case = Case::new(name, signer.sign(&claims()), verdict);
            cases.push(case.with("algorithms", json!([only])));
        }
    }
    let token = signers.rs256.sign(&claims());
    cases.push(Case::new("pinned: RS256 where nobody asked for it", token, "INVALID_TOKEN"));
    cases
}

/// Key sets as texts, and whether a verifier may take them up.
fn sets(signers: &Signers) -> Vec<Value> {
    let (es256, eddsa) = (signers.es256.jwk(), signers.eddsa.jwk());
    let set = |keys: &[Value]| json!({ "keys": keys }).to_string();
    let with = |name: &str, value: Value| {
        let mut jwk = es256.clone();
        jwk[name] = value;
        set(&[eddsa.clone(), jwk])
    };
    let good = set(std::slice::from_ref(&es256));
    let later = json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "later", "pub": "AA" });
    let oct = json!({ "kty": "oct", "alg": "HS256", "kid": "a", "k": "AAAA" });
    let mut sets = vec![
        ("as published", true, signers.key_set().to_string()),
        ("one key", true, good.clone()),
        ("beside one of a later algorithm", true, set(&[es256.clone(), later.clone()])),
        ("key_ops has verify", true, with("key_ops", json!(["verify"]))),
        ("key_ops has only sign", false, with("key_ops", json!(["sign"]))),
        ("use is enc", false, with("use", json!("enc"))),
        ("kid is another key's", false, with("kid", eddsa["kid"].clone())),
        ("kid is no thumbprint", false, with("kid", json!("key-1"))),
        ("alg is another's", false, with("alg", json!("EdDSA"))),
        ("another curve", false, with("crv", json!("P-384"))),
        ("a point off the curve", false, with("y", es256["x"].clone())),
        ("a short coordinate", false, with("x", json!("AA"))),
        ("one key twice", false, set(&[es256.clone(), es256.clone()])),
        ("beside a secret key", false, set(&[es256.clone(), oct])),
        ("only one of a later algorithm", false, set(&[later])),
        ("no keys", false, set(&[])),
        ("keys is no array", false, r#"{"keys":{}}"#.to_owned()),
        ("a key is no object", false, r#"{"keys":[1]}"#.to_owned()),
        ("keys twice", false, good.replacen("{", r#"{"keys":[],"#, 1)),
        ("kty twice", false, good.replace(r#""kty":"EC""#, r#""kty":"EC","kty":"EC""#)),
        ("something behind it", false, format!("{good}x")),
        ("no JSON", false, "<html>".to_owned()),
        ("nothing", false, String::new()),
    ];
    for secret in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        sets.push(("with a secret member", false, with(secret, json!("AA"))));
    }
    sets.into_iter()
        .map(|(name, fits, text)| json!({ "name": name, "fits": fits, "text": text }))
        .collect()
}
