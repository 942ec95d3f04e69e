//! Second factors: set-ups, codes that are good once, and sign-ins that wait for one.

use futures_util::future::join_all;
use keyward_core::limits::Quota;
use keyward_core::second_factor::{MfaTokenHash, RecoveryCodeHash};

use super::*;
use crate::store::{
    BeginTotpOutcome, ChallengeOutcome, DisableTotpOutcome, EnableTotp, EnableTotpOutcome,
    MfaAnswer, MfaChallenge, MfaProof, MfaTry, MfaTryOutcome, OpenMfaOutcome, Purge, Purged,
    ReplaceCodesOutcome, Totp, TotpRemoval, TotpSetup,
};

/// Anew, too; and nothing of it touches the account.
pub async fn begins_a_setup(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    let skipped = events(store).await.len();
    assert_eq!(store.find_totp(user_id(1)).await, Ok(None));
    for (secs, sealed) in [(1, 7), (2, 8)] {
        assert_eq!(begin(store, 0, sealed, secs).await, BeginTotpOutcome::Begun);
        let begun = Totp::begun(vec![sealed; 4], at(secs));
        assert_eq!(store.find_totp(user_id(1)).await, Ok(Some(begun)));
    }
    assert_eq!(begin(store, 1, 9, 3).await, BeginTotpOutcome::CredentialChanged);
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!((account.credential_version, account.user.mfa_enabled_at), (0, None));
    assert_events(store, skipped, 3, &[]).await;
}

/// The credential version rises, and the session that did it has proven both factors.
pub async fn enables_a_second_factor(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    let skipped = events(store).await.len();
    assert_eq!(begin(store, 0, 7, 1).await, BeginTotpOutcome::Begun);
    let user = enabled(store, enabling(store).await, 2).await.expect("a set-up");
    assert_eq!(user.mfa_enabled_at, Some(at(2)));
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!((account.credential_version, account.user), (1, user));
    let found = store.find_session(session_id(1)).await.expect(WORKS).expect("the session");
    assert_eq!(found.session.amr, amr());
    let totp = store.find_totp(user_id(1)).await.expect(WORKS).expect("the app");
    assert_eq!((totp.confirmed_at, totp.last_step), (Some(at(2)), Some(100)));
    assert_events(store, skipped, 2, &["mfa.enabled 1 - {}"]).await;

    assert_eq!(begin(store, 1, 9, 3).await, BeginTotpOutcome::Enabled);
    let in_flight = store.open_session(new_session(session(2, 1, 3)), 0, &context(3)).await;
    assert_eq!(in_flight, Ok(OpenSessionOutcome::CredentialChanged));
}

/// A set-up that was begun anew, finished or lost meanwhile is another one.
pub async fn enables_only_what_was_read(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    begin(store, 0, 7, 1).await;
    let read = enabling(store).await;
    begin(store, 0, 8, 1).await;
    let gone = Ok(EnableTotpOutcome::SetupGone);
    assert_eq!(store.enable_totp(read, &context(2)).await, gone);
    let read = enabling(store).await;
    assert!(enabled(store, read.clone(), 2).await.is_some());
    assert_eq!(store.enable_totp(read.clone(), &context(3)).await, gone);
    assert_eq!(delete(store, 1, 4).await, DeleteUserOutcome::Deleted);
    let ended = Ok(EnableTotpOutcome::SessionEnded);
    assert_eq!(store.enable_totp(read, &context(5)).await, ended);
}

/// With one code: the recovery codes of the others would be none.
pub async fn of_many_confirmations_one_enables(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    let skipped = events(store).await.len();
    begin(store, 0, 7, 1).await;
    let read = enabling(store).await;
    let context = context(2);
    let confirmations = (0..20).map(|_| store.enable_totp(read.clone(), &context));
    let outcomes = join_all(confirmations).await;
    let is_enabled = |outcome: &&_| matches!(outcome, Ok(EnableTotpOutcome::Enabled(_)));
    assert_eq!(outcomes.iter().filter(is_enabled).count(), 1, "{outcomes:?}");
    assert_events(store, skipped, 2, &["mfa.enabled 1 - {}"]).await;
}

