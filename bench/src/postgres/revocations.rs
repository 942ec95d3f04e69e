//! How soon the end of a session is known elsewhere: at another node, and at verifiers that follow.
//!
//! Each time counts from the request to sign out, which precedes its commit: from the commit on it
//! is somewhat less. The followers are those of `keyward-verify`, in this process, which looks at
//! them every millisecond.

use std::io;
use std::time::Duration;

use futures_util::future;
use keyward_core::service_key::ServiceKey;
use keyward_verify::{Refusal, Source, Verifier, VerifyPolicy};

use super::FEW;
use super::database::Postgres;
use super::site::{Caller, Site};
use crate::client::Client;
use crate::pace::{Window, instant};
use crate::report::Report;
use crate::server::Server;
use crate::{Plan, load, process, sqlite};

/// Signs out at one of two nodes, with and without a Valkey that both share.
pub(super) async fn nodes(plan: &Plan, postgres: &Postgres, report: &mut Report) -> io::Result<()> {
    let site = Site::plant(plan, postgres, "keyward_bench_nodes", FEW, report).await?;
    let key = site.service_key()?;
    let mut caller = caller(&site)?;
    if let Some(shared) = &plan.shared {
        let with_valkey = [ISSUER_SET, ("KEYWARD_SHARED__URL", shared)];
        let nodes = [site.node(&with_valkey)?, site.node(&with_valkey)?];
        between(&nodes, &key, &mut caller, "with Valkey", report).await?;
    } else {
        report.progress("without --shared nothing is measured with a Valkey");
    }
    let nodes = [site.node(&[ISSUER_SET])?, site.node(&[ISSUER_SET])?];
    between(&nodes, &key, &mut caller, "without Valkey", report).await
}

/// Signs out at a node that many verifiers follow, and beside it at one that none does.
pub(super) async fn verifiers(
    plan: &Plan,
    postgres: &Postgres,
    report: &mut Report,
) -> io::Result<()> {
    let site = Site::plant(plan, postgres, "keyward_bench_verifiers", FEW, report).await?;
    let (node, key) = (site.node(&[ISSUER_SET])?, site.service_key()?);
    let mut caller = caller(&site)?;
    caller.connect(node.address).await?;

    report.progress("nobody follows");
    let cpu = node.cpu()?;
    end_sessions(&mut caller, &[]).await?;
    let unfollowed = node.cpu()? - cpu;

    report.progress(&format!("{VERIFIERS} verifiers follow"));
    let followers: Vec<_> = (0..VERIFIERS).map(|_| Verifier::new(policy())).collect();
    let source = source(&node, &key)?;
    let (node_bytes, own_bytes) = (node.resident_bytes()?, process::resident_bytes(own_id())?);
    let following = future::join_all(followers.iter().map(|follower| follower.run(&source)));
    let measuring = async {
        until(|| followers.iter().all(is_current)).await?;
        let grown = node.resident_bytes()?.saturating_sub(node_bytes);
        report.add("server's memory for each verifier, KiB", grown as f64 / KIB / VERIFIERS as f64);
        let cpu = node.cpu()?;
        let window = end_sessions(&mut caller, &followers).await?;
        let followed = node.cpu()? - cpu;
        report.add("100 verifiers, the last one, p50 ms", window.quantile_millis(0.5));
        report.add("100 verifiers, the last one, p99 ms", window.quantile_millis(0.99));
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / f64::from(REVOCATIONS);
        report.add("refresh and sign-out, nobody follows, CPU µs", each(unfollowed));
        report.add("refresh and sign-out, 100 verifiers, CPU µs", each(followed));
        let grown = process::resident_bytes(own_id())?.saturating_sub(own_bytes);
        report.add("each verifier with 250 tokens, KiB", grown as f64 / KIB / VERIFIERS as f64);
        Ok(())
    };
    tokio::select! {
        never = following => unreachable!("{} verifiers ended", never.len()),
        measured = measuring => measured,
    }
}

