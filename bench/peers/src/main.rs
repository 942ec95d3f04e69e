//! Measures keyward-verify beside the bare cryptography and four other makes, two of them on Node.
//!
//! Every figure is CPU time of the thread that does the work, on Node of the process, as the median
//! over rounds in which all of them take turns: shared machines are noisy, and ratios within one
//! round are not.

mod cpu;
mod node;
mod routes;

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_bench_peers::{Issuer, id, now};
use keyward_verify::{Algorithm, Revocation, RevokedSubject, SessionId, Verifier};

use cpu::{median, nanos_each};
use node::Node;

fn main() -> io::Result<()> {
    let mut node = Node::start()?;
    for (name, algorithm) in [("ES256", Algorithm::Es256), ("EdDSA", Algorithm::EdDsa)] {
        first(name, &Issuer::new(algorithm), &mut node)?;
    }
    seen(&mut node)?;
    revoked()?;
    routes::compare()
}

/// A token that was never seen: nearly all of it is the signature check.
fn first(name: &str, issuer: &Issuer, node: &mut Node) -> io::Result<()> {
    let mut rounds: [Vec<f64>; 6] = Default::default();
    for round in 0..ROUNDS {
        let tokens: Vec<String> = (0..2000).map(|n| issuer.token(round * 2000 + n)).collect();
        let parts: Vec<(&str, Vec<u8>)> = tokens.iter().map(|token| split(token)).collect();
        let verifier = issuer.verifier(10_000, 1);
        let now = now();
        let on_node = node.measure(issuer, &tokens)?;
        let costs = [
            nanos_each(&parts, |(message, signature)| {
                issuer.bare.verify_sig(message.as_bytes(), signature).is_ok()
            }),
            nanos_each(&tokens, |token| verifier.verify(token, now).is_ok()),
            nanos_each(&tokens, |token| issuer.jsonwebtoken_accepts(token)),
            nanos_each(&tokens[..500], |token| issuer.jwt_simple_accepts(token)),
            on_node.jose,
            on_node.fast_jwt,
        ];
        rounds.iter_mut().zip(costs).for_each(|(round, cost)| round.push(cost));
    }
    let whats = [
        "signature check alone",
        "keyward-verify, first time",
        "jsonwebtoken",
        "jwt-simple",
        "jose, on Node",
        "fast-jwt, on Node",
    ];
    let ours = rounds[1].clone();
    for (what, costs) in whats.into_iter().zip(rounds) {
        say_cost(&format!("{name}, {what}"), costs, &ours)?;
    }
    Ok(())
}

/// Tokens that were seen before; of ours, revocation is asked for each time.
fn seen(node: &mut Node) -> io::Result<()> {
    let issuer = Issuer::new(Algorithm::Es256);
    let verifier = issuer.verifier(10_000, 1);
    let tokens: Vec<String> = (0..1000).map(|number| issuer.token(number)).collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(seen_nanos(&issuer, &verifier));
        theirs.push(node.measure(&issuer, &tokens)?.fast_jwt_seen);
    }
    let rate = 1e9 / median(ours.clone());
    say(&format!("seen before, per core-second            {rate:8.0}"))?;
    say_cost("seen before, keyward-verify", ours.clone(), &ours)?;
    say_cost("seen before, fast-jwt with its cache", theirs, &ours)
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
    say(&format!("a million revocations, memory           {:8.1} MiB", bytes as f64 / 1048576.0))?;
    say(&format!(
        "a million revocations, taken in         {:8.2} s",
        take_in * MILLION as f64 / 1e9
    ))?;
    let rate = 1e9 / seen_nanos(&issuer, &verifier);
    say(&format!("seen before, a million revoked          {rate:8.0} per core-second"))
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

/// A cost, and how many times that of ours it is.
fn say_cost(what: &str, costs: Vec<f64>, ours: &[f64]) -> io::Result<()> {
    let ratio = median(costs.iter().zip(ours).map(|(cost, ours)| cost / ours).collect());
    let micros = median(costs) / 1e3;
    say(&format!("{what:<40}{micros:8.2} µs {ratio:8.2} of ours"))
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

const ROUNDS: u64 = 7;
const MILLION: usize = 1_000_000;
