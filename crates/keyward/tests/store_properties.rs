//! The stores do what the rules say, whatever happens to them.

#[cfg(feature = "postgres")]
use keyward::store::postgres::fresh::fresh_postgres;
use keyward::store::{
    AdministrationGuard, AuditFilter, AuditOrder, DeleteGuard, GivenPassword, KeptRole, KeyPurpose,
    KeyRecord, KeyRotation, MemoryStore, NewSession, NewUser, OwnGuard, PasswordHash, Resealed,
    Revoke, RevokeScope, RotateOutcome, SessionFilter, SqliteStore, Store, UserChange, UserFilter,
    WhichSessions,
};
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind, RecordedEvent, RegisteredBy};
use keyward_core::email::Email;
use keyward_core::id::{SessionId, UserId};
use keyward_core::keys::newest;
use keyward_core::refresh_token::{RefreshTokenHash, RetryProof, SealedSuccessor, TagTrust};
use keyward_core::rotation::{Decision, Presented, RotationPolicy, decide};
use keyward_core::session::{
    AuthenticationMethod, Device, Revocation, RevocationReason, Session, StoredProof, Swap,
    SwapRetry,
};
use keyward_core::time::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::Runtime;

/// SQL swaps exactly where the decision says so, and leaves what `Session::rotate` leaves.
#[test]
fn sqlite_swaps_as_the_rules_decide() {
    let (store, _dir) = sqlite();
    check_swaps(&runtime(), &store);
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_swaps_as_the_rules_decide() {
    let runtime = runtime();
    let (store, _database) = runtime.block_on(fresh_postgres());
    check_swaps(&runtime, &store);
}

fn check_swaps(runtime: &Runtime, store: &dyn Store) {
    runtime.block_on(store.insert_user(new_user(0), None, &context(0))).expect("a store");
    let number = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() };
    proptest!(config, |(session in any_session(), swap in any_swap())| {
        number.set(number.get() + 1);
        let id = session_id(number.get());
        let (before, swap) = (Session { id, ..session }, Swap { session_id: id, ..swap });
        let session = before.clone();
        let new = NewSession { session, supersedes: None, sessions_max: 9999, notice: None };
        runtime.block_on(store.open_session(new, 0, &context(0))).expect("a store");
        let presented = Presented {
            hash: swap.presented_hash,
            generation: swap.generation,
            trust: TagTrust::Sound,
            proof: None,
        };
        let policy = RotationPolicy::default();
        let decision = decide(Some(&before), Some(&presented), &policy, swap.at);

        let outcome = runtime.block_on(store.rotate(swap.clone(), &context(0))).expect("a store");
        let (swapped, answered) = match outcome {
            RotateOutcome::Swapped(found) => (true, Some(found.session)),
            RotateOutcome::Refused(standing) => (false, standing.session),
        };
        prop_assert_eq!(swapped, decision == Decision::Rotate);
        prop_assert_eq!(before.accepts(&swap), swapped);
        let mut after = before;
        if swapped {
            after.rotate(&swap);
        }
        prop_assert_eq!(answered.as_ref(), Some(&after));
        let found = runtime.block_on(store.find_session(id)).expect("a store");
        prop_assert_eq!(found.map(|found| found.session), Some(after));
    });
}

/// The memory store is the reference: after any history both answer alike.
#[test]
fn sqlite_equals_memory_over_any_history() {
    check_histories(&runtime(), async || sqlite());
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_equals_memory_over_any_history() {
    check_histories(&runtime(), fresh_postgres);
}

fn check_histories<S: Store, G>(runtime: &Runtime, fresh: impl AsyncFn() -> (S, G)) {
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() };
    proptest!(config, |(history in vec(any_step(), 1..60))| {
        let (store, _guard) = runtime.block_on(fresh());
        let memory = MemoryStore::new();
        for (index, step) in (1..).zip(&history) {
            let expected = runtime.block_on(take(&memory, index, step));
            let answered = runtime.block_on(take(&store, index, step));
            prop_assert_eq!(answered, expected, "step {}: {:?}", index, step);
        }
        let expected = runtime.block_on(everything(&memory));
        let found = runtime.block_on(everything(&store));
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert_eq!(found, expected);
        }
        prop_assert_eq!(found.len(), expected.len());
    });
}

