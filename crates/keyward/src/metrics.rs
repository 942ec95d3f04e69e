//! What is counted for whoever watches over the service. Nothing that a request brings becomes a
//! label: the number of series is bounded by what the program knows, whatever strangers send.
//!
//! Counts are atomic numbers. The lock around the series of a family is taken for writing by the
//! first count of each series alone.

mod histogram;

use std::fmt::{self, Write as _};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

pub(crate) use histogram::Histogram;

use crate::store::StoreError;
use crate::store::layer::Call;

/// Everything that is counted as it happens.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<Answer, Counter>,
    request_durations: Family<Route, Histogram>,
    /// Answers that are errors.
    pub(crate) refusals: Counts,
    /// Answers that are errors because of a limit.
    pub(crate) rate_limited: Counts,
    /// Presented refresh tokens.
    pub(crate) refreshes: Counts,
    /// Passwords and codes that were to open a session.
    pub(crate) sign_ins: Counts,
    /// Attempts to send a mail.
    pub(crate) mails: Counts,
    store_calls: Family<StoreCall, Histogram>,
    store_failures: Family<FailedStoreCall, Counter>,
}

impl Metrics {
    /// Nothing has happened yet.
    pub(crate) fn new() -> Self {
        Self {
            requests: Family::default(),
            request_durations: Family::new_with_constructor(Histogram::of_requests),
            refusals: Counts::by("code"),
            rate_limited: Counts::by("limit"),
            refreshes: Counts::by("decision"),
            sign_ins: Counts::by("outcome"),
            mails: Counts::by("outcome"),
            store_calls: Family::new_with_constructor(Histogram::of_store_calls),
            store_failures: Family::default(),
        }
    }

    /// Counts an answer. `route` is as the table of routes has it, and `method` one of few, since
    /// strangers make methods up.
    pub(crate) fn answered(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let route = Route { route: route.to_owned() };
        self.request_durations.get_or_create(&route).observe(took);
        self.requests.get_or_create(&Answer { route, method, status }).inc();
    }

    /// Counts a call of the store.
    pub(crate) fn called_store(&self, call: Call, took: Duration) {
        self.store_calls.get_or_create(&StoreCall { call }).observe(took);
    }

    /// Counts that a call of the store failed, on top of the call.
    pub(crate) fn store_failed(&self, call: Call, error: &StoreError) {
        let kind = match error {
            StoreError::Inconsistent(_) => "inconsistent",
            StoreError::Unavailable(_) => "unavailable",
        };
        self.store_failures.get_or_create(&FailedStoreCall { call, kind }).inc();
    }

    /// Puts all of it on a page.
    pub(crate) fn register(&self, page: &mut Registry) {
        let help = "Answers, by route, method and status";
        page.register("http_requests", help, self.requests.clone());
        let help = "How long answers took, by route";
        page.register("http_request_duration_seconds", help, self.request_durations.clone());
        self.refusals.register(page, "refusals", "Answers that are errors, by their code");
        self.rate_limited.register(page, "rate_limited", "Answers of 429, by the limit");
        let help = "Presented refresh tokens, by what was decided about them";
        self.refreshes.register(page, "refresh", help);
        let help = "Passwords and codes that were to open a session, by what came of it";
        self.sign_ins.register(page, "sign_ins", help);
        self.mails.register(page, "mails", "Attempts to send a mail, by what came of it");
        let help = "How long calls of the store took";
        page.register("store_call_duration_seconds", help, self.store_calls.clone());
        let help = "Calls of the store that failed, by call and kind of failure";
        page.register("store_failures", help, self.store_failures.clone());
    }
}

/// Counters that one label tells apart.
#[derive(Debug)]
pub(crate) struct Counts {
    label: &'static str,
    family: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Counts {
    fn by(label: &'static str) -> Self {
        Self { label, family: Family::default() }
    }

    /// Counts one.
    pub(crate) fn count(&self, value: &'static str) {
        self.family.get_or_create(&[(self.label, value)]).inc();
    }

    /// Shows these at zero until they are counted: nothing rises from what is not there.
    pub(crate) fn know(&self, values: impl IntoIterator<Item = &'static str>) {
        for value in values {
            let _at_zero = self.family.get_or_create(&[(self.label, value)]);
        }
    }

    fn register(&self, page: &mut Registry, name: &str, help: &str) {
        page.register(name, help, self.family.clone());
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    #[prometheus(flatten)]
    route: Route,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreCall {
    call: Call,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailedStoreCall {
    call: Call,
    kind: &'static str,
}

impl EncodeLabelValue for Call {
    /// As the method is called: `find_user` for `FindUser`.
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        for (index, char) in format!("{self:?}").char_indices() {
            if char.is_ascii_uppercase() && index > 0 {
                encoder.write_char('_')?;
            }
            encoder.write_char(char.to_ascii_lowercase())?;
        }
        Ok(())
    }
}
