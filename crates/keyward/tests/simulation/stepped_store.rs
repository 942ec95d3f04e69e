//! The store as the service under simulation sees it: every call stops twice, before it begins and
//! after it is done, until the scheduler lets it go on; and it may fail on either side.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use async_trait::async_trait;
use keyward::store::{
    Account, AuditFilter, DeleteGuard, DeleteUserOutcome, InsertUserOutcome, KeyRecord,
    KeyRotation, NewSession, NewUser, OpenSessionOutcome, PasswordHash, Resealed, Revoke,
    RotateOutcome, SessionFilter, SessionOfUser, Standing, Store, StoreError, User,
};
use keyward_core::audit::{AuditContext, AuditEvent, RecordedEvent};
use keyward_core::id::{ServiceKeyId, SessionId, UserId};
use keyward_core::service_key::{ServiceKeyHash, ServiceKeyRecord};
use keyward_core::session::{Session, Swap};

use crate::host::finish;
use crate::planted::Bug;

/// A store whose calls stop at points.
#[derive(Debug)]
pub(crate) struct SteppedStore {
    inner: Arc<dyn Store>,
    points: Arc<Points>,
    bug: Option<Bug>,
}

impl SteppedStore {
    pub(crate) fn new(inner: Arc<dyn Store>, points: Arc<Points>, bug: Option<Bug>) -> Self {
        Self { inner, points, bug }
    }

    async fn step<T>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.points.stop(Point { call, when: When::Before }).await;
        let fault = self.points.take_fault();
        if fault == Some(Fault::Fails) {
            return Err(StoreError::Unavailable("the call never arrived".to_owned()));
        }
        // To its end, even where the request's deadline has passed meanwhile: the store's own
        // threads would see it through, and when they do must not be left to chance.
        let done = finish(work);
        self.points.stop(Point { call, when: When::After }).await;
        if fault == Some(Fault::AnswerLost) {
            return Err(StoreError::Unavailable("the answer never arrived".to_owned()));
        }
        done
    }

    /// How a database with snapshots answers the loser of a race: with the session as it was when
    /// the statement began.
    async fn rotate_on_snapshot(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        let before = finish(self.inner.find_session(swap.session_id))?;
        let outcome = self.step(Call::Rotate, self.swap(swap, context)).await?;
        if matches!(outcome, RotateOutcome::Swapped(_)) {
            return Ok(outcome);
        }
        let (session, user) = before.map(|found| (found.session, found.user)).unzip();
        Ok(RotateOutcome::Refused(Standing { session, user }))
    }

    async fn swap(&self, swap: Swap, context: &AuditContext) -> Result<RotateOutcome, StoreError> {
        match self.bug {
            Some(bug) => bug.rotate(&*self.inner, swap, context).await,
            None => self.inner.rotate(swap, context).await,
        }
    }

    async fn end(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        match self.bug {
            Some(bug) => bug.revoke(&*self.inner, revoke, context).await,
            None => self.inner.revoke(revoke, context).await,
        }
    }
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) call: Call,
    pub(crate) when: When,
}

/// On which side of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

/// What is asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Record,
    Rotate,
    Revoke,
    OpenSession,
    ChangePassword,
    Other,
}

impl Call {
    /// Whether it may change a session.
    pub(crate) fn changes_sessions(self) -> bool {
        matches!(self, Self::Rotate | Self::Revoke | Self::OpenSession | Self::ChangePassword)
    }
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing happens.
    Fails,
    /// It happens, but the service does not learn so.
    AnswerLost,
}

/// What a request meets in its next step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The call that begins fails.
    pub(crate) fault: Option<Fault>,
    /// A swap that comes up works on a snapshot.
    pub(crate) snapshot: bool,
    /// The power fails while the store writes what it asks for.
    pub(crate) power_cut: bool,
    /// The store keeps it waiting: it goes nowhere, unless its deadline has passed.
    pub(crate) stuck: bool,
}

/// What scheduler and store tell each other.
#[derive(Debug, Default)]
pub(crate) struct Points(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stepping: bool,
    stopped: Option<Point>,
    trouble: Trouble,
}

impl Points {
    /// From now on calls stop.
    pub(crate) fn begin(&self) {
        self.state().stepping = true;
    }

    /// From now on calls go through.
    pub(crate) fn end(&self) {
        *self.state() = State::default();
    }

    /// Where the request that has just run has stopped, if it did.
    pub(crate) fn take_stopped(&self) -> Option<Point> {
        self.state().stopped.take()
    }

