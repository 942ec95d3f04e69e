//! What the audit log says of the rehearsals.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{self, Instant};

use super::access::Administration;
use super::report::Performance;
use super::service::Request;
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

/// Looks for the events that are expected, until all are found or none can come any more. Refusals
/// that strangers can cause are written late: beside the request, or counted by the minute.
pub(super) async fn collect(
    administration: Administration<'_>,
    since: &str,
    performances: &mut [Performance],
) -> Result<(), Failure> {
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
        if waits_for_count && began.elapsed() > WRITE_DELAY_MAX && !is_told {
            is_told = true;
            output::progress("waiting for refusals that the service counts by the minute");
        }
        for name in missing {
            let events = list(administration, since, name).await?;
            assign(name, &events, performances);
        }
        time::sleep(INTERVAL).await;
    }
}

/// Gives each rehearsal that misses this event the one that its requests caused, or else the count
/// that stands for it.
fn assign(name: &'static str, events: &[Value], performances: &mut [Performance]) {
    let known: Vec<Evidence> =
        performances.iter().flat_map(|performance| performance.evidence.clone()).collect();
    let is_counted = |event: &Value| {
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
        let found = events.iter().find(caused);
        let found = found.or_else(|| events.iter().find(|event| is_counted(event)));
        performance.evidence.extend(found.map(|event| Evidence {
            id: event["id"].as_i64().unwrap_or_default(),
            name,
            at: event["at"].as_str().unwrap_or_default().to_owned(),
            ip: event["ip"].clone(),
        }));
    }
}

/// The events of this type since the drill began, newest first.
async fn list(
    administration: Administration<'_>,
    since: &str,
    name: &str,
) -> Result<Vec<Value>, Failure> {
    let mut events = Vec::new();
    let mut route = format!("/audit?type={name}&since={since}&limit=100");
    for _ in 0..PAGES_MAX {
        let answer = administration.send(Request::get(&*route)).await?;
        let answer = administration.permitted(answer)?.require(200, "Reading the audit log")?;
        events.extend(answer.body["events"].as_array().into_iter().flatten().cloned());
        let Some(cursor) = answer.text("nextCursor") else { break };
        route = format!("/audit?type={name}&since={since}&limit=100&cursor={cursor}");
    }
    Ok(events)
}

/// What strangers can cause at will. Of these the service writes ten a minute and address one by
/// one, and counts the rest.
const COUNTED: &[&str] =
    &["access_token.rejected", "csrf.rejected", "login.rate_limited", "refresh.rejected"];

const INTERVAL: Duration = Duration::from_millis(200);

/// Far more than an event needs that is written one by one.
const WRITE_DELAY_MAX: Duration = Duration::from_secs(5);

/// A count is written at the end of its minute.
const COUNT_DELAY_MAX: Duration = Duration::from_secs(75);

/// A service under a flood of refusals has more events than a drill can read.
const PAGES_MAX: usize = 20;
