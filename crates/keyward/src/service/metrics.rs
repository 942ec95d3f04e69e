//! The page of metrics: what was counted, beside what can be read off at this moment.

use std::sync::atomic::{AtomicU64, Ordering};

use keyward_core::rotation::Decision;
use keyward_core::session::RevocationReason;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::{Failure, Keyward, delivery};
use crate::metrics::Metrics;

impl Keyward {
    /// What is counted and measured, in the text format of OpenMetrics that Prometheus reads, but
    /// for the closing `# EOF`, so that an application can add its own. Asks nobody, and holds
    /// nothing about any one user; docs/metrics.md names everything in it.
    pub fn metrics(&self) -> String {
        let mut registry = Registry::with_prefix("keyward");
        let page = &mut registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        page.register("build", "The version that runs", build);
        self.metrics.register(page);
        self.register_store(page);
        self.register_hashing(page);
        self.register_feed(page);
        self.register_shared(page);
        self.register_keys(page);
        self.register_audit(page);
        let mut text = String::new();
        // Writing to a string does not fail, and a page that ends early says so by its end.
        let _written = encode_registry(&mut text, &registry);
        text
    }

    fn register_store(&self, page: &mut Registry) {
        let help = "Whether nothing has found the store out of reach lately";
        page.register("store_up", help, gauge(self.metered.is_up()));
        let help = "By how much this node's clock is ahead of the one of the store's server";
        let lead = self.clock_lead() as f64 / 1000.0;
        page.register("store_clock_lead_seconds", help, ConstGauge::new(lead));
        let load = self.store.load();
        if let Some(connections) = load.connections {
            let help = "Connections to the database that there may be";
            page.register("store_connections_max", help, gauge_of(connections.max));
            let states = [("in_use", connections.in_use), ("idle", connections.idle)];
            let family = by_label("state", states.map(|(state, count)| (state, count as f64)));
            page.register("store_connections", "Connections to the database, by state", family);
            let help = "Requests that wait for a connection to the database";
            page.register("store_connections_waiting", help, gauge_of(connections.waiting));
        }
        if let Some(commits) = load.commits {
            let help = "Commits that changes share";
            page.register("store_shared_commits", help, ConstCounter::new(commits.made));
            let help = "Changes in commits that changes share";
            page.register("store_shared_commit_changes", help, ConstCounter::new(commits.changes));
            let help = "Changes that wait for a commit to share";
            page.register("store_changes_waiting", help, gauge_of(commits.waiting));
        }
    }

    fn register_hashing(&self, page: &mut Registry) {
        let load = self.hashing.load();
        let help = "Threads that hash passwords";
        page.register("hash_threads", help, gauge_of(self.hashing.threads()));
        let busy = load.busy.load(Ordering::Relaxed);
        page.register("hash_threads_busy", "Threads that hash at this moment", gauge_of(busy));
        let waiting = load.waiting.load(Ordering::Relaxed);
        page.register("hash_queue", "Passwords that wait for a thread", gauge_of(waiting));
        let refused = ConstCounter::new(load.refused.load(Ordering::Relaxed));
        page.register("hash_queue_full", "Passwords that found the queue full", refused);
        let help = "How long passwords have waited for a thread";
        page.register("hash_wait_seconds", help, load.waits.clone());
    }

    fn register_feed(&self, page: &mut Registry) {
        let help = "Services that follow the revocations";
        page.register("feed_followers", help, gauge_of(self.feed.followers()));
        let help = "Revocations that unexpired access tokens may be about";
        page.register("feed_live_revocations", help, gauge_of(self.feed.live_count()));
        let help = "How old is what this node knows of revocations; +Inf where it knows nothing";
        let lag = self.feed.age().map_or(f64::INFINITY, |age| age.as_secs_f64());
        page.register("feed_lag_seconds", help, ConstGauge::new(lag));
    }

