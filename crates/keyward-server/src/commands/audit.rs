//! `keyward audit`.

mod chain;
mod line;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use clap::Args;
use keyward::store::{AuditFilter, AuditOrder, Store};
use keyward_core::audit::{AuditKind, RecordedEvent, events_since};
use keyward_core::id::{SessionId, UserId};
use serde_json::{Map, Value, json};

use crate::config::Overrides;
use crate::failure::Failure;
use crate::{assembly, output};

/// What `audit` takes.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  keyward audit --since 1h
  keyward audit --type session.reuse_detected --json
  keyward audit --user ada@example.org --follow
  keyward audit verify"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<chain::Action>,
    /// Only events of the last so long, such as 90s, 15m, 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    since: Option<Duration>,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = known_type)]
    kind: Option<String>,
    /// Only this user's, by id or address
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only this session's
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// The latest so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on showing events as they happen
    #[arg(long)]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Lists events, oldest first, and goes on where asked to; or does something with their chain.
pub(super) async fn run(arguments: &Arguments, overrides: &Overrides) -> Result<(), Failure> {
    if let Some(action) = &arguments.action {
        return chain::run(action, overrides).await;
    }
    let store = super::existing_store(overrides).await?;
    let filter = filter(store.as_ref(), arguments).await?;
    let events = latest(store.as_ref(), &filter, arguments.limit).await?;
    let columns = columns(arguments);
    if arguments.json {
        output::json_lines(events.iter().map(object))?;
    } else {
        let rows: Vec<Vec<String>> = events.iter().map(|event| row(event, &columns)).collect();
        let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
        output::table(headings, &rows)?;
    }
    if arguments.follow {
        let columns = (!arguments.json).then_some(&*columns);
        let shown = events.iter().map(|event| event.id).collect();
        return follow(store.as_ref(), filter, shown, columns).await;
    }
    if events.len() == usize::try_from(arguments.limit).unwrap_or(usize::MAX) {
        let limit = arguments.limit;
        output::progress(&format!("These are the latest {limit}; --limit shows more."));
    }
    Ok(())
}

async fn filter(store: &dyn Store, arguments: &Arguments) -> Result<AuditFilter, Failure> {
    let user_id = match &arguments.user {
        // An id alone is enough: events outlive their user.
        Some(text) => match text.parse() {
            Ok(id) => Some(id),
            Err(_) => Some(super::find_user(store, text).await?.id),
        },
        None => None,
    };
    let session_id = arguments.session.as_deref().map(super::session::session_id).transpose()?;
    Ok(AuditFilter {
        name: arguments.kind.clone(),
        user_id,
        session_id,
        since: arguments.since.map(|since| assembly::now().minus(since)),
        ..AuditFilter::default()
    })
}

/// The latest `count` events, oldest first.
async fn latest(
    store: &dyn Store,
    filter: &AuditFilter,
    count: u32,
) -> Result<Vec<RecordedEvent>, Failure> {
    let mut events: Vec<RecordedEvent> = Vec::new();
    let mut wanted = count;
    while wanted > 0 {
        let order = events.last().map_or(AuditOrder::Newest, |event| AuditOrder::Before(event.id));
        let page = AuditFilter { order, limit: wanted.min(PAGE), ..filter.clone() };
        let page = store.list_audit(page).await?;
        if page.is_empty() {
            break;
        }
        wanted = wanted.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        events.extend(page);
    }
    events.reverse();
    Ok(events)
}

/// All that happened to a session, oldest first.
pub(super) async fn history_of(
    store: &dyn Store,
    id: SessionId,
) -> Result<Vec<RecordedEvent>, Failure> {
    let since = id.made_at().map(events_since);
    let filter = AuditFilter { session_id: Some(id), since, ..AuditFilter::default() };
    latest(store, &filter, u32::MAX).await
}