#[derive(Debug, Clone)]
enum Step {
    InsertUser { user: u8, with_session: bool },
    Open { user: u8, version: u64, supersedes: Option<u8>, sessions_max: u32 },
    ChangePassword { user: u8, version: u64, supersedes: Option<u8> },
    Rotate { session: u8, swap: Box<Swap> },
    Revoke { scope: RevokeScope, reason: RevocationReason, noticed: Option<u8> },
    SetName { user: u8, name: Option<String> },
    ChangeUser { user: u8, change: UserChange },
    Delete { user: u8, version: Option<u64> },
    Record { user: u8 },
    RotateKey { purpose: KeyPurpose, compromised: bool, stale: bool },
    Reseal { stale: bool },
}

fn any_step() -> impl Strategy<Value = Step> {
    let user = 0..3_u8;
    let session = || 1..30_u8;
    let version = || 0..2_u64;
    let name = || select(vec!["a".to_owned(), "b".to_owned()]);
    let scope = prop_oneof![
        1 => Just(RevokeScope::All),
        4 => session().prop_map(|id| RevokeScope::Session(session_id(id.into()))),
        4 => (session(), 0..3_u8)
            .prop_map(|(id, user)| RevokeScope::SessionOf(session_id(id.into()), user_id(user))),
        4 => (0..3_u8).prop_map(|user| RevokeScope::User(user_id(user))),
    ];
    prop_oneof![
        6 => (user.clone(), any::<bool>())
            .prop_map(|(user, with_session)| Step::InsertUser { user, with_session }),
        12 => (user.clone(), version(), option::of(session()), 1..5_u32).prop_map(
            |(user, version, supersedes, sessions_max)| {
                Step::Open { user, version, supersedes, sessions_max }
            }
        ),
        2 => (user.clone(), version(), option::of(session())).prop_map(
            |(user, version, supersedes)| Step::ChangePassword { user, version, supersedes }
        ),
        12 => (session(), any_swap())
            .prop_map(|(session, swap)| Step::Rotate { session, swap: Box::new(swap) }),
        4 => (scope, select(RevocationReason::ALL), option::of(session()))
            .prop_map(|(scope, reason, noticed)| Step::Revoke { scope, reason, noticed }),
        1 => (user.clone(), option::of(name()))
            .prop_map(|(user, name)| Step::SetName { user, name }),
        1 => (user.clone(), vec(prop_oneof![Just("admin".to_owned()), name()], 0..2))
            .prop_map(|(user, roles)| Step::ChangeUser { user, change: UserChange::Roles(roles) }),
        2 => (user.clone(), select(vec![UserChange::Disable, UserChange::Enable, given()]))
            .prop_map(|(user, change)| Step::ChangeUser { user, change }),
        1 => (user.clone(), option::of(version()))
            .prop_map(|(user, version)| Step::Delete { user, version }),
        1 => user.prop_map(|user| Step::Record { user }),
        1 => (select(ROTATED), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(purpose, compromised, stale)| Step::RotateKey { purpose, compromised, stale }
        ),
        1 => prop::bool::weighted(0.2).prop_map(|stale| Step::Reseal { stale }),
    ]
}

/// A password that the operator sets.
fn given() -> UserChange {
    let hash = PasswordHash::from_phc("given".to_owned());
    UserChange::Password(GivenPassword { hash, notice: None })
}