/// Signs out at the first node, and waits for the second one and its follower.
async fn between(
    [here, there]: &[Server; 2],
    key: &ServiceKey,
    caller: &mut Caller,
    kind: &str,
    report: &mut Report,
) -> io::Result<()> {
    report.progress(&format!("two nodes {kind}"));
    caller.connect(here.address).await?;
    let (follower, source) = (Verifier::new(policy()), source(there, key)?);
    let followers = std::slice::from_ref(&follower);
    let measuring = async {
        until(|| is_current(&follower)).await?;
        let begun = instant();
        let (mut known, mut refused) = (Vec::new(), Vec::new());
        for turn in 0..REVOCATIONS {
            let token = begin_session(caller, turn, followers).await?;
            let mut client = Client::connect(there.address).await?;
            let asked = instant();
            caller.log_out(&token).await?;
            let (by_follower, by_node) = future::join(
                async { until(|| refuses(&follower, &token)).await.map(|()| asked.elapsed()) },
                async { until_me_refuses(&mut client, &token).await.map(|()| asked.elapsed()) },
            )
            .await;
            known.push(by_follower?.as_secs_f64());
            refused.push(by_node?.as_secs_f64());
        }
        for (who, times) in [("follower", known), ("/me", refused)] {
            let window = Window::of(vec![times], begun);
            report.add(&format!("{who}, {kind}, p50 ms"), window.quantile_millis(0.5));
            report.add(&format!("{who}, {kind}, p99 ms"), window.quantile_millis(0.99));
        }
        Ok(())
    };
    tokio::select! {
        never = follower.run(&source) => match never {},
        measured = measuring => measured,
    }
}

/// Ends one session after the other; for how long each was still accepted by somebody, the
/// request to end it included.
async fn end_sessions(caller: &mut Caller, followers: &[Verifier]) -> io::Result<Window> {
    let begun = instant();
    let mut times = Vec::new();
    for turn in 0..REVOCATIONS {
        let token = begin_session(caller, turn, followers).await?;
        let asked = instant();
        caller.log_out(&token).await?;
        until(|| followers.iter().all(|follower| refuses(follower, &token))).await?;
        times.push(asked.elapsed().as_secs_f64());
    }
    Ok(Window::of(vec![times], begun))
}

/// An access token that all accept, at no certain moment between two readings of the outbox.
async fn begin_session(
    caller: &mut Caller,
    turn: u32,
    followers: &[Verifier],
) -> io::Result<String> {
    let token = caller.access_token().await?;
    until(|| followers.iter().all(|follower| follower.verify(&token, sqlite::now()).is_ok()))
        .await?;
    tokio::time::sleep(Duration::from_millis(u64::from(turn * 97 % 251))).await;
    Ok(token)
}

/// One connection that has every session to itself.
fn caller(site: &Site) -> io::Result<Caller> {
    site.callers(1, false).pop().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn policy() -> VerifyPolicy {
    VerifyPolicy::new(ISSUER, ISSUER)
}

fn source(node: &Server, key: &ServiceKey) -> io::Result<Source> {
    let source = Source::at(&format!("http://{}", node.address)).map_err(io::Error::other)?;
    Ok(source.service_key(key))
}

/// Whether it has keys and has heard of all revocations so far.
fn is_current(follower: &Verifier) -> bool {
    let status = follower.status(sqlite::now());
    status.keys_age.is_some() && status.staleness.is_some()
}

fn refuses(follower: &Verifier, token: &str) -> bool {
    follower.verify(token, sqlite::now()) == Err(Refusal::Revoked)
}

async fn until_me_refuses(client: &mut Client, token: &str) -> io::Result<()> {
    while load::me(client, token).await?.status != 401 {}
    Ok(())
}

/// Looks again and again, for a while.
async fn until(is_so: impl Fn() -> bool) -> io::Result<()> {
    let begun = instant();
    while !is_so() {
        if begun.elapsed() > WAIT_MAX {
            return Err(io::Error::other("a verifier does not hear of what happens"));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn own_id() -> u32 {
    std::process::id()
}

/// Both nodes sign for the same one, whatever ports they listen on.
const ISSUER: &str = "https://bench.example.org";
const ISSUER_SET: (&str, &str) = ("KEYWARD_ACCESS_TOKEN__ISSUER", ISSUER);

/// Sessions that end in each measurement; the p99 is that of so many.
const REVOCATIONS: u32 = 250;

const VERIFIERS: usize = 100;

const LOOK: Duration = Duration::from_millis(1);
const WAIT_MAX: Duration = Duration::from_secs(20);

const KIB: f64 = 1024.0;
