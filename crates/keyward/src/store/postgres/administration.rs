//! What administrators do with accounts.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::session::RevocationReason;
use tokio_postgres::types::{ToSql, Type};

use super::connection::{Connection, Failure, Lent, PATIENCE, Statement};
use super::rows::uuid;
use super::{PostgresStore, audit, mail, rows, second_factor, sessions, sql, users};
use crate::store::administration::{end_of_prefix, ended_by_admin, has_moved};
use crate::store::{
    AdministrationGuard, AdministrationStore, ChangeUserOutcome, EndSessionsOutcome, GivenPassword,
    ProfileChange, RevokedSubject, StoreError, User, UserChange, UserFilter, UserOrder,
};

#[async_trait]
impl AdministrationStore for PostgresStore {
    async fn list_users(&self, filter: UserFilter) -> Result<Vec<User>, StoreError> {
        self.connections.run(PATIENCE, |connection| list(connection, &filter)).await
    }

    async fn change_user(
        &self,
        id: UserId,
        change: UserChange,
        guard: AdministrationGuard,
        context: &AuditContext,
    ) -> Result<ChangeUserOutcome, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| self::change(connection, id, &change, guard, context))
            .await
    }

    async fn end_sessions(
        &self,
        subject: RevokedSubject,
        spared_role: Option<&'static str>,
        context: &AuditContext,
    ) -> Result<EndSessionsOutcome, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| {
                end_sessions(connection, subject, spared_role, context)
            })
            .await
    }
}

async fn list(connection: Lent, filter: &UserFilter) -> Result<Vec<User>, Failure> {
    let mut search = Search::default();
    let order = match &filter.order {
        UserOrder::ByEmail { prefix, after } => {
            search.add("u.email_key >=", Type::TEXT, prefix.clone());
            search.add("u.email_key <", Type::TEXT, end_of_prefix(prefix));
            if let Some(after) = after {
                search.add("u.email_key >", Type::TEXT, after.clone());
            }
            "u.email_key"
        }
        UserOrder::ById { after } => {
            if let Some(after) = after {
                search.add("u.id >", Type::UUID, uuid(after.as_bytes()));
            }
            "u.id"
        }
    };
    if let Some(role) = &filter.role {
        // In the words of the index over those who have any role.
        search.add("u.roles <> '{}' AND u.roles @>", Type::TEXT_ARRAY, vec![role.clone()]);
    }
    search.condition.push_str(match filter.disabled {
        None => "",
        Some(true) => " AND u.disabled_at IS NOT NULL",
        Some(false) => " AND u.disabled_at IS NULL",
    });
    let limit = search.next(Type::INT8, i64::from(filter.limit));
    let (columns, condition) = (sql::USER_COLUMNS, &search.condition);
    let text = format!(
        "SELECT {columns} FROM keyward.user AS u WHERE true{condition} ORDER BY {order} \
         LIMIT ${limit}"
    );
    let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(search.values.len());
    for value in &search.values {
        parameters.push(value.as_ref());
    }
    let statement = Statement { sql: &text, types: &search.types };
    let found = connection.query(statement, &parameters).await?;
    Ok(rows::all(&found, rows::user)?)
}

/// Conditions of fixed text that a parameter follows, with the types and values of all parameters.
#[derive(Default)]
struct Search {
    condition: String,
    types: Vec<Type>,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Search {
    fn add<T: ToSql + Sync + Send + 'static>(&mut self, text: &str, of_type: Type, value: T) {
        let number = self.next(of_type, value);
        self.condition.push_str(&format!(" AND {text} ${number}"));
    }

    /// The number of one more parameter.
    fn next<T: ToSql + Sync + Send + 'static>(&mut self, of_type: Type, value: T) -> usize {
        self.types.push(of_type);
        self.values.push(Box::new(value));
        self.values.len()
    }
}

/// See `AdministrationStore::change_user`.
async fn change(
    connection: Lent,
    id: UserId,
    change: &UserChange,
    guard: AdministrationGuard,
    context: &AuditContext,
) -> Result<ChangeUserOutcome, Failure> {
    // Before the account: whoever else takes the role away waits here, and sees what came of it.
    let has_other = match guard.role_at_stake(change) {
        Some(kept) => users::lock_others(&connection, id, kept).await?,
        None => true,
    };
    let Some(account) = users::lock(&connection, id).await? else {
        return Ok(ChangeUserOutcome::Unmatched);
    };
    let user = account.user;
    if let Some(refused) = guard.refuses(&user, change, |_| Ok::<_, Failure>(has_other))? {
        return Ok(refused);
    }
    let changed = match change {
        UserChange::Disable => set_disabled(&connection, user, true, context).await?,
        UserChange::Enable => set_disabled(&connection, user, false, context).await?,
        UserChange::Password(given) => set_password(&connection, user, given, context).await?,
        UserChange::Profile(change) => {
            return change_profile(&connection, user, change, context).await;
        }
        UserChange::Roles(roles) => set_roles(&connection, user, roles, context).await?,
    };
    Ok(ChangeUserOutcome::Changed(changed))
}

