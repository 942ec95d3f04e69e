//! Measures keyward-verify beside the bare cryptography and two other makes.
//!
//! Every figure is CPU time of the thread that does the work, as the median over rounds in which
//! all of them take turns: shared machines are noisy, and ratios within one round are not.

mod cpu;
mod routes;

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_bench_peers::{Issuer, id, now};
use keyward_verify::{Algorithm, Revocation, RevokedSubject, SessionId, Verifier};

use cpu::{median, nanos_each};

fn main() -> io::Result<()> {
    for (name, algorithm) in [("ES256", Algorithm::Es256), ("EdDSA", Algorithm::EdDsa)] {
        first(name, &Issuer::new(algorithm))?;
    }
    seen()?;
    revoked()?;
    routes::compare()
}

/// A token that was never seen: nearly all of it is the signature check.
fn first(name: &str, issuer: &Issuer) -> io::Result<()> {
    let mut rounds: [Vec<f64>; 4] = Default::default();
    for round in 0..ROUNDS {
        let tokens: Vec<String> = (0..2000).map(|n| issuer.token(round * 2000 + n)).collect();
        let parts: Vec<(&str, Vec<u8>)> = tokens.iter().map(|token| split(token)).collect();
        let verifier = issuer.verifier(10_000, 1);
        let now = now();
        rounds[0].push(nanos_each(&parts, |(message, signature)| {
            issuer.bare.verify_sig(message.as_bytes(), signature).is_ok()
        }));
        rounds[1].push(nanos_each(&tokens, |token| verifier.verify(token, now).is_ok()));
        rounds[2].push(nanos_each(&tokens, |token| issuer.jsonwebtoken_accepts(token)));
        rounds[3].push(nanos_each(&tokens[..500], |token| issuer.jwt_simple_accepts(token)));
    }
    let ratios = rounds[1].iter().zip(&rounds[0]).map(|(ours, bare)| ours / bare).collect();
    let [bare, ours, jsonwebtoken, jwt_simple] = rounds.map(median);
    say(&format!("{name}, signature check alone        {:8.1} µs", bare / 1e3))?;
    say(&format!("{name}, keyward-verify, first time   {:8.1} µs", ours / 1e3))?;
    say(&format!("{name}, first time / check alone     {:8.2}", median(ratios)))?;
    say(&format!("{name}, jsonwebtoken                 {:8.1} µs", jsonwebtoken / 1e3))?;
    say(&format!("{name}, jwt-simple                   {:8.1} µs", jwt_simple / 1e3))
}

/// Tokens that were seen before, revocation asked for each time.
fn seen() -> io::Result<()> {
    let issuer = Issuer::new(Algorithm::Es256);
    let verifier = issuer.verifier(10_000, 1);
    let rate = 1e9 / seen_nanos(&issuer, &verifier);
    say(&format!("seen before, per core-second        {rate:8.0}"))
}

/// The same with a million live revocations, and what they take.
fn revoked() -> io::Result<()> {
    let issuer = Issuer::new(Algorithm::Es256);
    let verifier = issuer.verifier(10_000, MILLION);
    let before = cpu::resident_bytes()?;
    let exp = now().secs() + 900;
    let numbers: Vec<u64> = (1_000_000..1_000_000 + MILLION as u64).collect();
    let take_in = nanos_each(&numbers, |number| {
        let subject = RevokedSubject::Session(SessionId::from_bytes(id(*number)));
        verifier.revocations().take_in(Revocation { subject, exp }, now()).is_ok()
    });
    let bytes = cpu::resident_bytes()?.saturating_sub(before);
    say(&format!("a million revocations, memory       {:8.1} MiB", bytes as f64 / 1048576.0))?;
    say(&format!("a million revocations, taken in     {:8.2} s", take_in * MILLION as f64 / 1e9))?;
    let rate = 1e9 / seen_nanos(&issuer, &verifier);
    say(&format!("seen before, a million revoked      {rate:8.0} per core-second"))
}

fn seen_nanos(issuer: &Issuer, verifier: &Verifier) -> f64 {
    let tokens: Vec<String> = (0..1000).map(|number| issuer.token(number)).collect();
    let now = now();
    let rounds = (0..ROUNDS).map(|_| {
        let turns: Vec<&String> = (0..200).flat_map(|_| &tokens).collect();
        nanos_each(&turns, |token| verifier.verify(token, now).is_ok())
    });
    // The first round sees them for the first time.
    median(rounds.skip(1).collect())
}

fn split(token: &str) -> (&str, Vec<u8>) {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    (message, URL_SAFE_NO_PAD.decode(signature).expect("base64url"))
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

const ROUNDS: u64 = 7;
const MILLION: usize = 1_000_000;
