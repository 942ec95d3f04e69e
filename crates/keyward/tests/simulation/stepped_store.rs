//! The store as the service under simulation sees it: every call stops twice, before it begins and
//! after it is done, until the scheduler lets it go on; and it may fail on either side.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use keyward::store::layer::{Call, Layer};
use keyward::store::{Revoke, RotateOutcome, Standing, Store, StoreError};
use keyward_core::audit::AuditContext;
use keyward_core::id::SessionId;
use keyward_core::session::Swap;

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

    /// How a database with snapshots answers the loser of a race: with the session as it was when
    /// the statement began.
    async fn rotate_on_snapshot(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        let before = finish(self.inner.find_session(swap.session_id))?;
        let outcome = self.pass(Call::Rotate, self.swap(swap, context)).await?;
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

impl Layer for SteppedStore {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    async fn pass<T: Send>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>> + Send,
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

    async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        if self.points.take_snapshot() {
            return self.rotate_on_snapshot(swap, context).await;
        }
        self.pass(Call::Rotate, self.swap(swap, context)).await
    }

    async fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.pass(Call::Revoke, self.end(revoke, context)).await
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

/// Whether such a call may change a session.
pub(crate) fn changes_sessions(call: Call) -> bool {
    match call {
        Call::InsertUser
        | Call::DeleteUser
        | Call::OpenSession
        | Call::ChangePassword
        | Call::ChangeUser
        | Call::EndSessions
        | Call::Rotate
        | Call::Revoke
        | Call::EnableTotp
        | Call::OpenMfaSession
        | Call::ResetPassword
        | Call::Purge => true,
        Call::BeginTotp
        | Call::FindTotp
        | Call::DisableTotp
        | Call::ReplaceRecoveryCodes
        | Call::InsertMfaChallenge
        | Call::CountMfaTry
        | Call::FindUserByEmail
        | Call::CountEvents
        | Call::CountPopulation
        | Call::ForgetCounts
        | Call::KeepCounts
        | Call::LastCountedHour
        | Call::ListCounts
        | Call::ListUnlocked
        | Call::Unlock
        | Call::FindUser
        | Call::InsertUsers
        | Call::ListUsers
        | Call::ReplaceHash
        | Call::SetName
        | Call::FindSession
        | Call::ListSessions
        | Call::Record
        | Call::ListRevocations
        | Call::ListAudit
        | Call::ListKeys
        | Call::RotateKey
        | Call::ResealKeys
        | Call::InsertServiceKey
        | Call::FindServiceKey
        | Call::ListServiceKeys
        | Call::RevokeServiceKey
        | Call::IssueToken
        | Call::FindToken
        | Call::VerifyEmail
        | Call::QueueMail
        | Call::ClaimMail
        | Call::SettleMail
        | Call::LastCheckpoint
        | Call::ListCheckpoints
        | Call::ListUnsealed
        | Call::AppendCheckpoint
        | Call::KeepSalts
        | Call::FindSalts
        | Call::PrepareAudit
        | Call::Ping => false,
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