/// Under the conditions of a session.
pub async fn has_a_sign_in_wait(store: &dyn Store) {
    enable(store).await;
    let skipped = events(store).await.len();
    let outcome = store.insert_mfa_challenge(challenge(1), &context(5)).await;
    assert_eq!(outcome, Ok(ChallengeOutcome::Inserted { recovery_codes: 3 }));
    assert_events(store, skipped, 5, &["mfa.required 1 - {}"]).await;
    let stale = MfaChallenge { credential_version: 0, ..challenge(2) };
    let unknown = MfaChallenge { user_id: user_id(9), ..challenge(3) };
    for refused in [stale, unknown] {
        let outcome = store.insert_mfa_challenge(refused, &context(5)).await;
        assert_eq!(outcome, Ok(ChallengeOutcome::CredentialChanged));
    }
    set_disabled(store, 1, true, &context(6)).await;
    let outcome = store.insert_mfa_challenge(challenge(4), &context(7)).await;
    assert_eq!(outcome, Ok(ChallengeOutcome::Disabled));
}

/// The challenge ends by it, and the try is given back.
pub async fn opens_a_session_by_a_code(store: &dyn Store) {
    enable(store).await;
    let skipped = events(store).await.len();
    store.insert_mfa_challenge(challenge(1), &context(5)).await.expect(WORKS);
    let quota = Quota::new(1, Duration::from_secs(600));
    assert!(is_counted(&count(store, 1, quota, 5).await));
    let answer = MfaAnswer { quota, ..answer(1, MfaProof::Step(101)) };
    let mut new = new_session(session(5, 1, 5));
    new.supersedes = Some(session_id(1));
    let outcome = store.open_mfa_session(new, answer, &context(5)).await.expect(WORKS);
    let OpenMfaOutcome::Opened { user, ended_others } = outcome else { panic!("{outcome:?}") };
    assert_eq!((user.last_login_at, ended_others), (Some(at(5)), true));
    let expected = [
        "mfa.required 1 - {}",
        "login.succeeded 1 5 {}",
        "session.created 1 5 {}",
        r#"session.revoked 1 1 {"reason":"superseded"}"#,
    ];
    assert_events(store, skipped, 5, &expected).await;
    assert_eq!(count(store, 1, quota, 5).await, MfaTryOutcome::Refused);
    store.insert_mfa_challenge(challenge(2), &context(5)).await.expect(WORKS);
    assert!(is_counted(&count(store, 2, quota, 5).await));
    assert_eq!(open_by(store, 6, answer, 5).await, OpenMfaOutcome::ChallengeSpent);
}

/// Neither for a user who was disabled nor with credentials that have changed nor past its time.
pub async fn opens_no_session_where_a_sign_in_would_not(store: &dyn Store) {
    enable(store).await;
    store.insert_mfa_challenge(challenge(1), &context(5)).await.expect(WORKS);
    let right = answer(1, MfaProof::Step(101));
    assert_eq!(open_by(store, 5, right, 605).await, OpenMfaOutcome::ChallengeSpent);
    insert_user(store, 2).await;
    let of_other = new_session(session(6, 2, 6));
    let outcome = store.open_mfa_session(of_other, right, &context(6)).await;
    assert_eq!(outcome, Ok(OpenMfaOutcome::ChallengeSpent));
    set_disabled(store, 1, true, &context(6)).await;
    assert_eq!(open_by(store, 5, right, 7).await, OpenMfaOutcome::Disabled);
    set_disabled(store, 1, false, &context(8)).await;
    change_password(store, 1).await;
    assert_eq!(open_by(store, 5, right, 9).await, OpenMfaOutcome::ChallengeSpent);
    assert_eq!(store.find_session(session_id(5)).await, Ok(None));
}

