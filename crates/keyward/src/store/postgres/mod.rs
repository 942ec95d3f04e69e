//! The store on a PostgreSQL server, or on what speaks its protocol.
//!
//! - `settings`: where the server is and how it is reached.
//! - `connection`: one connection; deadlines, transactions, what failures mean. `pool` keeps
//!   the bounded set of them.
//! - `users`, `administration`, `sessions`, `second_factor`, `mail`, `revocations`, `audit`,
//!   `keys`, `service_keys`, `statistics`, `load` and `purge`: the use cases, each a function of a
//!   connection; `sql` has their statements, `rows` reads what comes back.
//! - `rotations`: exchanges of refresh tokens on their way to one commit.
//! - `migrations`: the schema, and what the role of the running service may do with it; `upgrade`
//!   applies them beside nodes that serve.
//! - `target`: the database as what the store in a file is copied into.
//!
//! Locks are taken in one order everywhere: the user, then sessions by their ids. So no two
//! transactions wait for each other.

mod administration;
mod audit;
mod chain;
mod connection;
#[cfg(any(test, feature = "contract"))]
pub mod fresh;
mod imports;
mod keys;
mod load;
mod mail;
mod migrations;
mod pool;
mod purge;
mod revocations;
mod rotations;
mod rows;
mod second_factor;
mod service_keys;
mod sessions;
mod settings;
mod sql;
mod statistics;
mod target;
mod unlocking;
mod upgrade;
mod users;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use keyward_core::audit::chain::Checkpoint;
use keyward_core::audit::{AuditContext, AuditEvent, RecordedEvent};
use keyward_core::id::{ServiceKeyId, SessionId, UserId};
use keyward_core::service_key::{ServiceKeyHash, ServiceKeyRecord};
use keyward_core::session::{Session, Swap};
use keyward_core::time::Timestamp;

use super::{
    Account, AuditFilter, DeleteGuard, DeleteUserOutcome, InsertUserOutcome, KeyRecord,
    KeyRotation, Migration, NewSession, NewUser, OpenSessionOutcome, OwnGuard, PasswordHash, Purge,
    Purged, QueuedMail, Resealed, RevocationCursor, RevocationPage, Revoke, RevokeScope,
    RotateOutcome, SessionFilter, SessionOfUser, Store, StoreError, User,
};
pub(super) use chain::Window;
use connection::{Connections, PATIENCE, PATIENCE_FOR_TABLES};
pub(super) use revocations::Reading;
use rotations::Rotations;
pub use settings::PostgresSettings;
pub(super) use target::{CopiedFile, Target};

/// Keeps everything in the schema `keyward` of one database, durable at every answer. Any number of
/// processes may use it at once.
pub struct PostgresStore {
    connections: Arc<Connections>,
    rotations: Rotations,
}

impl PostgresStore {
    /// Connects, and applies the migrations that are missing, as of `now`. Where none is missing,
    /// any role will do that was granted what [`PostgresStore::grant`] grants.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the server cannot be reached, refuses the role, or holds
    /// the database of a newer version of Keyward.
    pub async fn open(settings: &PostgresSettings, now: Timestamp) -> Result<Self, StoreError> {
        let connections = Connections::new(settings)?;
        upgrade::upgrade(&connections, now, |waiting| tracing::warn!("{waiting}")).await?;
        let connections = Arc::new(connections);
        let rotations = Rotations::new(Arc::clone(&connections), settings);
        let store = Self { connections, rotations };
        if let Err(why) = store.prepare_audit().await {
            // What belongs to no partition goes to the default one.
            tracing::warn!(%why, "the audit log got no partition for the coming months");
        }
        Ok(store)
    }

    /// Applies the migrations that are missing, as of `now`. Where others keep a table that one
    /// needs for itself, `report` is told who they are, in a sentence, and for ten minutes at most
    /// it is tried again; nobody waits behind it for longer than a moment.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`].
    pub async fn migrate(
        settings: &PostgresSettings,
        now: Timestamp,
        report: impl Fn(&str),
    ) -> Result<(), StoreError> {
        upgrade::upgrade(&Connections::new(settings)?, now, report).await
    }

    /// Every migration of this version, with when it was applied to the database. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`].
    pub async fn migrations(settings: &PostgresSettings) -> Result<Vec<Migration>, StoreError> {
        Connections::new(settings)?.run(PATIENCE, migrations::list).await
    }

    /// Whether this role may apply migrations that are to come.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the server cannot be reached.
    pub async fn may_migrate(settings: &PostgresSettings) -> Result<bool, StoreError> {
        Connections::new(settings)?.run(PATIENCE, migrations::may_apply).await
    }

    /// Grants a role what the running service needs, and nothing beyond. Takes the owner's role.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where there is no such role, or this one may not grant: then
    /// nothing is granted.
    pub async fn grant(&self, role: &str) -> Result<(), StoreError> {
        self.connections.transact(PATIENCE, |connection| migrations::grant(connection, role)).await
    }

    /// The settings by which the server may forget in a crash what it has confirmed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the server cannot be reached.
    pub async fn weak_settings(&self) -> Result<Vec<String>, StoreError> {
        self.connections.run(PATIENCE, connection::weak_settings).await
    }

    /// Whether the role owns the tables or is a superuser: then nothing keeps whoever gets hold of
    /// its password from rewriting the audit log.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the server cannot be reached.
    pub async fn may_do_anything(&self) -> Result<bool, StoreError> {
        self.connections.run(PATIENCE, connection::may_do_anything).await
    }