    fn register_shared(&self, page: &mut Registry) {
        let Some(standing) = self.shared_standing() else { return };
        let help = "Whether what nodes share has answered when it was last asked";
        page.register("shared_up", help, gauge(standing.reachable));
        let help = "Requests that were counted against limits of this node alone";
        page.register("shared_missed", help, ConstCounter::new(standing.missed));
        let help = "Hints that there is something to read, given to the other nodes";
        page.register("shared_hints_sent", help, ConstCounter::new(standing.hints_sent));
        let help = "Hints received, those of this node included";
        page.register("shared_hints_received", help, ConstCounter::new(standing.hints_received));
    }

    fn register_keys(&self, page: &mut Registry) {
        let now = self.clock.now();
        let ages = self.keyring.active_since(now).into_iter();
        let ages = ages.map(|(purpose, since)| (purpose.as_str(), now.since(since).as_secs_f64()));
        let help = "For how long the key in use has been in use, by purpose";
        page.register("key_age_seconds", help, by_label("purpose", ages));
    }

    fn register_audit(&self, page: &mut Registry) {
        let help = "How old an audit event can be that is not sealed; +Inf where nothing is known";
        let unsealed = self.unsealed_for().map_or(f64::INFINITY, |age| age.as_secs_f64());
        page.register("audit_unsealed_seconds", help, ConstGauge::new(unsealed));
    }
}

/// Shows at zero what can be counted: nothing rises from what is not there.
pub(super) fn know(metrics: &Metrics) {
    let revoked = Decision::Revoked(RevocationReason::Logout);
    let decisions = [
        Decision::Invalid,
        revoked,
        Decision::Expired { spent: false },
        Decision::Expired { spent: true },
        Decision::Rotate,
        Decision::Retry,
        Decision::Late,
        Decision::Race,
        Decision::Reuse,
        Decision::Rollback,
    ];
    metrics.refreshes.know(decisions.map(name_of));
    metrics.sign_ins.know(SIGN_INS);
    metrics.mails.know(delivery::OUTCOMES);
}

/// What is counted of a decision.
pub(super) const fn name_of(decision: Decision) -> &'static str {
    match decision {
        Decision::Invalid => "invalid",
        Decision::Revoked(_) => "revoked",
        Decision::Expired { spent: false } => "expired",
        Decision::Expired { spent: true } => "expired_and_spent",
        Decision::Rotate => "rotate",
        Decision::Retry => "retry",
        Decision::Late => "late",
        Decision::Race => "race",
        Decision::Reuse => "reuse",
        Decision::Rollback => "rollback",
    }
}

/// What is counted of a sign-in whose session was opened, or was not.
pub(super) const fn name_of_sign_in<T>(outcome: &Result<T, Failure>) -> &'static str {
    match outcome {
        Ok(_) => OPENED,
        Err(Failure::InvalidCredentials) => WRONG_PASSWORD,
        Err(Failure::InvalidMfaCode | Failure::InvalidMfaToken) => WRONG_CODE,
        Err(Failure::Store(_)) => FAILED,
        Err(_) => REFUSED,
    }
}

const OPENED: &str = "opened";
/// The password was right, and a code is asked for.
pub(super) const CHALLENGED: &str = "challenged";
const WRONG_PASSWORD: &str = "wrong_password";
const WRONG_CODE: &str = "wrong_code";
/// By a limit, an overload, or because the account may not.
const REFUSED: &str = "refused";
const FAILED: &str = "failed";

const SIGN_INS: [&str; 6] = [OPENED, CHALLENGED, WRONG_PASSWORD, WRONG_CODE, REFUSED, FAILED];

fn gauge(is_so: bool) -> ConstGauge<u64> {
    ConstGauge::new(u64::from(is_so))
}

fn gauge_of(count: usize) -> ConstGauge<u64> {
    ConstGauge::new(count as u64)
}

/// One gauge for each value of a label.
fn by_label(
    label: &'static str,
    values: impl IntoIterator<Item = (&'static str, f64)>,
) -> Family<[(&'static str, &'static str); 1], Gauge<f64, AtomicU64>> {
    let family = Family::<_, Gauge<f64, AtomicU64>>::default();
    for (value, measured) in values {
        family.get_or_create(&[(label, value)]).set(measured);
    }
    family
}