/// Whose accounts were deleted, as far as the log goes back. Goes through all of it, piece by
/// piece: however long it is, the store answers each time within the time that it allows.
pub(super) async fn deleted_users(store: &dyn Store) -> Result<HashSet<UserId>, Failure> {
    let begin = edge(store, AuditOrder::After(0)).await?.unwrap_or(0);
    let mut end = edge(store, AuditOrder::Newest).await?.map_or(0, |newest| newest + 1);
    let name = Some("user.deleted".to_owned());
    let filter = AuditFilter { name, limit: u32::MAX, ..AuditFilter::default() };
    let mut deleted = HashSet::new();
    while end > begin {
        let piece = filter.clone().piece(begin, end);
        end = piece.from_id.unwrap_or(begin);
        let events = store.list_audit(piece).await?;
        deleted.extend(events.iter().filter_map(|event| event.user_id));
    }
    Ok(deleted)
}

/// The id of the first event in this order.
async fn edge(store: &dyn Store, order: AuditOrder) -> Result<Option<i64>, Failure> {
    let filter = AuditFilter { order, limit: 1, ..AuditFilter::default() };
    Ok(store.list_audit(filter).await?.first().map(|event| event.id))
}

/// The last things that happened to a user in 30 days, oldest first.
pub(super) async fn recent_of(
    store: &dyn Store,
    id: UserId,
) -> Result<Vec<RecordedEvent>, Failure> {
    let since = Some(assembly::now().minus(30 * DAY));
    let filter = AuditFilter { user_id: Some(id), since, ..AuditFilter::default() };
    latest(store, &filter, RECENT_MAX).await
}

/// Events of one user or session, to be read from above.
pub(super) fn timeline(events: &[RecordedEvent]) -> Result<(), Failure> {
    let row = |event: &RecordedEvent| {
        [
            event.at.to_rfc3339(),
            event.name.clone(),
            output::cell(event.device.ip.as_ref()),
            if event.detail == "{}" { "-".to_owned() } else { event.detail.clone() },
        ]
    };
    let rows: Vec<[String; 4]> = events.iter().map(row).collect();
    Ok(output::table(["AT", "TYPE", "ADDRESS", "DETAIL"], &rows)?)
}