/// In another challenge neither; nor any step before it. The challenge goes on.
pub async fn takes_no_step_twice(store: &dyn Store) {
    enable(store).await;
    for number in 1..=3 {
        store.insert_mfa_challenge(challenge(number), &context(5)).await.expect(WORKS);
    }
    for (number, step, is_good) in
        [(1, 99, false), (1, 100, false), (1, 102, true), (2, 102, false), (2, 101, false)]
    {
        let outcome = open_by(store, 10 + number, answer(number, MfaProof::Step(step)), 5).await;
        assert_eq!(matches!(outcome, OpenMfaOutcome::Opened { .. }), is_good, "{step}");
        assert!(is_good || outcome == OpenMfaOutcome::ProofSpent, "{step}: {outcome:?}");
    }
    let next = open_by(store, 12, answer(2, MfaProof::Step(103)), 5).await;
    assert!(matches!(next, OpenMfaOutcome::Opened { .. }), "{next:?}");
}

/// The event says how many are left. Another user's code is none.
pub async fn takes_no_recovery_code_twice(store: &dyn Store) {
    enable(store).await;
    for number in 1..=2 {
        store.insert_mfa_challenge(challenge(number), &context(5)).await.expect(WORKS);
    }
    let skipped = events(store).await.len();
    let used = MfaProof::RecoveryCode(code(1));
    let opened = open_by(store, 5, answer(1, used), 5).await;
    assert!(matches!(opened, OpenMfaOutcome::Opened { .. }), "{opened:?}");
    for proof in [used, MfaProof::RecoveryCode(code(9))] {
        assert_eq!(open_by(store, 6, answer(2, proof), 5).await, OpenMfaOutcome::ProofSpent);
    }
    let expected = [
        r#"recovery_code.used 1 - {"left":2}"#,
        "login.succeeded 1 5 {}",
        "session.created 1 5 {}",
    ];
    assert_events(store, skipped, 5, &expected).await;
}

/// With one challenge, whatever proof comes along.
pub async fn of_many_answers_one_opens(store: &dyn Store) {
    enable(store).await;
    store.insert_mfa_challenge(challenge(1), &context(5)).await.expect(WORKS);
    let answers = (0..20).map(|number| {
        let step = MfaProof::Step(101 + u64::from(number));
        open_by(store, 50 + number, answer(1, step), 5)
    });
    let outcomes = join_all(answers).await;
    assert_eq!(opened(&outcomes), 1, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| *outcome != OpenMfaOutcome::ProofSpent));
}

/// With one proof, whatever challenge it is for.
pub async fn of_many_with_one_proof_one_opens(store: &dyn Store) {
    enable(store).await;
    for number in 1..=40 {
        store.insert_mfa_challenge(challenge(number), &context(5)).await.expect(WORKS);
    }
    for (first, proof) in [(1, MfaProof::Step(101)), (21, MfaProof::RecoveryCode(code(2)))] {
        let answers =
            (first..first + 20).map(|number| open_by(store, 50 + number, answer(number, proof), 5));
        let outcomes = join_all(answers).await;
        assert_eq!(opened(&outcomes), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| *outcome != OpenMfaOutcome::ChallengeSpent));
    }
}

/// Spent by removing the factor: who comes later finds none.
pub async fn of_many_removals_one_wins(store: &dyn Store) {
    for (round, proof) in (1..).zip([MfaProof::Step(101), MfaProof::RecoveryCode(code(2))]) {
        enable_in(store, round).await;
        let skipped = events(store).await.len();
        let outcomes = join_all((0..20).map(|_| disable_by(store, round, proof))).await;
        assert_eq!(disabled(&outcomes), 1, "{outcomes:?}");
        let too_late = |outcome: &&DisableTotpOutcome| **outcome == DisableTotpOutcome::NotEnabled;
        assert_eq!(outcomes.iter().filter(too_late).count(), 19, "{outcomes:?}");
        assert_spent_once(store, skipped, proof).await;
        assert_eq!(delete(store, 1, 7).await, DeleteUserOutcome::Deleted);
    }
}