/// Takes one step; answers what the store did, in a form that can be compared.
async fn take(store: &dyn Store, index: u32, step: &Step) -> String {
    let context = context(i64::from(index % 40));
    let new = |user: u8, supersedes: Option<u8>, sessions_max| NewSession {
        session: plain_session(index, user),
        // No cookie carries a session that is yet to be opened.
        supersedes: supersedes.map(u32::from).filter(|id| *id < index).map(session_id),
        sessions_max,
        notice: None,
    };
    match step.clone() {
        Step::InsertUser { user, with_session } => {
            let session = with_session.then(|| new(user, None, 3));
            format!("{:?}", store.insert_user(new_user(user), session, &context).await)
        }
        Step::Open { user, version, supersedes, sessions_max } => {
            let new = new(user, supersedes, sessions_max);
            format!("{:?}", store.open_session(new, version, &context).await)
        }
        Step::ChangePassword { user, version, supersedes } => {
            let (new, hash) = (new(user, supersedes, 9), password(index));
            let guard = own(store, user, version, context.at).await;
            format!("{:?}", store.change_password(new, guard, hash, None, &context).await)
        }
        Step::Rotate { session, swap } => {
            let swap = Swap { session_id: session_id(session.into()), ..*swap };
            format!("{:?}", store.rotate(swap, &context).await)
        }
        Step::Revoke { scope, reason, noticed } => {
            let kind = AuditKind::RefreshAheadOfStore { generation: 2, stored_generation: 1 };
            let noticed = noticed.map(|id| (session_id(id.into()), kind));
            format!("{:?}", store.revoke(Revoke { scope, reason, noticed }, &context).await)
        }
        Step::SetName { user, name } => {
            format!("{:?}", store.set_name(user_id(user), name, &context).await)
        }
        Step::ChangeUser { user, change } => {
            let guard = AdministrationGuard::default();
            format!("{:?}", store.change_user(user_id(user), change, guard, &context).await)
        }
        Step::Delete { user, version } => {
            let own = match version {
                Some(version) => Some(own(store, user, version, context.at).await),
                None => None,
            };
            let guard = DeleteGuard {
                own,
                last_of_role: Some(KeptRole { name: "admin", verified_only: false }),
                spared_role: None,
            };
            format!("{:?}", store.delete_user(user_id(user), guard, &context).await)
        }
        Step::Record { user } => {
            let event = AuditEvent::of_user(AuditKind::LoginSucceeded {}, user_id(user));
            format!("{:?}", store.record(vec![(event, context)]).await)
        }
        Step::RotateKey { purpose, compromised, stale } => {
            let rotation = rotation(store, index, purpose, stale).await;
            let rotation = KeyRotation { compromised, ..rotation };
            format!("{:?}", store.rotate_key(rotation, &context).await)
        }
        Step::Reseal { stale } => {
            let rows = store.list_keys().await.expect("a store").into_iter();
            let sealed = index.to_be_bytes().to_vec();
            let resealed = |key| Resealed { key, sealed: sealed.clone() };
            let keys = rows.skip(usize::from(stale)).map(resealed).collect();
            format!("{:?}", store.reseal_keys(keys, None, &context).await)
        }
    }
}

/// What the user shows in the session used last, or in one that is not there where none is live.
async fn own(store: &dyn Store, user: u8, credential_version: u64, now: Timestamp) -> OwnGuard {
    let (user_id, which) = (Some(user_id(user)), WhichSessions::Live);
    let filter = SessionFilter { user_id, which, now, limit: 1 };
    let live = store.list_sessions(filter).await.expect("a store");
    let session_id = live.first().map_or(session_id(0), |session| session.id);
    OwnGuard { session_id, credential_version }
}

/// A new key, which takes the oldest key's row away if it can.
async fn rotation(store: &dyn Store, index: u32, purpose: KeyPurpose, stale: bool) -> KeyRotation {
    let rows = store.list_keys().await.expect("a store");
    let key = KeyRecord {
        id: index.to_string(),
        purpose,
        algorithm: "ES256".to_owned(),
        sealed: vec![1],
        created_at: at(index.into()),
        activates_at: at(index.into()),
        compromised_at: None,
    };
    KeyRotation {
        key,
        replaces: newest(&rows, purpose).filter(|_| !stale).cloned(),
        compromised: false,
        gone: rows.first().map(|row| row.id.clone()).into_iter().collect(),
    }
}

/// All that the store can tell.
async fn everything(store: &dyn Store) -> Vec<String> {
    let order = AuditOrder::After(0);
    let audit = AuditFilter { order, limit: 9999, ..AuditFilter::default() };
    let sessions = |which| SessionFilter { user_id: None, which, now: at(0), limit: 9999 };
    let mut told = Vec::new();
    for user in store.list_users(UserFilter::every(None, 9)).await.expect("a store") {
        told.push(format!("{:?}", store.find_user(user.id).await));
    }
    for which in [WhichSessions::Live, WhichSessions::EndedSince(at(0))] {
        let sessions = store.list_sessions(sessions(which)).await.expect("a store");
        told.extend(sessions.iter().map(|session| format!("{session:?}")));
    }
    let events = store.list_audit(audit).await.expect("a store");
    // Ids rise; a sequence may leave some out.
    told.extend(events.into_iter().map(|event| format!("{:?}", RecordedEvent { id: 0, ..event })));
    for key in store.list_keys().await.expect("a store") {
        let KeyRecord { sealed, created_at, activates_at, compromised_at, .. } = &key;
        told.push(format!("{key:?} {sealed:?} {created_at:?} {activates_at:?} {compromised_at:?}"));
    }
    told
}

