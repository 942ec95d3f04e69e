//! What administrators do with accounts.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::session::RevocationReason;
use rusqlite::{Connection, ToSql, named_params};

use super::{SqliteStore, audit, mail, rows, second_factor, sessions, sql, users};
use crate::store::administration::{end_of_prefix, ended_by_admin, has_moved};
use crate::store::{
    AdministrationGuard, AdministrationStore, ChangeUserOutcome, EndSessionsOutcome, GivenPassword,
    ProfileChange, RevokedSubject, StoreError, User, UserChange, UserFilter, UserOrder,
};

#[async_trait]
impl AdministrationStore for SqliteStore {
    async fn list_users(&self, filter: UserFilter) -> Result<Vec<User>, StoreError> {
        self.readers.read(move |connection| list(connection, &filter)).await
    }

    async fn change_user(
        &self,
        id: UserId,
        change: UserChange,
        guard: AdministrationGuard,
        context: &AuditContext,
    ) -> Result<ChangeUserOutcome, StoreError> {
        let context = context.clone();
        self.writer
            .write(move |connection| self::change(connection, id, &change, guard, &context))
            .await
    }

    async fn end_sessions(
        &self,
        subject: RevokedSubject,
        spared_role: Option<&'static str>,
        context: &AuditContext,
    ) -> Result<EndSessionsOutcome, StoreError> {
        let context = context.clone();
        self.writer
            .write(move |connection| end_sessions(connection, subject, spared_role, &context))
            .await
    }
}

fn list(connection: &Connection, filter: &UserFilter) -> Result<Vec<User>, StoreError> {
    let mut conditions: Vec<&str> = Vec::new();
    let mut parameters: Vec<(&str, Box<dyn ToSql>)> = vec![(":limit", Box::new(filter.limit))];
    let order = match &filter.order {
        UserOrder::ByEmail { prefix, after } => {
            conditions.push("email_key >= :prefix AND email_key < :end");
            parameters.push((":prefix", Box::new(prefix.clone())));
            parameters.push((":end", Box::new(end_of_prefix(prefix))));
            if let Some(after) = after {
                conditions.push("email_key > :after");
                parameters.push((":after", Box::new(after.clone())));
            }
            "email_key"
        }
        UserOrder::ById { after } => {
            if let Some(after) = after {
                conditions.push("id > :after");
                parameters.push((":after", Box::new(*after.as_bytes())));
            }
            "id"
        }
    };
    if let Some(role) = &filter.role {
        conditions.push(sql::HAS_ROLE);
        parameters.push((":role", Box::new(role.clone())));
    }
    conditions.extend(filter.disabled.map(|disabled| match disabled {
        true => "disabled_at IS NOT NULL",
        false => "disabled_at IS NULL",
    }));
    let condition =
        if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
    let text = format!(
        "SELECT {} FROM user WHERE {condition} ORDER BY {order} LIMIT :limit",
        sql::USER_COLUMNS
    );
    let parameters: Vec<(&str, &dyn ToSql)> =
        parameters.iter().map(|(name, value)| (*name, value.as_ref())).collect();
    let mut statement = connection.prepare_cached(&text)?;
    rows::all(statement.query(parameters.as_slice())?, rows::user)
}

/// See `AdministrationStore::change_user`. The write transaction is the lock: nothing else changes
/// an account until it ends.
fn change(
    connection: &Connection,
    id: UserId,
    change: &UserChange,
    guard: AdministrationGuard,
    context: &AuditContext,
) -> Result<ChangeUserOutcome, StoreError> {
    let Some(user) = users::find(connection, id)? else { return Ok(ChangeUserOutcome::Unmatched) };
    let has_other = |kept| users::has_other(connection, id, kept);
    if let Some(refused) = guard.refuses(&user, change, has_other)? {
        return Ok(refused);
    }
    let changed = match change {
        UserChange::Disable => set_disabled(connection, user, true, context)?,
        UserChange::Enable => set_disabled(connection, user, false, context)?,
        UserChange::Password(given) => set_password(connection, user, given, context)?,
        UserChange::Profile(change) => return change_profile(connection, user, change, context),
        UserChange::Roles(roles) => set_roles(connection, user, roles, context)?,
    };
    Ok(ChangeUserOutcome::Changed(changed))
}