/// With one proof, whether it is to remove the factor or to sign in.
pub async fn of_removals_and_sign_ins_one_wins(store: &dyn Store) {
    let proofs = [MfaProof::Step(101), MfaProof::RecoveryCode(code(2))];
    // Whoever comes first wins more often.
    let rounds = proofs.into_iter().flat_map(|proof| [(proof, 0), (proof, 1)]);
    for (round, (proof, begins)) in (1..).zip(rounds) {
        enable_in(store, round).await;
        for number in 1..=20 {
            store.insert_mfa_challenge(challenge(number), &context(5)).await.expect(WORKS);
        }
        let skipped = events(store).await.len();
        let wins = (1..=20).map(async |number| {
            if number % 2 == begins {
                return disable_by(store, round, proof).await == DisableTotpOutcome::Disabled;
            }
            let outcome = open_by(store, 50 * round + number, answer(number, proof), 6).await;
            matches!(outcome, OpenMfaOutcome::Opened { .. })
        });
        let wins = join_all(wins).await;
        assert_eq!(wins.iter().filter(|won| **won).count(), 1, "{wins:?}");
        assert_spent_once(store, skipped, proof).await;
        assert_eq!(delete(store, 1, 7).await, DeleteUserOutcome::Deleted);
    }
}

/// All of them, for the verified version of the credentials, where there is a second factor.
pub async fn replaces_recovery_codes(store: &dyn Store) {
    insert_user(store, 2).await;
    let replace = async |user, version| {
        let codes = vec![code(7), code(8)];
        let guard = own(user, version);
        store.replace_recovery_codes(user_id(user), guard, codes, None, &context(4)).await
    };
    open(store, 2, 2, 0).await;
    assert_eq!(replace(2, 0).await, Ok(ReplaceCodesOutcome::Unmatched));
    enable(store).await;
    let skipped = events(store).await.len();
    assert_eq!(replace(1, 0).await, Ok(ReplaceCodesOutcome::Unmatched));
    assert_eq!(replace(1, 1).await, Ok(ReplaceCodesOutcome::Replaced));
    assert_events(store, skipped, 4, &["recovery_codes.replaced 1 - {}"]).await;
    let waits = store.insert_mfa_challenge(challenge(1), &context(5)).await;
    assert_eq!(waits, Ok(ChallengeOutcome::Inserted { recovery_codes: 2 }));
    for (number, is_good) in [(1, false), (7, true)] {
        let proof = MfaProof::RecoveryCode(code(number));
        let outcome = open_by(store, 5, answer(1, proof), 5).await;
        assert_eq!(matches!(outcome, OpenMfaOutcome::Opened { .. }), is_good, "{outcome:?}");
    }
}

