//! The store in one SQLite file.
//!
//! - [`writer`]: one thread, one connection; whatever waits is committed together.
//! - [`readers`]: a few threads with connections that cannot write.
//! - `users`, `administration`, `sessions`, `second_factor`, `mail`, `revocations`, `audit`,
//!   `keys`, `service_keys`, `statistics`, `load` and `purge`: the use cases, each a function of a
//!   connection inside a transaction; `sql` has their statements, `rows` reads what comes back.
//! - [`migrations`], [`connection`]: the file, its schema, and what failures mean.
//! - `source`: the file as what is copied to PostgreSQL, and closed.

mod administration;
mod audit;
mod chain;
mod connection;
mod imports;
mod keys;
mod load;
mod mail;
mod migrations;
mod purge;
mod queue;
mod readers;
mod revocations;
mod rows;
mod second_factor;
mod service_keys;
mod sessions;
#[cfg(feature = "postgres")]
mod source;
mod sql;
mod statistics;
mod unlocking;
mod users;
mod writer;

use std::fmt;
use std::path::Path;

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
    Purged, QueuedMail, Resealed, RevocationCursor, RevocationPage, Revoke, RotateOutcome,
    SessionFilter, SessionOfUser, Store, StoreError, User,
};
use readers::Readers;
#[cfg(feature = "postgres")]
pub(super) use source::Source;
use writer::Writer;

/// Keeps everything in one SQLite file, durable at every answer. One process serves it at a time;
/// the command line may open it meanwhile.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
}

impl SqliteStore {
    /// Opens the file, makes it (for its owner alone) where there is none, and applies the
    /// migrations that are missing, as of `now`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the file cannot be opened or written, is no database, or
    /// belongs to a newer version of Keyward.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, StoreError> {
        connection::create_file(path)?;
        let mut connection = connection::open_writer(path)?;
        migrations::apply(&mut connection, now)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            writer: Writer::start(path, connection)?,
            readers: Readers::start(path, threads.min(READERS_MAX))?,
        })
    }

    /// Every migration of this version, with when it was applied to the file at `path`, which need
    /// not exist. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`].
    pub fn migrations(path: &Path) -> Result<Vec<Migration>, StoreError> {
        migrations::list(path)
    }

    /// Takes back a file whose data were moved to PostgreSQL. What the other store has done since
    /// is not in it: tokens that were spent there could be exchanged again. So every session ends,
    /// as after a restored backup, unless `ends_sessions` is false, because the other store has
    /// never served anybody.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the file cannot be written, or its data were not moved.
    #[cfg(feature = "postgres")]
    pub fn reopen(
        path: &Path,
        ends_sessions: bool,
        context: &AuditContext,
    ) -> Result<Reopened, StoreError> {
        source::reopen(path, ends_sessions, context)
    }

    /// Finishes what waits and closes the file; whatever comes later is
    /// [`StoreError::Unavailable`]. Dropping the store does the same. Blocks the calling thread
    /// until the disk has everything.
    pub fn close(&self) {
        // Readers first: the writer's connection is the last one then, and cleans up the log.
        self.readers.close();
        self.writer.close();
    }
}

