//! What the audit log says of the rehearsals.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{self, Instant};

use super::access::Administration;
use super::report::Performance;
use super::target::Request;
use crate::failure::Failure;
use crate::output;

/// An audit event that tells of a rehearsal.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub(super) id: i64,
    pub(super) name: &'static str,
    pub(super) at: String,
    ip: Value,
}

/// The audit log of the service, from the beginning of the drill.
pub(super) struct AuditLog<'a> {
    administration: Administration<'a>,
    /// The last event before the drill.
    last_before: i64,
}

impl<'a> AuditLog<'a> {
    /// Opens the log where it ends now.
    pub(super) async fn open(administration: Administration<'a>) -> Result<Self, Failure> {
        let unread = Self { administration, last_before: 0 };
        let answer = unread.read("/audit?limit=1").await?;
        Ok(Self { last_before: answer["events"][0]["id"].as_i64().unwrap_or(0), ..unread })
    }

    /// Looks for the events that are expected, until all are found or none can come any more.
    /// Refusals that strangers can cause are written late: beside the request, or counted by the
    /// minute.
    pub(super) async fn tell_of(&self, performances: &mut [Performance]) -> Result<(), Failure> {
        let began = Instant::now();
        let mut is_told = false;
        loop {
            let missing: BTreeSet<&'static str> =
                performances.iter().flat_map(Performance::missing).collect();
            let waits_for_count = missing.iter().any(|name| COUNTED.contains(name));
            let patience = if waits_for_count { COUNT_DELAY_MAX } else { WRITE_DELAY_MAX };
            if missing.is_empty() || began.elapsed() > patience {
                return Ok(());
            }
            if began.elapsed() > WRITE_DELAY_MAX && !is_told {
                is_told = true;
                output::progress("waiting for refusals that the service counts by the minute");
            }
            for name in missing {
                assign(name, &self.events(name).await?, performances);
            }
            time::sleep(INTERVAL).await;
        }
    }

    /// The events of this type since the drill began, newest first.
    async fn events(&self, name: &str) -> Result<Vec<Value>, Failure> {
        let first_page = format!("/audit?type={name}&limit=100");
        let mut route = first_page.clone();
        let mut events = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self.read(&route).await?;
            let listed = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
            let is_new = |event: &&Value| event["id"].as_i64() > Some(self.last_before);
            let new = listed.iter().take_while(is_new).cloned();
            let known = events.len();
            events.extend(new);
            let is_last = events.len() < known + listed.len();
            let Some(cursor) = page["nextCursor"].as_str().filter(|_| !is_last) else { break };
            route = format!("{first_page}&cursor={cursor}");
        }
        Ok(events)
    }

    async fn read(&self, route: &str) -> Result<Value, Failure> {
        let answer = self.administration.send(Request::get(route)).await?;
        let answer = self.administration.permitted(answer)?;
        Ok(answer.require(200, "Reading the audit log")?.body)
    }
}

/// Gives each rehearsal that misses this event the one that its requests caused, or else the count
/// that stands for it.
fn assign(name: &'static str, events: &[Value], performances: &mut [Performance]) {
    let known: Vec<Evidence> =
        performances.iter().flat_map(|performance| performance.evidence.clone()).collect();
    let stands_for_many = |event: &&Value| {
        COUNTED.contains(&name)
            && event["requestId"].is_null()
            && known.iter().any(|evidence| evidence.ip == event["ip"])
    };
    for performance in performances {
        if !performance.missing().any(|missing| missing == name) {
            continue;
        }
        let caused = |event: &&Value| {
            let id = event["requestId"].as_str();
            id.is_some_and(|id| performance.trace.request_ids.iter().any(|known| known == id))
        };
        let found = events.iter().find(caused).or_else(|| events.iter().find(stands_for_many));
        performance.evidence.extend(found.map(|event| Evidence {
            id: event["id"].as_i64().unwrap_or_default(),
            name,
            at: event["at"].as_str().unwrap_or_default().to_owned(),
            ip: event["ip"].clone(),
        }));
    }
}

/// What strangers can cause at will. Of these the service writes ten a minute and address one by
/// one, and counts the rest.
const COUNTED: &[&str] = &[
    "access_token.rejected",
    "csrf.rejected",
    "login.rate_limited",
    "mfa.rate_limited",
    "refresh.rejected",
];

const INTERVAL: Duration = Duration::from_millis(200);

/// Far more than an event needs that is written one by one.
const WRITE_DELAY_MAX: Duration = Duration::from_secs(5);

/// A count is written at the end of its minute.
const COUNT_DELAY_MAX: Duration = Duration::from_secs(75);

/// A service under a flood of refusals has more events than a drill can read.
const PAGES_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::drill::rehearsals::{End, Rehearsal};
    use crate::commands::drill::report::Verdict;
    use crate::commands::drill::stage::Trace;

    static REHEARSAL: Rehearsal = Rehearsal {
        name: "test",
        attack: "none",
        end: End::Unharmed,
        expected: &[&["401"], &["429"]],
        events: &["login.failed", "csrf.rejected"],
        play: |_| Box::pin(async { Ok(()) }),
    };

    fn performance() -> Performance {
        let trace = Trace {
            happened: vec!["401".to_owned()],
            request_ids: vec!["ours".to_owned()],
            ..Trace::default()
        };
        Performance { rehearsal: &REHEARSAL, trace, evidence: Vec::new() }
    }

    fn event(request_id: Option<&str>, ip: &str) -> Value {
        json!({ "id": 7, "at": "now", "ip": ip, "requestId": request_id })
    }

    #[test]
    fn events_of_others_are_no_evidence() {
        let mut performances = [performance()];
        assign("login.failed", &[event(Some("theirs"), "::1")], &mut performances);
        assign("login.failed", &[event(None, "::1")], &mut performances);
        assert_eq!(performances[0].verdict(), Verdict::Unnoticed);
        assert_eq!(performances[0].missing().count(), 2);
        assign("login.failed", &[event(Some("ours"), "::1")], &mut performances);
        assert_eq!(performances[0].missing().collect::<Vec<_>>(), ["csrf.rejected"]);
        assign("csrf.rejected", &[event(None, "::2")], &mut performances);
        assert_eq!(performances[0].missing().count(), 1, "a count of another address");
    }

    #[test]
    fn a_count_from_the_same_address_stands_for_the_event() {
        let mut performances = [performance()];
        assign("login.failed", &[event(Some("ours"), "::1")], &mut performances);
        assign("csrf.rejected", &[event(None, "::1")], &mut performances);
        assert_eq!(performances[0].verdict(), Verdict::Refused);
        performances[0].trace.happened = vec!["429".to_owned()];
        assert_eq!(performances[0].verdict(), Verdict::Refused);
        performances[0].trace.happened.push("200".to_owned());
        assert_eq!(performances[0].verdict(), Verdict::Differs);
    }
}