/// Shows events as they are committed, until the reader or the operator goes away: as JSON where
/// there are no columns.
///
/// Where several nodes write, an event may be committed after one with a higher id. So whatever is
/// recent is read again, and shown unless it was.
async fn follow(
    store: &dyn Store,
    filter: AuditFilter,
    mut shown: BTreeSet<i64>,
    columns: Option<&[Column]>,
) -> Result<(), Failure> {
    let mut settled = shown.first().map_or(0, |first| first - 1);
    loop {
        let settles = assembly::now().minus(SETTLING);
        let mut last = settled;
        loop {
            let page =
                AuditFilter { order: AuditOrder::After(last), limit: PAGE, ..filter.clone() };
            let events = store.list_audit(page).await?;
            for event in &events {
                last = event.id;
                if event.at < settles {
                    settled = event.id;
                }
                if shown.insert(event.id) {
                    show(event, columns)?;
                }
            }
            if events.is_empty() {
                break;
            }
        }
        shown = shown.split_off(&settled);
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}

fn show(event: &RecordedEvent, columns: Option<&[Column]>) -> Result<(), Failure> {
    match columns {
        Some(columns) => Ok(output::line(&output::printable(&row(event, columns).join("  ")))?),
        None => Ok(output::json_lines([object(event)])?),
    }
}

/// A column's heading, and what stands in it.
type Column = (&'static str, fn(&RecordedEvent) -> String);

/// What was asked for is not repeated on every line, so that the rest fits beside each other.
fn columns(arguments: &Arguments) -> Vec<Column> {
    let mut columns: Vec<Column> =
        vec![("AT", |event| event.at.to_rfc3339()), ("TYPE", |event| event.name.clone())];
    if arguments.user.is_none() && arguments.session.is_none() {
        columns.push(("USER", |event| output::cell(event.user_id)));
    }
    if arguments.session.is_none() {
        columns.push(("SESSION", |event| output::cell(event.session_id)));
    }
    columns.push(("ADDRESS", |event| output::cell(event.device.ip.as_ref())));
    columns.push(("DETAIL", |event| event.detail.clone()));
    columns.push(("BROWSER", |event| output::cell(event.device.user_agent.as_ref())));
    columns
}

fn row(event: &RecordedEvent, columns: &[Column]) -> Vec<String> {
    columns.iter().map(|(_, cell)| cell(event)).collect()
}

pub(super) fn object(event: &RecordedEvent) -> Value {
    let mut object = Map::new();
    object.insert("id".to_owned(), json!(event.id));
    object.insert("at".to_owned(), json!(event.at.to_rfc3339()));
    object.insert("type".to_owned(), json!(event.name));
    if let Some(id) = event.user_id {
        object.insert("userId".to_owned(), json!(id.to_string()));
    }
    if let Some(id) = event.session_id {
        object.insert("sessionId".to_owned(), json!(id.to_string()));
    }
    object.insert("ip".to_owned(), json!(event.device.ip));
    object.insert("userAgent".to_owned(), json!(event.device.user_agent));
    object.insert("requestId".to_owned(), json!(event.request_id));
    let detail = serde_json::from_str(&event.detail).unwrap_or(Value::Null);
    object.insert("detail".to_owned(), detail);
    Value::Object(object)
}

fn known_type(text: &str) -> Result<String, String> {
    if AuditKind::NAMES.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("the types are {}", AuditKind::NAMES.join(", ")))
}

/// How many events of a user are shown beside the account.
const RECENT_MAX: u32 = 10;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many events are asked for at once.
const PAGE: u32 = 500;

/// How soon a new event is shown.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// Longer than a store takes to commit an event that it has given an id, and than clocks differ.
const SETTLING: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use keyward::store::layer::Layer;
    use keyward::store::{DeleteGuard, MemoryStore, NewUser, PasswordHash, StoreError};
    use keyward_core::audit::{AuditContext, AuditEvent, RegisteredBy};
    use keyward_core::email::Email;
    use keyward_core::time::Timestamp;

    use super::*;

    /// A store that searches a long log no further than it can in a moment.
    #[derive(Debug)]
    struct ImpatientStore(MemoryStore);

    impl Layer for ImpatientStore {
        fn inner(&self) -> &dyn Store {
            &self.0
        }

        async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<RecordedEvent>, StoreError> {
            let far = match filter.order {
                AuditOrder::Before(end) => end - filter.from_id.unwrap_or(0),
                AuditOrder::Newest | AuditOrder::After(_) => i64::MAX,
            };
            if filter.name.is_some() && far > AuditFilter::LOOKED_AT_MAX {
                return Err(StoreError::Unavailable("it took too long".to_owned()));
            }
            self.0.list_audit(filter).await
        }
    }

    #[tokio::test]
    async fn a_log_of_any_length_tells_who_was_deleted() {
        let store = ImpatientStore(MemoryStore::new());
        assert_eq!(deleted_users(&store).await.expect("an empty log"), HashSet::new());
        let mut expected = HashSet::new();
        for number in 1..=3 {
            expected.insert(delete_one(&store, number).await);
            let kind = AuditKind::LoginRateLimited { count: 1 };
            let events = vec![(AuditEvent::of_nobody(kind), context()); 70_000];
            store.record(events).await.expect("the store works");
        }
        assert_eq!(deleted_users(&store).await.expect("the store works"), expected);
    }

    async fn delete_one(store: &dyn Store, number: u8) -> UserId {
        let id = UserId::from_bytes([number; 16]);
        let user = NewUser {
            id,
            email: Email::parse(&format!("user{number}@example.org")).expect("an address"),
            name: None,
            roles: Vec::new(),
            password_hash: PasswordHash::from_phc("$none".to_owned()),
            email_verified: false,
            by: RegisteredBy::Operator,
            verification: None,
        };
        store.insert_user(user, None, &context()).await.expect("the store works");
        let guard = DeleteGuard::default();
        store.delete_user(id, guard, &context()).await.expect("the store works");
        id
    }

    fn context() -> AuditContext {
        let at = Timestamp::from_secs(1_790_000_000);
        AuditContext { at, device: Default::default(), request_id: None, actor: None }
    }
}
