//! The service under simulation: the real router over the real store, started, stepped, crashed and
//! started again.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use keyward::clock::ManualClock;
use keyward::entropy::danger_for_tests::SeededEntropy;
use keyward::policy::Policy;
use keyward::store::{AuditFilter, AuditOrder, Revoke, Store, UserFilter};
use keyward_core::access_token::Algorithm;
use keyward_core::audit::{AuditContext, RecordedEvent};
use keyward_core::id::{SessionId, UserId};
use keyward_core::session::{Device, Session};
use keyward_core::time::Timestamp;

use crate::common::{Answer, PASSWORD, TestApp};
use crate::host::{Disk, Host, StoreKind};
use crate::plan::Plan;
use crate::planted::Bug;
use crate::stepped_store::{Point, Points, SteppedStore, Trouble};

/// A service, what it runs on, and a look at its store that no fault disturbs.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    host: &'a Host,
    disk: Disk,
    clock: Arc<ManualClock>,
    entropy: Arc<SeededEntropy>,
    plan: Plan,
    bug: Option<Bug>,
    points: Arc<Points>,
    /// The store itself, behind stops, faults and bugs. `None` only between two lives.
    store: Option<Arc<dyn Store>>,
    app: Option<TestApp>,
    pub(crate) user: UserId,
}

/// A request that the service is working on.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Answer>>>;

/// How far a request has come.
pub(crate) enum Step {
    Stopped(Point),
    Answered(Answer),
}

impl<'a> Machine<'a> {
    /// A service that runs, with one user.
    pub(crate) fn start(
        host: &'a Host,
        disk: Disk,
        plan: Plan,
        bug: Option<Bug>,
        seed: u64,
    ) -> Self {
        let mut machine = Self {
            host,
            disk,
            clock: Arc::new(ManualClock::new(START)),
            entropy: Arc::new(SeededEntropy::new(seed)),
            plan,
            bug,
            points: Arc::default(),
            store: None,
            app: None,
            user: UserId::from_bytes([0; 16]),
        };
        machine.switch_on();
        let users = machine.store().list_users(UserFilter::every(None, 1));
        machine.user = host.finish(users).expect("a store")[0].id;
        machine
    }

    /// Begins to answer a request; it goes on with each step.
    pub(crate) fn accept(&self, request: Request<Body>) -> Answering {
        let app = self.app.clone().expect("it runs");
        Box::pin(async move { app.send(request).await })
    }

    /// Lets one request, and nothing else, go on to its next call of the store or to its end.
    pub(crate) fn step(&self, answering: &mut Answering, trouble: Trouble) -> Step {
        self.points.arm(trouble);
        let mut point = None;
        let answer = self.host.run(answering.as_mut(), || {
            point = self.points.take_stopped();
            point.is_some()
        });
        match (answer, point) {
            (Some(mut answer), _) => {
                if let Some(bug) = self.bug {
                    bug.answer(&mut answer);
                }
                Step::Answered(answer)
            }
            (None, Some(point)) => Step::Stopped(point),
            (None, None) => unreachable!("it goes on until it stops or ends"),
        }
    }

    /// Ends the process with all that it is doing, and starts it again on what the disk holds.
    /// Every request that it was answering must be gone by now.
    pub(crate) fn crash(&mut self, log_bytes: Option<u64>) {
        self.disk.lose_power(log_bytes);
        self.app = None;
        self.store = None;
        self.switch_on();
    }

    /// How long the write-ahead log is.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.disk.log_bytes()
    }

    pub(crate) fn now(&self) -> Timestamp {
        keyward::clock::Clock::now(&*self.clock)
    }

    /// Lets time pass, for clocks and deadlines.
    pub(crate) fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
        self.host.advance(duration);
    }

    /// Sets the clock back, as a time server may; deadlines do not notice.
    pub(crate) fn set_back(&self, duration: Duration) {
        self.clock.set(self.now().minus(duration));
    }

    /// The session as it is committed.
    pub(crate) fn session(&self, id: SessionId) -> Option<Session> {
        let found = self.host.finish(self.store().find_session(id)).expect("a store");
        found.map(|found| found.session)
    }

    /// What the operator's command line does: it has the store to itself.
    pub(crate) fn revoke(&self, revoke: Revoke) {
        self.points.end();
        let store = &self.app.as_ref().expect("it runs").store;
        let context = AuditContext {
            at: self.now(),
            device: Device::default(),
            request_id: None,
            actor: None,
        };
        self.host.finish(store.revoke(revoke, &context)).expect("a store");
        self.points.begin();
    }

    /// Whether the audit log holds an event of this name about this session.
    pub(crate) fn has_recorded(&self, name: &str, id: SessionId) -> bool {
        let filter = AuditFilter {
            name: Some(name.to_owned()),
            session_id: Some(id),
            order: AuditOrder::Newest,
            limit: 1,
            ..AuditFilter::default()
        };
        let events: Vec<RecordedEvent> =
            self.host.finish(self.store().list_audit(filter)).expect("a store");
        !events.is_empty()
    }

    fn switch_on(&mut self) {
        let store = self.disk.open(self.now());
        self.points.end();
        let stepped = SteppedStore::new(Arc::clone(&store), Arc::clone(&self.points), self.bug);
        let app = start_service(self.host, Arc::new(stepped), self, |policy| {
            self.plan.steer(policy);
        });
        self.points.begin();
        self.store = Some(store);
        self.app = Some(app);
    }

    fn store(&self) -> &dyn Store {
        self.store.as_deref().expect("it runs")
    }
}

/// A disk with the keys of a service and one user, from which histories start.
pub(crate) fn prepare(host: &Host, kind: StoreKind) -> Disk {
    let disk = Disk::empty(kind);
    let store = disk.open(START);
    let clock = Arc::new(ManualClock::new(START));
    host.finish(async {
        let app = TestApp::start(store, clock, Arc::new(SeededEntropy::new(0)), cheap).await;
        app.registered(EMAIL).await;
    });
    disk
}

fn start_service(
    host: &Host,
    store: Arc<dyn Store>,
    machine: &Machine<'_>,
    steer: impl FnOnce(&mut Policy),
) -> TestApp {
    let (clock, entropy) = (Arc::clone(&machine.clock), Arc::clone(&machine.entropy));
    host.finish(TestApp::start(store, clock, entropy, |policy| {
        cheap(policy);
        steer(policy);
    }))
}

/// What makes a history quick, and its keys those of its seed.
fn cheap(policy: &mut Policy) {
    policy.access_token.algorithm = Algorithm::Hs256;
    policy.hashing.concurrency_max = 1;
    // Whoever forgets which password is the present one tries both.
    policy.limits.login_account = None;
    policy.limits.login_account_total = None;
    policy.limits.login_device = None;
    policy.limits.login_range = None;
    policy.limits.login_address = None;
}

pub(crate) const EMAIL: &str = "ada@example.org";

/// The passwords between which the user changes.
pub(crate) const PASSWORDS: [&str; 2] = [PASSWORD, "regenschirm aus zimt"];

const START: Timestamp = Timestamp::from_secs(1_790_000_000);