/// What became of a file that was taken back.
#[cfg(feature = "postgres")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reopened {
    /// When its data had been moved: what came later is not in it.
    pub moved_at: Timestamp,
    /// How many sessions were ended.
    pub sessions_ended: usize,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteStore")
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn insert_user(
        &self,
        user: NewUser,
        session: Option<NewSession>,
        context: &AuditContext,
    ) -> Result<InsertUserOutcome, StoreError> {
        let context = context.clone();
        self.writer
            .write(move |connection| users::insert(connection, &user, session.as_ref(), &context))
            .await
    }

    async fn find_user_by_email(&self, email_key: &str) -> Result<Option<Account>, StoreError> {
        let email_key = email_key.to_owned();
        self.readers.read(move |connection| users::find_by_email(connection, &email_key)).await
    }

    async fn find_user(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.readers.read(move |connection| users::find_account(connection, id)).await
    }

    async fn set_name(
        &self,
        id: UserId,
        name: Option<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| users::set_name(connection, id, name, &context)).await
    }

    async fn delete_user(
        &self,
        id: UserId,
        guard: DeleteGuard,
        context: &AuditContext,
    ) -> Result<DeleteUserOutcome, StoreError> {
        let context = context.clone();
        let trace = self.readers.read(move |connection| users::trace(connection, id)).await?;
        let Some(trace) = trace else { return Ok(DeleteUserOutcome::Unmatched) };
        self.writer
            .write(move |connection| users::delete(connection, id, guard, &trace, &context))
            .await
    }

    async fn open_session(
        &self,
        session: NewSession,
        credential_version: u64,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        let context = context.clone();
        self.writer
            .write(move |connection| {
                users::open_session(connection, &session, credential_version, &context)
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
        let context = context.clone();
        self.writer
            .write(move |connection| {
                let changed =
                    users::change_password(connection, &session, guard, &password_hash, &context)?;
                if matches!(changed, OpenSessionOutcome::Opened { .. }) {
                    mail::queue(connection, notice.as_ref())?;
                }
                Ok(changed)
            })
            .await
    }

    async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| sessions::rotate(connection, &swap, &context)).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionOfUser>, StoreError> {
        self.readers.read(move |connection| sessions::find_of_user(connection, id)).await
    }

    async fn list_sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, StoreError> {
        self.readers.read(move |connection| sessions::list(connection, &filter)).await
    }

    async fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| sessions::revoke(connection, revoke, &context)).await
    }

    async fn list_revocations(
        &self,
        after: Option<&RevocationCursor>,
        limit: u32,
    ) -> Result<RevocationPage, StoreError> {
        let after = after.cloned();
        self.readers
            .read(move |connection| revocations::list(connection, after.as_ref(), limit))
            .await
    }

    async fn record(&self, events: Vec<(AuditEvent, AuditContext)>) -> Result<(), StoreError> {
        self.writer
            .write(move |connection| {
                events
                    .iter()
                    .try_for_each(|(event, context)| audit::record_late(connection, event, context))
            })
            .await
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<RecordedEvent>, StoreError> {
        self.readers.read(move |connection| audit::list(connection, &filter)).await
    }

    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.readers.read(keys::list).await
    }

    async fn rotate_key(
        &self,
        rotation: KeyRotation,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| keys::rotate(connection, &rotation, &context)).await
    }

    async fn reseal_keys(
        &self,
        keys: Vec<Resealed>,
        hand_over: Option<Checkpoint>,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        let context = context.clone();
        self.writer
            .write(move |connection| keys::reseal(connection, &keys, hand_over.as_ref(), &context))
            .await
    }

    async fn insert_service_key(
        &self,
        key: ServiceKeyRecord,
        context: &AuditContext,
    ) -> Result<(), StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| service_keys::insert(connection, &key, &context)).await
    }

    async fn find_service_key(
        &self,
        hash: ServiceKeyHash,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        self.readers.read(move |connection| service_keys::find(connection, hash)).await
    }

    async fn list_service_keys(&self) -> Result<Vec<ServiceKeyRecord>, StoreError> {
        self.readers.read(service_keys::list).await
    }

    async fn revoke_service_key(
        &self,
        id: ServiceKeyId,
        context: &AuditContext,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| service_keys::revoke(connection, id, &context)).await
    }

    async fn purge(
        &self,
        purge: Purge,
        limit: u32,
        context: &AuditContext,
    ) -> Result<Purged, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| purge::step(connection, purge, limit, &context)).await
    }

    async fn prepare_audit(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ping(&self) -> Result<Option<Timestamp>, StoreError> {
        // Nothing reads this number. To set it, even to what it is, takes a page of the log.
        self.writer
            .write(|connection| {
                // A file whose data were moved has no sessions, and would still take the number.
                connection.prepare_cached(sql::FIND_NOTHING)?.exists([])?;
                Ok(connection.pragma_update(None, "user_version", 1)?)
            })
            .await?;
        Ok(None)
    }
}

/// More would hardly help: a lookup takes microseconds, and each connection has its own cache.
const READERS_MAX: usize = 4;

#[cfg(test)]
mod tests;
