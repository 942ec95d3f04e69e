//! What whoever operates a verifier is told of tokens that it refuses.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use keyward_verify::{Algorithm, Refusal, VerifyPolicy};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::issuer::{AUDIENCE, ISSUER, Signer, at, claims, claims_with, current, policy};

#[test]
fn a_policy_that_is_wrong_is_warned_of_once_a_minute_and_without_the_token() {
    let signer = Signer::new(Algorithm::EdDsa);
    let token = signer.sign(&claims());
    for policy in [
        VerifyPolicy::new(ISSUER, "https://wrong.example.org"),
        VerifyPolicy::new("https://wrong.example.org", AUDIENCE),
    ] {
        let verifier = current(policy, &[&signer]);
        let log = logged(|| {
            for second in 0..180 {
                for _ in 0..3 {
                    assert_eq!(verifier.verify(&token, at(second)), Err(Refusal::Invalid));
                }
            }
        });
        assert_eq!(log.lines().count(), 3, "{log}");
        for named in ["WARN", ISSUER, AUDIENCE, "https://wrong.example.org"] {
            assert!(log.lines().all(|line| line.contains(named)), "{named}: {log}");
        }
        assert!(token.split('.').all(|part| !log.contains(part)), "{log}");
        assert!(!log.contains("ada@example.org"), "{log}");
    }
}

#[test]
fn what_no_key_of_ours_signed_is_warned_of_by_nobody() {
    let (signer, stranger) = (Signer::new(Algorithm::EdDsa), Signer::new(Algorithm::EdDsa));
    let verifier = current(policy(), &[&signer]);
    let elsewhere = claims_with("aud", json!("https://elsewhere.example.org"));
    let (good, forged) = (signer.sign(&elsewhere), stranger.sign(&elsewhere));
    let signature = forged.rsplit_once('.').expect("three parts").1;
    let swapped = format!("{}.{signature}", good.rsplit_once('.').expect("three parts").0);
    let old = signer.sign(&claims_with("iat", json!(9_000_000_000_i64)));
    let log = logged(|| {
        for (second, token) in (0..).zip([forged.as_str(), &swapped, &old, "a.b.c", ""]) {
            assert_eq!(verifier.verify(token, at(second)), Err(Refusal::Invalid), "{token}");
        }
    });
    assert_eq!(log, "");
}

/// What is logged meanwhile.
fn logged(work: impl FnOnce()) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().expect("no panic").clone();
    String::from_utf8(bytes).expect("text")
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