    /// What becomes of the request that goes on next.
    pub(crate) fn arm(&self, trouble: Trouble) {
        let mut state = self.state();
        state.trouble = trouble;
        state.stopped = None;
    }

    async fn stop(&self, point: Point) {
        if !self.state().stepping {
            return;
        }
        let mut stopped = false;
        poll_fn(|_| {
            let mut state = self.state();
            if stopped && !state.trouble.stuck {
                return Poll::Ready(());
            }
            stopped = true;
            state.stopped = Some(point);
            Poll::Pending
        })
        .await;
    }

    fn take_fault(&self) -> Option<Fault> {
        self.state().trouble.fault.take()
    }

    fn take_snapshot(&self) -> bool {
        std::mem::take(&mut self.state().trouble.snapshot)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic under the lock")
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.when, self.call)
    }
}

#[async_trait]
impl Store for SteppedStore {
    async fn insert_user(
        &self,
        user: NewUser,
        session: Option<NewSession>,
        context: &AuditContext,
    ) -> Result<InsertUserOutcome, StoreError> {
        self.step(Call::Other, self.inner.insert_user(user, session, context)).await
    }

    async fn find_user_by_email(&self, email_key: &str) -> Result<Option<Account>, StoreError> {
        self.step(Call::Read, self.inner.find_user_by_email(email_key)).await
    }

    async fn find_user(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.step(Call::Read, self.inner.find_user(id)).await
    }

    async fn list_users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError> {
        self.step(Call::Read, self.inner.list_users(after, limit)).await
    }

    async fn set_name(
        &self,
        id: UserId,
        name: Option<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.step(Call::Other, self.inner.set_name(id, name, context)).await
    }

    async fn set_roles(
        &self,
        id: UserId,
        roles: Vec<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.step(Call::Other, self.inner.set_roles(id, roles, context)).await
    }

    async fn set_disabled(
        &self,
        id: UserId,
        disabled: bool,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.step(Call::Other, self.inner.set_disabled(id, disabled, context)).await
    }

    async fn delete_user(
        &self,
        id: UserId,
        guard: DeleteGuard,
        context: &AuditContext,
    ) -> Result<DeleteUserOutcome, StoreError> {
        self.step(Call::Other, self.inner.delete_user(id, guard, context)).await
    }

    async fn open_session(
        &self,
        session: NewSession,
        credential_version: u64,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        let open = self.inner.open_session(session, credential_version, context);
        self.step(Call::OpenSession, open).await
    }

    async fn change_password(
        &self,
        session: NewSession,
        credential_version: u64,
        hash: PasswordHash,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        let change = self.inner.change_password(session, credential_version, hash, context);
        self.step(Call::ChangePassword, change).await
    }

    async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        if self.points.take_snapshot() {
            return self.rotate_on_snapshot(swap, context).await;
        }
        self.step(Call::Rotate, self.swap(swap, context)).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionOfUser>, StoreError> {
        self.step(Call::Read, self.inner.find_session(id)).await
    }

    async fn list_sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, StoreError> {
        self.step(Call::Read, self.inner.list_sessions(filter)).await
    }

    async fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.step(Call::Revoke, self.end(revoke, context)).await
    }

    async fn record(&self, events: Vec<(AuditEvent, AuditContext)>) -> Result<(), StoreError> {
        self.step(Call::Record, self.inner.record(events)).await
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<RecordedEvent>, StoreError> {
        self.step(Call::Read, self.inner.list_audit(filter)).await
    }

    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.step(Call::Read, self.inner.list_keys()).await
    }

    async fn rotate_key(
        &self,
        rotation: KeyRotation,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.step(Call::Other, self.inner.rotate_key(rotation, context)).await
    }

    async fn reseal_keys(
        &self,
        keys: Vec<Resealed>,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.step(Call::Other, self.inner.reseal_keys(keys, context)).await
    }

    async fn insert_service_key(
        &self,
        key: ServiceKeyRecord,
        context: &AuditContext,
    ) -> Result<(), StoreError> {
        self.step(Call::Other, self.inner.insert_service_key(key, context)).await
    }

    async fn find_service_key(
        &self,
        hash: ServiceKeyHash,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        self.step(Call::Read, self.inner.find_service_key(hash)).await
    }

    async fn list_service_keys(&self) -> Result<Vec<ServiceKeyRecord>, StoreError> {
        self.step(Call::Read, self.inner.list_service_keys()).await
    }

    async fn revoke_service_key(
        &self,
        id: ServiceKeyId,
        context: &AuditContext,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        self.step(Call::Other, self.inner.revoke_service_key(id, context)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.step(Call::Other, self.inner.ping()).await
    }
}
