//! Audit events.

use keyward_core::audit::{AuditContext, AuditEvent, RecordedEvent};
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;
use rusqlite::{Connection, ToSql, named_params};

use super::{rows, sql};
use crate::store::deletion::context_of_deletion;
use crate::store::{AuditFilter, AuditOrder, StoreError};

/// Records one event.
pub(super) fn record(
    connection: &Connection,
    event: &AuditEvent,
    context: &AuditContext,
) -> Result<(), StoreError> {
    connection.prepare_cached(sql::INSERT_EVENT)?.execute(named_params! {
        ":at": context.at.millis(),
        ":name": event.kind.name(),
        ":user_id": event.user_id.as_ref().map(|id| id.as_bytes()),
        ":session_id": event.session_id.as_ref().map(|id| id.as_bytes()),
        ":ip": context.device.ip,
        ":user_agent": context.device.user_agent,
        ":request_id": context.request_id,
        ":detail": context.detail(&event.kind),
    })?;
    Ok(())
}

/// See `Store::record`. The write transaction is the lock: nobody is deleted until it ends.
pub(super) fn record_late(
    connection: &Connection,
    event: &AuditEvent,
    context: &AuditContext,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql::FIND_DELETED_USER)?;
    let parameters = named_params! {
        ":user_id": event.user_id.as_ref().map(|id| id.as_bytes()),
        ":session_id": event.session_id.as_ref().map(|id| id.as_bytes()),
    };
    let gone = rows::first(statement.query(parameters)?, |columns| columns.take("user.id"))?;
    match gone.map(UserId::from_bytes) {
        Some(gone) => record(connection, event, &context_of_deletion(context, gone)),
        None => record(connection, event, context),
    }
}

/// Where the log holds what is personal to one user.
///
/// It has no index by user, which every refresh would pay for. So a reading thread looks for the
/// events first, however long that takes, and the writing one only for those that came since.
pub(super) struct Trace {
    events: Vec<i64>,
    /// Every event up to this one was looked at.
    last: i64,
}

/// Looks for the user's events at `since` or later.
pub(super) fn trace(
    connection: &Connection,
    id: UserId,
    since: Timestamp,
) -> Result<Trace, StoreError> {
    let last: Option<i64> =
        connection.prepare_cached(sql::LAST_EVENT)?.query_row([], |row| row.get(0))?;
    let mut statement = connection.prepare_cached(sql::LIST_EVENTS_OF_USER)?;
    let parameters = named_params! { ":id": id.as_bytes(), ":since": since.millis() };
    let events = statement.query_map(parameters, |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(Trace { events, last: last.unwrap_or(0) })
}

/// Forgets address and browser in every event of the user, but for what others did.
pub(super) fn forget_devices(
    connection: &Connection,
    id: UserId,
    trace: &Trace,
) -> Result<(), StoreError> {
    let text = id.to_string();
    let mut forget = connection.prepare_cached(sql::FORGET_EVENT_DEVICE)?;
    for event in &trace.events {
        forget.execute(named_params! { ":event": event, ":text": text })?;
    }
    let parameters = named_params! { ":id": id.as_bytes(), ":after": trace.last, ":text": text };
    connection.prepare_cached(sql::FORGET_LATER_DEVICES)?.execute(parameters)?;
    Ok(())
}

/// Lists events.
pub(super) fn list(
    connection: &Connection,
    filter: &AuditFilter,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let mut conditions = Conditions::default();
    conditions.add("name = :name", filter.name.clone());
    conditions.add("user_id = :user_id", filter.user_id.map(|id| *id.as_bytes()));
    conditions.add("session_id = :session_id", filter.session_id.map(|id| *id.as_bytes()));
    let (since, until) = (filter.since.map(|at| at.millis()), filter.until.map(|at| at.millis()));
    if filter.from_id.is_some() {
        // A sign keeps the index over times out of it: the ids bound the search.
        conditions.add("+at >= :since", since);
        conditions.add("+at < :until", until);
    } else {
        conditions.add("at >= :since", since);
        conditions.add("at < :until", until);
    }
    conditions.add("id >= :from_id", filter.from_id);
    let (after, before) = match filter.order {
        AuditOrder::Newest => (None, None),
        AuditOrder::Before(id) => (None, Some(id)),
        AuditOrder::After(id) => (Some(id), None),
    };
    conditions.add("id > :after", after);
    conditions.add("id < :before", before);
    let text = conditions.select(after.is_some());
    let limit = i64::from(filter.limit);
    let mut parameters: Vec<(&str, &dyn ToSql)> = vec![(":limit", &limit)];
    for (condition, value) in &conditions.0 {
        let name = condition.rsplit(' ').next().unwrap_or_default();
        parameters.push((name, value));
    }
    let mut statement = connection.prepare_cached(&text)?;
    rows::all(statement.query(parameters.as_slice())?, rows::event)
}

/// Conditions of fixed text, each ending in the name of its parameter, with its value.
#[derive(Default)]
struct Conditions(Vec<(&'static str, Box<dyn ToSql>)>);

impl Conditions {
    fn add<T: ToSql + 'static>(&mut self, condition: &'static str, value: Option<T>) {
        if let Some(value) = value {
            self.0.push((condition, Box::new(value)));
        }
    }

    fn select(&self, oldest_first: bool) -> String {
        let texts: Vec<_> = self.0.iter().map(|(condition, _)| *condition).collect();
        let condition = if texts.is_empty() { "true".to_owned() } else { texts.join(" AND ") };
        let order = if oldest_first { "id" } else { "id DESC" };
        format!(
            "SELECT id, at, name, user_id, session_id, ip, user_agent, request_id, detail \
             FROM audit_event WHERE {condition} ORDER BY {order} LIMIT :limit"
        )
    }
}

#[cfg(test)]
mod tests {
    use keyward_core::id::SessionId;

    use super::*;
    use crate::store::sqlite::tests::migrated;

    #[test]
    fn every_combination_of_filters_is_a_statement() {
        let (connection, _dir) = migrated();
        for bits in 0..64 {
            let set = |bit: u32| bits & (1 << bit) != 0;
            for order in [AuditOrder::Newest, AuditOrder::Before(9), AuditOrder::After(0)] {
                let filter = AuditFilter {
                    name: set(0).then(|| "user.updated".to_owned()),
                    user_id: set(1).then_some(UserId::from_bytes([1; 16])),
                    session_id: set(2).then_some(SessionId::from_bytes([1; 16])),
                    since: set(3).then_some(Timestamp::from_secs(1)),
                    until: set(4).then_some(Timestamp::from_secs(2)),
                    from_id: set(5).then_some(1),
                    order,
                    limit: 9,
                };
                assert_eq!(list(&connection, &filter), Ok(Vec::new()), "{filter:?}");
            }
        }
    }
}