/// By a proof that is good, or by nobody's but the operator's word. Nothing of it is left.
pub async fn disables_a_second_factor(store: &dyn Store) {
    enable(store).await;
    store.insert_mfa_challenge(challenge(1), &context(5)).await.expect(WORKS);
    let skipped = events(store).await.len();
    let disable = async |removal| store.disable_totp(user_id(1), removal, None, &context(6)).await;
    let spent = Some(removal(1, MfaProof::Step(100)));
    assert_eq!(disable(spent).await, Ok(DisableTotpOutcome::ProofSpent));
    let used = Some(removal(1, MfaProof::RecoveryCode(code(1))));
    assert_eq!(disable(used).await, Ok(DisableTotpOutcome::Disabled));
    let expected = [r#"recovery_code.used 1 - {"left":2}"#, "mfa.disabled 1 - {}"];
    assert_events(store, skipped, 6, &expected).await;
    assert_eq!(disable(None).await, Ok(DisableTotpOutcome::NotEnabled));
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!((account.credential_version, account.user.mfa_enabled_at), (2, None));
    assert_eq!(store.find_totp(user_id(1)).await, Ok(None));
    assert_eq!(count(store, 1, None, 6).await, MfaTryOutcome::Refused);

    begin(store, 2, 7, 7).await;
    let again = EnableTotp { recovery_codes: Vec::new(), ..enabling(store).await };
    assert!(enabled(store, again, 7).await.is_some());
    let challenge = MfaChallenge { credential_version: 3, ..challenge(2) };
    let waits = store.insert_mfa_challenge(challenge, &context(7)).await;
    assert_eq!(waits, Ok(ChallengeOutcome::Inserted { recovery_codes: 0 }));
    assert_eq!(disable(None).await, Ok(DisableTotpOutcome::Disabled));
}

/// Whoever gets the id again would begin without one.
pub async fn a_deleted_user_leaves_no_second_factor(store: &dyn Store) {
    enable(store).await;
    store.insert_mfa_challenge(challenge(1), &context(5)).await.expect(WORKS);
    assert_eq!(delete(store, 1, 6).await, DeleteUserOutcome::Deleted);
    assert_eq!(store.find_totp(user_id(1)).await, Ok(None));
    insert_user(store, 1).await;
    assert_eq!(count(store, 1, None, 6).await, MfaTryOutcome::Refused);
    let fresh = MfaChallenge { credential_version: 0, ..challenge(1) };
    let waits = store.insert_mfa_challenge(fresh, &context(7)).await;
    assert_eq!(waits, Ok(ChallengeOutcome::Inserted { recovery_codes: 0 }));
}

/// Before the time, and not at it. A user's own go as soon as the next one comes.
pub async fn purges_challenges(store: &dyn Store) {
    enable(store).await;
    for (number, secs) in [(1, 10), (2, 11), (3, 12), (4, 20)] {
        let challenge = MfaChallenge { expires_at: at(secs), ..challenge(number) };
        store.insert_mfa_challenge(challenge, &context(5)).await.expect(WORKS);
    }
    let skipped = events(store).await.len();
    let purge = Purge::MfaChallenges { expired_before: at(12) };
    for deleted in [1, 1, 0] {
        assert_eq!(store.purge(purge, 1, &context(5)).await, Ok(Purged::Rows(deleted)));
    }
    assert_events(store, skipped, 5, &[]).await;
    assert!(is_counted(&count(store, 3, None, 11).await));
    store.insert_mfa_challenge(challenge(5), &context(12)).await.expect(WORKS);
    assert_eq!(count(store, 3, None, 11).await, MfaTryOutcome::Refused);
    assert!(is_counted(&count(store, 4, None, 11).await));
}

/// Begins a set-up of user 1 in session 1.
pub(super) async fn begin(
    store: &dyn Store,
    version: u64,
    sealed: u8,
    secs: i64,
) -> BeginTotpOutcome {
    begin_in(store, own(1, version), sealed, secs).await
}

/// As [`begin`], in another session than 1.
pub(super) async fn begin_in(
    store: &dyn Store,
    guard: OwnGuard,
    sealed: u8,
    secs: i64,
) -> BeginTotpOutcome {
    let setup = TotpSetup { user_id: user_id(1), guard, sealed: vec![sealed; 4] };
    store.begin_totp(setup, &context(secs)).await.expect(WORKS)
}

/// User 1 in session 1 enables what was begun, with the code of step 100.
pub(super) async fn enabling(store: &dyn Store) -> EnableTotp {
    EnableTotp {
        user_id: user_id(1),
        read: store.find_totp(user_id(1)).await.expect(WORKS).expect("a set-up"),
        step: 100,
        recovery_codes: (1..=3).map(code).collect(),
        session_id: session_id(1),
        amr: amr(),
        notice: None,
    }
}

/// Finishes the set-up; answers the user, where it was finished.
pub(super) async fn enabled(store: &dyn Store, enabling: EnableTotp, secs: i64) -> Option<User> {
    match store.enable_totp(enabling, &context(secs)).await.expect(WORKS) {
        EnableTotpOutcome::Enabled(user) => Some(user),
        EnableTotpOutcome::SessionEnded | EnableTotpOutcome::SetupGone => None,
    }
}

/// User 1 with session 1, a second factor, and recovery codes 1 to 3.
pub(super) async fn enable(store: &dyn Store) {
    enable_in(store, 1).await;
}

/// As [`enable`], with another session.
async fn enable_in(store: &dyn Store, session: u8) {
    insert_user(store, 1).await;
    open(store, session, 1, 0).await;
    begin_in(store, own(session, 0), 7, 1).await;
    let enabling = EnableTotp { session_id: session_id(session), ..enabling(store).await };
    assert!(enabled(store, enabling, 2).await.is_some());
}

/// Changes the password of user 1, whose credential version is this one, in a session of its own.
pub(super) async fn change_password(store: &dyn Store, version: u64) {
    let asking = new_session(session(201, 1, 6));
    let opened = store.open_session(asking, version, &context(6)).await;
    assert!(matches!(opened, Ok(OpenSessionOutcome::Opened { .. })), "{opened:?}");
    let (new, guard) = (new_session(session(200, 1, 6)), own(201, version));
    let outcome = store.change_password(new, guard, password("second"), None, &context(6)).await;
    assert!(matches!(outcome, Ok(OpenSessionOutcome::Opened { .. })), "{outcome:?}");
}

/// Challenge `number` of user 1: five tries, until 605 seconds into the case.
pub(super) fn challenge(number: u8) -> MfaChallenge {
    MfaChallenge {
        hash: MfaTokenHash::from_bytes([number; 32]),
        user_id: user_id(1),
        credential_version: 1,
        tries_left: 5,
        expires_at: at(605),
    }
}

pub(super) async fn count(
    store: &dyn Store,
    number: u8,
    quota: Option<Quota>,
    secs: i64,
) -> MfaTryOutcome {
    let whose = MfaTry::Challenge(challenge(number).hash);
    store.count_mfa_try(whose, quota, at(secs)).await.expect(WORKS)
}

pub(super) fn is_counted(outcome: &MfaTryOutcome) -> bool {
    matches!(outcome, MfaTryOutcome::Counted { user_id: id, .. } if *id == user_id(1))
}

fn answer(number: u8, proof: MfaProof) -> MfaAnswer {
    MfaAnswer { challenge: challenge(number).hash, proof, quota: None }
}

/// Opens session `number` for user 1.
async fn open_by(store: &dyn Store, number: u8, answer: MfaAnswer, secs: i64) -> OpenMfaOutcome {
    let new = new_session(session(number, 1, secs));
    store.open_mfa_session(new, answer, &context(secs)).await.expect(WORKS)
}

/// User 1 removes the factor in session `number`.
async fn disable_by(store: &dyn Store, number: u8, proof: MfaProof) -> DisableTotpOutcome {
    let own = Some(removal(number, proof));
    store.disable_totp(user_id(1), own, None, &context(6)).await.expect(WORKS)
}

pub(super) fn removal(number: u8, proof: MfaProof) -> TotpRemoval {
    TotpRemoval { session_id: session_id(number), proof }
}

/// The log tells of one use, and of one act by it.
async fn assert_spent_once(store: &dyn Store, skipped: usize, proof: MfaProof) {
    let events = events(store).await;
    let count = |names: &[&str]| {
        let new = events[skipped..].iter();
        new.filter(|event| names.contains(&event.name.as_str())).count()
    };
    let is_code = matches!(proof, MfaProof::RecoveryCode(_));
    assert_eq!(count(&["recovery_code.used"]), usize::from(is_code), "{events:?}");
    assert_eq!(count(&["login.succeeded", "mfa.disabled"]), 1, "{events:?}");
}

fn disabled(outcomes: &[DisableTotpOutcome]) -> usize {
    outcomes.iter().filter(|outcome| **outcome == DisableTotpOutcome::Disabled).count()
}

fn opened(outcomes: &[OpenMfaOutcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, OpenMfaOutcome::Opened { .. })).count()
}

pub(super) fn code(number: u8) -> RecoveryCodeHash {
    RecoveryCodeHash::from_bytes([number; 32])
}

fn amr() -> Vec<AuthenticationMethod> {
    vec![AuthenticationMethod::Password, AuthenticationMethod::OneTimePassword]
}
