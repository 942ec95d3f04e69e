//! Audit events.

use keyward_core::audit::{AuditContext, AuditEvent, RecordedEvent};
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;
use tokio_postgres::types::{ToSql, Type};

use super::connection::{Connection, Failure, Lent, Statement};
use super::rows::uuid;
use super::{rows, sql};
use crate::store::{AuditFilter, AuditOrder};

/// Records the events of one change, in their order.
pub(super) async fn record(
    connection: &Connection,
    events: &[AuditEvent],
    context: &AuditContext,
) -> Result<(), Failure> {
    let events = events.iter().map(|event| (event, context));
    insert(connection, sql::audit::INSERT_EVENTS, events).await
}

/// See `Store::record`.
pub(super) async fn record_all(
    connection: Lent,
    events: &[(AuditEvent, AuditContext)],
) -> Result<(), Failure> {
    let events = events.iter().map(|(event, context)| (event, context));
    insert(&connection, sql::audit::RECORD_EVENTS, events).await
}

/// Inserts any number of events by one statement.
async fn insert<'a>(
    connection: &Connection,
    statement: Statement<'_>,
    events: impl Iterator<Item = (&'a AuditEvent, &'a AuditContext)>,
) -> Result<(), Failure> {
    let (mut at, mut names, mut details) = (Vec::new(), Vec::new(), Vec::new());
    let (mut user_ids, mut session_ids) = (Vec::new(), Vec::new());
    let (mut ips, mut user_agents, mut request_ids) = (Vec::new(), Vec::new(), Vec::new());
    for (event, context) in events {
        at.push(context.at.millis());
        names.push(event.kind.name());
        user_ids.push(event.user_id.map(|id| uuid(id.as_bytes())));
        session_ids.push(event.session_id.map(|id| uuid(id.as_bytes())));
        ips.push(&context.device.ip);
        user_agents.push(&context.device.user_agent);
        request_ids.push(&context.request_id);
        details.push(context.detail(&event.kind));
    }
    if at.is_empty() {
        return Ok(());
    }
    connection
        .query(
            statement,
            &[&at, &names, &user_ids, &session_ids, &ips, &user_agents, &request_ids, &details],
        )
        .await?;
    Ok(())
}

/// Looks for the user's events at `since` or later.
///
/// The log has no index by user, which every refresh would pay for. So whoever deletes a user looks
/// for the events before the transaction, however long that takes, and within it only for those
/// that came since.
pub(super) async fn trace(
    connection: &Connection,
    id: UserId,
    since: Timestamp,
) -> Result<Vec<i64>, Failure> {
    let id = uuid(id.as_bytes());
    let found = connection.query(sql::LIST_EVENTS_OF_USER, &[&id, &since.millis()]).await?;
    Ok(rows::all(&found, |columns| columns.take("audit_event.id"))?)
}

/// Forgets address and browser in every event of the user: those that were traced, and those at
/// `since` or later, but for what others did.
pub(super) async fn forget_devices(
    connection: &Connection,
    id: UserId,
    traced: &[i64],
    since: Timestamp,
) -> Result<(), Failure> {
    let (text, id) = (id.to_string(), uuid(id.as_bytes()));
    connection.query(sql::FORGET_EVENT_DEVICES, &[&traced, &text]).await?;
    connection.query(sql::FORGET_LATER_DEVICES, &[&id, &since.millis(), &text]).await?;
    Ok(())
}

/// Lists events.
pub(super) async fn list(
    connection: Lent,
    filter: &AuditFilter,
) -> Result<Vec<RecordedEvent>, Failure> {
    let (after, before) = match filter.order {
        AuditOrder::Newest => (None, None),
        AuditOrder::Before(id) => (None, Some(id)),
        AuditOrder::After(id) => (Some(id), None),
    };
    let mut conditions = Conditions::default();
    conditions.add("e.name =", Type::TEXT, filter.name.clone());
    let user_id = filter.user_id.map(|id| uuid(id.as_bytes()));
    conditions.add("e.user_id =", Type::UUID, user_id);
    let session_id = filter.session_id.map(|id| uuid(id.as_bytes()));
    conditions.add("e.session_id =", Type::UUID, session_id);
    conditions.add("e.at >=", Type::INT8, filter.since.map(|at| at.millis()));
    conditions.add("e.at <", Type::INT8, filter.until.map(|at| at.millis()));
    conditions.add("e.id >=", Type::INT8, filter.from_id);
    conditions.add("e.id >", Type::INT8, after);
    conditions.add("e.id <", Type::INT8, before);
    let sql = conditions.select(after.is_some());
    let types: Vec<Type> =
        conditions.0.iter().map(|(_, of_type, _)| of_type.clone()).chain([Type::INT8]).collect();
    let limit = i64::from(filter.limit);
    let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(types.len());
    for (_, _, value) in &conditions.0 {
        parameters.push(value.as_ref());
    }
    parameters.push(&limit);
    let found = connection.query(Statement { sql: &sql, types: &types }, &parameters).await?;
    Ok(rows::all(&found, rows::event)?)
}

/// Conditions of fixed text that a parameter follows, with its type and value.
#[derive(Default)]
struct Conditions(Vec<(&'static str, Type, Box<dyn ToSql + Sync + Send>)>);

impl Conditions {
    fn add<T: ToSql + Sync + Send + 'static>(
        &mut self,
        condition: &'static str,
        of_type: Type,
        value: Option<T>,
    ) {
        if let Some(value) = value {
            self.0.push((condition, of_type, Box::new(value)));
        }
    }

    /// The parameter after all the conditions' is how many to list.
    fn select(&self, oldest_first: bool) -> String {
        let mut condition = "true".to_owned();
        for (number, (text, ..)) in (1..).zip(&self.0) {
            condition.push_str(&format!(" AND {text} ${number}"));
        }
        let order = if oldest_first { "e.id" } else { "e.id DESC" };
        let limit = self.0.len() + 1;
        format!(
            "SELECT e.id, e.at, e.name, e.user_id, e.session_id, e.ip, e.user_agent, \
             e.request_id, e.detail::text FROM keyward.audit_event AS e WHERE {condition} \
             ORDER BY {order} LIMIT ${limit}"
        )
    }
}