/// Times, hashes and proofs come from so few that they often meet.
fn any_session() -> impl Strategy<Value = Session> {
    let times = (any_time(), any_time(), any_time(), any_time(), any_time(), any_time());
    let proofs = vec((any_number(), any_time()), 0..=8);
    let tokens = (any_number(), option::of(any_number()), option::of(any_number()), proofs);
    let revoked = option::weighted(0.2, (any_time(), select(RevocationReason::ALL)));
    (times, tokens, revoked, any::<u32>(), any_device()).prop_map(
        |(times, (current, previous, sealed, proofs), revoked, generation, device)| Session {
            id: session_id(0),
            user_id: user_id(0),
            generation: generation.into(),
            refresh_token_hash: hash(current),
            previous_token_hash: previous.map(hash),
            sealed_successor: sealed.map(|byte| SealedSuccessor::from_bytes(vec![byte; 130])),
            retry_proofs: proofs
                .into_iter()
                .map(|(byte, at)| StoredProof { proof: RetryProof::from_bytes([byte; 16]), at })
                .collect(),
            rotated_at: times.0,
            created_at: times.1,
            last_used_at: times.2,
            idle_expires_at: times.3,
            expires_at: times.4,
            revoked: revoked.map(|(at, reason)| Revocation { at, reason }),
            device,
            auth_time: times.5,
            amr: vec![AuthenticationMethod::Password],
        },
    )
}

fn any_swap() -> impl Strategy<Value = Swap> {
    let retry = option::of((any_number(), any_number()));
    let tokens = (any_number(), any_number(), any::<u32>());
    (tokens, retry, any_time(), any_time(), any_device()).prop_map(
        |((presented, successor, generation), retry, at, idle_expires_at, device)| Swap {
            session_id: session_id(0),
            presented_hash: hash(presented),
            successor_hash: hash(successor),
            generation: generation.into(),
            retry: retry.map(|(proof, sealed)| SwapRetry {
                proof: RetryProof::from_bytes([proof; 16]),
                sealed_successor: SealedSuccessor::from_bytes(vec![sealed; 130]),
            }),
            at,
            idle_expires_at,
            device,
        },
    )
}

fn any_number() -> impl Strategy<Value = u8> {
    0..3_u8
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (0..40_i64).prop_map(at)
}

fn any_device() -> impl Strategy<Value = Device> {
    let text = || option::of("[ -~é]{0,9}");
    (text(), text()).prop_map(|(ip, user_agent)| Device { ip, user_agent })
}

fn plain_session(number: u32, user: u8) -> Session {
    let opened = at(i64::from(number % 40));
    Session {
        id: session_id(number),
        user_id: user_id(user),
        generation: 0,
        refresh_token_hash: hash(u8::try_from(number % 3).expect("below three")),
        previous_token_hash: None,
        sealed_successor: None,
        retry_proofs: [].into(),
        rotated_at: opened,
        created_at: opened,
        last_used_at: opened,
        idle_expires_at: opened.plus(std::time::Duration::from_secs(20)),
        expires_at: opened.plus(std::time::Duration::from_secs(30)),
        revoked: None,
        device: Device { ip: Some(number.to_string()), user_agent: None },
        auth_time: opened,
        amr: vec![AuthenticationMethod::Password],
    }
}

fn new_user(number: u8) -> NewUser {
    NewUser {
        id: user_id(number),
        email: Email::parse(&format!("user{number}@example.org")).expect("an address"),
        name: None,
        roles: Vec::new(),
        password_hash: password(0),
        email_verified: false,
        by: RegisteredBy::Operator,
        verification: None,
    }
}

fn context(secs: i64) -> AuditContext {
    let device = Device { ip: Some(format!("10.0.0.{secs}")), user_agent: None };
    AuditContext { at: at(secs), device, request_id: None, actor: None }
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + secs * 1000)
}

fn user_id(number: u8) -> UserId {
    UserId::from_bytes([number; 16])
}

fn session_id(number: u32) -> SessionId {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    SessionId::from_bytes(bytes)
}

fn hash(number: u8) -> RefreshTokenHash {
    RefreshTokenHash::from_bytes([number; 32])
}

fn password(number: u32) -> PasswordHash {
    PasswordHash::from_phc(number.to_string())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn sqlite() -> (SqliteStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&dir.path().join("test.db"), at(0)).expect("a store");
    (store, dir)
}

/// The key that seals second factors has no successor, and a table of its own.
const ROTATED: &[KeyPurpose] =
    &[KeyPurpose::AccessToken, KeyPurpose::Csrf, KeyPurpose::RefreshToken];