/// See `AdministrationStore::end_sessions`.
async fn end_sessions(
    connection: Lent,
    subject: RevokedSubject,
    spared_role: Option<&'static str>,
    context: &AuditContext,
) -> Result<EndSessionsOutcome, Failure> {
    let user_id = match subject {
        RevokedSubject::Session(id) => {
            let found = sessions::find_of_user(Lent::clone(&connection), id).await?;
            found.map(|found| found.session.user_id)
        }
        RevokedSubject::User(id) => Some(id),
    };
    let Some(user_id) = user_id else { return Ok(EndSessionsOutcome::Unmatched) };
    // Before the sessions: whoever gives the role at this moment has committed, or waits.
    let Some(account) = users::lock(&connection, user_id).await? else {
        return Ok(EndSessionsOutcome::Unmatched);
    };
    if spared_role.is_some_and(|role| account.user.has_role(role)) {
        return Ok(EndSessionsOutcome::Spared);
    }
    let revoke = &ended_by_admin(subject);
    let ended = match subject {
        RevokedSubject::Session(id) => {
            sessions::revoke_one(connection, id, None, revoke, context).await?
        }
        RevokedSubject::User(id) => {
            sessions::revoke_of_user(connection, id, revoke, context).await?
        }
    };
    Ok(EndSessionsOutcome::Ended(ended))
}

async fn set_disabled(
    connection: &Connection,
    user: User,
    disabled: bool,
    context: &AuditContext,
) -> Result<User, Failure> {
    if user.disabled_at.is_some() == disabled {
        return Ok(user);
    }
    let disabled_at = disabled.then_some(context.at);
    users::set_disabled_at(connection, user.id, disabled_at).await?;
    let kind = if disabled { AuditKind::UserDisabled {} } else { AuditKind::UserEnabled {} };
    let mut events = vec![AuditEvent::of_user(kind, user.id)];
    if disabled {
        let reason = RevocationReason::UserDisabled;
        sessions::end_every(connection, user.id, reason, context, &mut events).await?;
    } else {
        second_factor::forget_challenges(connection, user.id).await?;
    }
    audit::record(connection, &events, context).await?;
    Ok(User { disabled_at, ..user })
}

async fn set_password(
    connection: &Connection,
    user: User,
    given: &GivenPassword,
    context: &AuditContext,
) -> Result<User, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&uuid(user.id.as_bytes()), &given.hash.as_phc()];
    connection.query(sql::SET_PASSWORD, parameters).await?;
    let mut events = vec![AuditEvent::of_user(AuditKind::PasswordSet {}, user.id)];
    let reason = RevocationReason::PasswordReset;
    sessions::end_every(connection, user.id, reason, context, &mut events).await?;
    audit::record(connection, &events, context).await?;
    mail::queue(connection, given.notice.as_ref()).await?;
    Ok(user)
}

async fn set_roles(
    connection: &Connection,
    user: User,
    roles: &[String],
    context: &AuditContext,
) -> Result<User, Failure> {
    if user.roles == roles {
        return Ok(user);
    }
    connection.query(sql::SET_ROLES, &[&uuid(user.id.as_bytes()), &roles]).await?;
    let changed = AuditKind::UserRolesChanged { before: user.roles, after: roles.to_vec() };
    audit::record(connection, &[AuditEvent::of_user(changed, user.id)], context).await?;
    Ok(User { roles: roles.to_vec(), ..user })
}

async fn change_profile(
    connection: &Connection,
    user: User,
    change: &ProfileChange,
    context: &AuditContext,
) -> Result<ChangeUserOutcome, Failure> {
    let email_key = change.email.as_ref().map(Email::key);
    if let Some(key) = email_key {
        let found = connection.query(sql::FIND_ACCOUNT_BY_EMAIL, &[&key]).await?;
        let owner = rows::first(&found, rows::account)?;
        if owner.is_some_and(|owner| owner.user.id != user.id) {
            return Ok(ChangeUserOutcome::EmailTaken);
        }
    }
    let Some((after, updated)) = change.applied_to(&user) else {
        return Ok(ChangeUserOutcome::Changed(user));
    };
    let claims = serde_json::Value::Object(after.claims.clone()).to_string();
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &uuid(after.id.as_bytes()),
        &after.email,
        &email_key,
        &after.name,
        &after.email_verified,
        &claims,
    ];
    let set = connection.query(sql::SET_PROFILE, parameters).await;
    // An account that got the address meanwhile is all that the constraints of the table can find
    // wrong with the row. Once more, and it is seen above.
    if let Err(Failure::Store(StoreError::Inconsistent(_))) = set {
        return Err(Failure::Undone);
    }
    set?;
    if has_moved(&user, &after) {
        second_factor::forget_challenges(connection, user.id).await?;
    }
    audit::record(connection, &[AuditEvent::of_user(updated, after.id)], context).await?;
    mail::queue(connection, change.notice_of(&user, &after)).await?;
    Ok(ChangeUserOutcome::Changed(after))
}