/// See `AdministrationStore::end_sessions`.
fn end_sessions(
    connection: &Connection,
    subject: RevokedSubject,
    spared_role: Option<&'static str>,
    context: &AuditContext,
) -> Result<EndSessionsOutcome, StoreError> {
    let user = match subject {
        RevokedSubject::Session(id) => {
            sessions::find_of_user(connection, id)?.map(|found| found.user)
        }
        RevokedSubject::User(id) => users::find(connection, id)?,
    };
    let Some(user) = user else { return Ok(EndSessionsOutcome::Unmatched) };
    if spared_role.is_some_and(|role| user.has_role(role)) {
        return Ok(EndSessionsOutcome::Spared);
    }
    let ended = sessions::revoke(connection, ended_by_admin(subject), context)?;
    Ok(EndSessionsOutcome::Ended(ended))
}

fn set_disabled(
    connection: &Connection,
    user: User,
    disabled: bool,
    context: &AuditContext,
) -> Result<User, StoreError> {
    if user.disabled_at.is_some() == disabled {
        return Ok(user);
    }
    let disabled_at = disabled.then_some(context.at);
    users::set_disabled_at(connection, user.id, disabled_at)?;
    let kind = if disabled { AuditKind::UserDisabled {} } else { AuditKind::UserEnabled {} };
    audit::record(connection, &AuditEvent::of_user(kind, user.id), context)?;
    if disabled {
        sessions::end_every(connection, user.id, RevocationReason::UserDisabled, context)?;
    } else {
        second_factor::forget_challenges(connection, user.id)?;
    }
    Ok(User { disabled_at, ..user })
}

fn set_password(
    connection: &Connection,
    user: User,
    given: &GivenPassword,
    context: &AuditContext,
) -> Result<User, StoreError> {
    users::set_password(connection, user.id, &given.hash)?;
    audit::record(connection, &AuditEvent::of_user(AuditKind::PasswordSet {}, user.id), context)?;
    sessions::end_every(connection, user.id, RevocationReason::PasswordReset, context)?;
    mail::queue(connection, given.notice.as_ref())?;
    Ok(user)
}

fn set_roles(
    connection: &Connection,
    user: User,
    roles: &[String],
    context: &AuditContext,
) -> Result<User, StoreError> {
    if user.roles == roles {
        return Ok(user);
    }
    let parameters = named_params! { ":id": user.id.as_bytes(), ":roles": users::json(roles) };
    connection.prepare_cached(sql::SET_ROLES)?.execute(parameters)?;
    let changed = AuditKind::UserRolesChanged { before: user.roles, after: roles.to_vec() };
    audit::record(connection, &AuditEvent::of_user(changed, user.id), context)?;
    Ok(User { roles: roles.to_vec(), ..user })
}

fn change_profile(
    connection: &Connection,
    user: User,
    change: &ProfileChange,
    context: &AuditContext,
) -> Result<ChangeUserOutcome, StoreError> {
    let email_key = change.email.as_ref().map(Email::key);
    if let Some(key) = email_key
        && users::find_by_email(connection, key)?.is_some_and(|other| other.user.id != user.id)
    {
        return Ok(ChangeUserOutcome::EmailTaken);
    }
    let Some((after, updated)) = change.applied_to(&user) else {
        return Ok(ChangeUserOutcome::Changed(user));
    };
    connection.prepare_cached(sql::SET_PROFILE)?.execute(named_params! {
        ":id": after.id.as_bytes(),
        ":email": after.email,
        ":email_key": email_key,
        ":name": after.name,
        ":email_verified": after.email_verified,
        ":claims": serde_json::Value::Object(after.claims.clone()).to_string(),
    })?;
    if has_moved(&user, &after) {
        second_factor::forget_challenges(connection, user.id)?;
    }
    audit::record(connection, &AuditEvent::of_user(updated, after.id), context)?;
    mail::queue(connection, change.notice_of(&user, &after))?;
    Ok(ChangeUserOutcome::Changed(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::tests::migrated;

    #[test]
    fn every_combination_of_filters_is_a_statement() {
        let (connection, _dir) = migrated();
        let (prefix, after) = ("a".to_owned(), Some("ab".to_owned()));
        let by_id = |after| UserOrder::ById { after };
        let by_email = |after| UserOrder::ByEmail { prefix: prefix.clone(), after };
        let id = UserId::from_bytes([1; 16]);
        for order in [by_id(None), by_id(Some(id)), by_email(None), by_email(after)] {
            for role in [None, Some("admin".to_owned())] {
                for disabled in [None, Some(true), Some(false)] {
                    let (order, role) = (order.clone(), role.clone());
                    let filter = UserFilter { order, role, disabled, limit: 9 };
                    assert_eq!(list(&connection, &filter), Ok(Vec::new()), "{filter:?}");
                }
            }
        }
    }
}