    /// What the role lacks of the rights that [`PostgresStore::grant`] grants, such as
    /// `DELETE on keyward.mail`: one that was granted those of an older version may serve, but for
    /// what needs the newer ones.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the server cannot be reached.
    pub async fn lacking_rights(&self) -> Result<Vec<String>, StoreError> {
        self.connections.run(PATIENCE, migrations::lacking).await
    }

    /// Ends the connections; whatever comes later is [`StoreError::Unavailable`].
    pub fn close(&self) {
        self.connections.close();
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresStore")
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn insert_user(
        &self,
        user: NewUser,
        session: Option<NewSession>,
        context: &AuditContext,
    ) -> Result<InsertUserOutcome, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| {
                users::insert(connection, &user, session.as_ref(), context)
            })
            .await
    }

    async fn find_user_by_email(&self, email_key: &str) -> Result<Option<Account>, StoreError> {
        self.connections
            .run(PATIENCE, |connection| users::find_by_email(connection, email_key))
            .await
    }

    async fn find_user(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.connections.run(PATIENCE, |connection| users::find_account(connection, id)).await
    }

    async fn set_name(
        &self,
        id: UserId,
        name: Option<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| users::set_name(connection, id, &name, context))
            .await
    }

    async fn delete_user(
        &self,
        id: UserId,
        guard: DeleteGuard,
        context: &AuditContext,
    ) -> Result<DeleteUserOutcome, StoreError> {
        let traced = self
            .connections
            .run(PATIENCE_FOR_TABLES, |connection| users::trace(connection, id))
            .await?;
        let Some(traced) = traced else { return Ok(DeleteUserOutcome::Unmatched) };
        self.connections
            .transact(PATIENCE_FOR_TABLES, |connection| {
                users::delete(connection, id, guard, &traced, context)
            })
            .await
    }

    async fn open_session(
        &self,
        session: NewSession,
        credential_version: u64,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| {
                users::open_session(connection, &session, credential_version, context)
            })
            .await
    }

    async fn change_password(
        &self,
        session: NewSession,
        guard: OwnGuard,
        password_hash: PasswordHash,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| {
                let (new, hash, notice) = (&session, &password_hash, notice.as_ref());
                users::change_password(connection, new, guard, hash, notice, context)
            })
            .await
    }

    async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        self.rotations.rotate(swap, context).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionOfUser>, StoreError> {
        self.connections.run(PATIENCE, |connection| sessions::find_of_user(connection, id)).await
    }

    async fn list_sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, StoreError> {
        self.connections.run(PATIENCE, |connection| sessions::list(connection, &filter)).await
    }

    async fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        let (connections, revoke) = (&self.connections, &revoke);
        let one = |id, user_id| {
            connections.transact(PATIENCE, move |connection| {
                sessions::revoke_one(connection, id, user_id, revoke, context)
            })
        };
        match revoke.scope {
            RevokeScope::All => {
                sessions::revoke_all(connections, revoke, sessions::STEP_MAX, context).await
            }
            RevokeScope::Session(id) => one(id, None).await,
            RevokeScope::SessionOf(id, user_id) => one(id, Some(user_id)).await,
            RevokeScope::User(id) => {
                connections
                    .transact(PATIENCE, |connection| {
                        sessions::revoke_of_user(connection, id, revoke, context)
                    })
                    .await
            }
        }
    }

    async fn list_revocations(
        &self,
        after: Option<&RevocationCursor>,
        limit: u32,
    ) -> Result<RevocationPage, StoreError> {
        self.connections
            .run(PATIENCE, |connection| revocations::list(connection, after, limit))
            .await
    }

    async fn record(&self, events: Vec<(AuditEvent, AuditContext)>) -> Result<(), StoreError> {
        self.connections.run(PATIENCE, |connection| audit::record_all(connection, &events)).await
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<RecordedEvent>, StoreError> {
        self.connections.run(PATIENCE, |connection| audit::list(connection, &filter)).await
    }

    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.connections.run(PATIENCE, keys::list).await
    }

    async fn rotate_key(
        &self,
        rotation: KeyRotation,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| keys::rotate(connection, &rotation, context))
            .await
    }

    async fn reseal_keys(
        &self,
        keys: Vec<Resealed>,
        hand_over: Option<Checkpoint>,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| {
                keys::reseal(connection, &keys, hand_over.as_ref(), context)
            })
            .await
    }

    async fn insert_service_key(
        &self,
        key: ServiceKeyRecord,
        context: &AuditContext,
    ) -> Result<(), StoreError> {
        self.connections
            .transact(PATIENCE, |connection| service_keys::insert(connection, &key, context))
            .await
    }

    async fn find_service_key(
        &self,
        hash: ServiceKeyHash,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        self.connections.run(PATIENCE, |connection| service_keys::find(connection, hash)).await
    }

    async fn list_service_keys(&self) -> Result<Vec<ServiceKeyRecord>, StoreError> {
        self.connections.run(PATIENCE, service_keys::list).await
    }

    async fn revoke_service_key(
        &self,
        id: ServiceKeyId,
        context: &AuditContext,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| service_keys::revoke(connection, id, context))
            .await
    }

    async fn purge(
        &self,
        purge: Purge,
        limit: u32,
        context: &AuditContext,
    ) -> Result<Purged, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| purge::step(connection, purge, limit, context))
            .await
    }

    async fn prepare_audit(&self) -> Result<(), StoreError> {
        self.connections.run(PATIENCE, purge::add_audit_partitions).await
    }

    async fn ping(&self) -> Result<Option<Timestamp>, StoreError> {
        self.connections.run(PATIENCE, connection::ping).await
    }
}

#[cfg(test)]
mod tests;
