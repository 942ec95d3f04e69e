//! One suite for every store: each sentence of the [`Store`] trait's comments as a case.
//!
//! Mount it with [`store_contract!`](crate::store_contract); every case becomes a test of its own.

pub mod administration;
pub mod audit;
pub mod chain;
pub mod imports;
pub mod keys;
pub mod links;
pub mod listing;
pub mod mail;
pub mod own;
pub mod purge;
pub mod revocations;
pub mod rotation;
pub mod second_factor;
pub mod service_keys;
pub mod sessions;
pub mod statistics;
pub mod tries;
pub mod unlocking;
pub mod users;

use std::time::Duration;

use keyward_core::audit::{AuditContext, RecordedEvent, RegisteredBy};
use keyward_core::email::Email;
use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::RefreshTokenHash;
use keyward_core::session::{AuthenticationMethod, Device, RevocationReason, Session};
use keyward_core::time::Timestamp;

use super::{
    AdministrationGuard, AuditFilter, AuditOrder, ChangeUserOutcome, DeleteGuard,
    DeleteUserOutcome, InsertUserOutcome, KeptRole, NewSession, NewUser, OpenSessionOutcome,
    OwnGuard, PasswordHash, Revoke, RevokeScope, Store, User, UserChange,
};

/// Mounts every case for one store. The expression makes a fresh store, and a guard that is kept
/// until the case has ended.
#[macro_export]
macro_rules! store_contract {
    ($fresh:expr) => {
        $crate::store_contract! { @mount $fresh;
            users: makes_an_account, keeps_addresses_apart, makes_an_account_with_a_session,
                refuses_a_taken_address, finds_users, sets_the_name, deletes_a_user,
                deletes_only_the_verified_version, deletes_not_the_last_of_a_role,
                deletes_all_that_is_personal, remembers_where_others_acted,
                records_nothing_personal_of_the_deleted;
            administration: lists_users_by_filter, lists_users_by_address, changes_a_profile,
                doubts_another_address, changes_to_no_taken_address, sets_the_roles,
                disables_and_enables, ends_sign_ins_that_wait, gives_a_password,
                keeps_the_last_of_a_role, keeps_the_last_verified_of_a_role,
                keeps_one_of_many_at_once, keeps_one_verified_of_many_at_once, spares_a_role,
                ends_sessions_but_the_spared, gives_an_address_once;
            sessions: opens_a_session, opens_none_without_the_verified_credential,
                opens_none_for_the_disabled, ends_the_superseded_session,
                leaves_an_ended_session_superseded_by_nobody, ends_the_longest_unused,
                never_ends_the_new_session, changes_the_password,
                changes_no_password_without_the_verified_credential,
                a_sign_in_in_flight_does_not_survive_a_password_change,
                revokes_by_scope, revokes_what_is_live_only, revokes_and_notices,
                notices_only_a_live_session_in_scope, remembers_logout_all;
            rotation: rotates, rotates_without_a_key, keeps_eight_proofs, caps_the_idle_timeout,
                refuses_a_spent_hash, refuses_a_dead_session, answers_an_unknown_session,
                answers_a_deleted_user, revives_nothing_of_a_deleted_user,
                revives_nothing_from_before_a_change, revives_nothing_from_before_the_end_of_all,
                rotates_once_of_many;
            listing: finds_a_session_and_its_user, lists_live_sessions, lists_ended_sessions;
            revocations: tells_of_every_end, tells_of_disabled_and_deleted_users,
                tells_of_every_session_of_a_revoked_user, tells_of_no_end_twice,
                reads_revocations_by_page,
                a_place_is_before_all_that_follows;
            imports: imports_users, imports_nobody_twice,
                replaces_the_verified_hash_only, a_changed_password_is_not_replaced;
            audit: records_in_order, records_nothing_for_nothing, filters_events,
                pages_both_ways;
            chain: lists_what_is_not_sealed, goes_on_behind_a_full_page, keeps_checkpoints,
                of_many_sealers_one_appends, goes_on_behind_a_hand_over, keeps_one_salt_a_user,
                purges_checkpoints_but_the_last;
            own: changes_nothing_for_a_session_that_is_over, changes_nothing_after_a_disabling,
                of_a_change_and_the_end_of_its_session_one_happens,
                a_setup_goes_with_its_password;
            purge: purges_sessions_by_their_absolute_timeout, purges_the_oldest_sessions_first,
                leaves_the_last_sign_in,
                purges_revocations_before_a_time,
                answers_a_purged_session_as_unknown, purges_events_before_a_time,
                purges_the_oldest_events_first, records_a_purge_that_deletes,
                forgets_the_devices_of_purged_sessions;
            second_factor: begins_a_setup, enables_a_second_factor, enables_only_what_was_read,
                of_many_confirmations_one_enables, has_a_sign_in_wait,
                opens_a_session_by_a_code, opens_no_session_where_a_sign_in_would_not,
                takes_no_step_twice, takes_no_recovery_code_twice, of_many_answers_one_opens,
                of_many_with_one_proof_one_opens, of_many_removals_one_wins,
                of_removals_and_sign_ins_one_wins,
                replaces_recovery_codes, disables_a_second_factor,
                a_deleted_user_leaves_no_second_factor, purges_challenges;
            tries: counts_the_tries_of_a_challenge, counts_the_tries_of_a_user,
                a_clock_that_is_ahead_neither_frees_nor_locks, of_many_tries_five_count;
            statistics: counts_events_by_name, keeps_the_counts_of_an_hour_once,
                forgets_counts_from_an_hour_on, keeps_one_count_of_many_at_once,
                counts_the_population;
            service_keys: inserts_a_service_key, finds_a_service_key_by_its_hash,
                lists_service_keys_by_id, revokes_a_service_key_once;
            mail: issues_a_token_with_its_mail, issues_no_token_for_another_account,
                a_newer_token_takes_the_place_of_the_older, resets_the_password,
                a_reset_keeps_nothing_of_a_registrant,
                a_reset_keeps_the_second_factor_of_who_has_a_role,
                a_reset_keeps_a_second_factor_where_asked_to,
                a_reset_waits_until_somebody_has_looked_at_a_second_factor,
                a_reset_of_who_has_no_second_factor_waits_for_nobody, verifies_the_address,
                spends_a_token_once_of_many,
                spends_no_token_for_another_purpose, tokens_end_with_what_they_were_issued_for,
                a_change_and_its_notice_are_one, a_sign_in_and_its_notice_are_one,
                what_is_changed_for_a_user_and_its_notice_are_one,
                registers_with_a_verification,
                claims_what_is_due, claims_each_mail_once_of_many, settles_what_it_has_taken,
                mails_leave_with_their_user, purges_tokens_and_mails;
            links: what_is_done_in_an_account_ends_no_link, a_reset_happens_amid_changes,
                a_change_ends_the_links_of_a_verified_address, a_link_ends_with_its_address,
                a_link_is_issued_amid_changes, a_link_yields_to_one_that_is_good,
                of_many_links_that_yield_one_is_issued;
            unlocking: unlocks_an_account, lists_accounts_unlocked_of_late;
            keys: inserts_the_first_key_of_each_purpose, replaces_the_newest_key_only,
                marks_keys_as_compromised, deletes_gone_keys, lists_keys_by_age,
                of_two_rotations_one_happens, reseals_all_keys_or_none,
                answers_a_ping;
        }
    };
    (@mount $fresh:expr; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            use super::*;
            $(#[tokio::test]
            async fn $case() {
                let (store, _guard) = $fresh;
                $crate::store::contract::$module::$case(&store).await;
            })+
        })+
    };
}

/// How the cases say that the store must not fail.
const WORKS: &str = "the store works";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The role of all, whether their address is verified or not.
const ADMIN: KeptRole = KeptRole { name: "admin", verified_only: false };

/// A point in time, so many seconds into the case.
fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + secs)
}

/// A request, so many seconds into the case.
fn context(secs: i64) -> AuditContext {
    AuditContext {
        at: at(secs),
        device: device(&format!("10.0.0.{secs}")),
        request_id: Some(format!("request-{secs}")),
        actor: None,
    }
}

fn device(ip: &str) -> Device {
    Device { ip: Some(ip.to_owned()), user_agent: Some("browser".to_owned()) }
}

fn user_id(number: u8) -> UserId {
    UserId::from_bytes([number; 16])
}

fn session_id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn hash(number: u8) -> RefreshTokenHash {
    RefreshTokenHash::from_bytes([number; 32])
}

fn password(text: &str) -> PasswordHash {
    PasswordHash::from_phc(text.to_owned())
}

/// User `number` of the case.
fn new_user(number: u8) -> NewUser {
    NewUser {
        id: user_id(number),
        email: Email::parse(&format!("User{number}@example.org")).expect("an address"),
        name: Some(format!("User {number}")),
        roles: vec!["admin".to_owned(), "user".to_owned()],
        password_hash: password("first"),
        email_verified: false,
        by: RegisteredBy::User,
        verification: None,
    }
}

/// Session `number` of the case, opened `secs` into it, for user `user`. Its token is
/// [`hash`]`(number)`; it lives for a day without a refresh and for thirty at most.
fn session(number: u8, user: u8, secs: i64) -> Session {
    Session {
        id: session_id(number),
        user_id: user_id(user),
        generation: 0,
        refresh_token_hash: hash(number),
        previous_token_hash: None,
        sealed_successor: None,
        retry_proofs: [].into(),
        rotated_at: at(secs),
        created_at: at(secs),
        last_used_at: at(secs),
        idle_expires_at: at(secs).plus(DAY),
        expires_at: at(secs).plus(30 * DAY),
        revoked: None,
        device: device("192.0.2.1"),
        auth_time: at(secs),
        amr: vec![AuthenticationMethod::Password],
    }
}

fn new_session(session: Session) -> NewSession {
    NewSession { session, supersedes: None, sessions_max: 100, notice: None }
}

/// What a user shows in session `number` for a change of their own account.
fn own(number: u8, credential_version: u64) -> OwnGuard {
    OwnGuard { session_id: session_id(number), credential_version }
}

/// Disables user `number`, or enables them again, as somebody whom nothing holds back.
async fn set_disabled(store: &dyn Store, number: u8, disabled: bool, context: &AuditContext) {
    let change = if disabled { UserChange::Disable } else { UserChange::Enable };
    let guard = AdministrationGuard::default();
    let outcome = store.change_user(user_id(number), change, guard, context).await.expect(WORKS);
    assert!(matches!(outcome, ChangeUserOutcome::Changed(_)), "{outcome:?}");
}

/// Makes user `number`, without a session.
async fn insert_user(store: &dyn Store, number: u8) -> User {
    match store.insert_user(new_user(number), None, &context(0)).await.expect(WORKS) {
        InsertUserOutcome::Inserted(user) => user,
        InsertUserOutcome::EmailTaken => panic!("the address is free"),
    }
}

/// Deletes user `number`, whatever it is, `secs` into the case.
async fn delete(store: &dyn Store, number: u8, secs: i64) -> DeleteUserOutcome {
    let guard = DeleteGuard::default();
    store.delete_user(user_id(number), guard, &context(secs)).await.expect(WORKS)
}

/// Opens session `number` for user `user`, `secs` into the case.
async fn open(store: &dyn Store, number: u8, user: u8, secs: i64) {
    open_as(store, new_session(session(number, user, secs)), secs).await;
}

/// As [`open`]; answers whether others ended.
async fn open_as(store: &dyn Store, session: NewSession, secs: i64) -> bool {
    match store.open_session(session, 0, &context(secs)).await.expect(WORKS) {
        OpenSessionOutcome::Opened { ended_others, .. } => ended_others,
        refused => panic!("{refused:?}"),
    }
}

/// Ends whatever is in the scope and live, `secs` into the case; answers which.
async fn revoke(store: &dyn Store, scope: RevokeScope, secs: i64) -> Vec<SessionId> {
    let revoke = Revoke { scope, reason: RevocationReason::Logout, noticed: None };
    store.revoke(revoke, &context(secs)).await.expect(WORKS)
}

/// Why the session was ended, if it was.
async fn reason(store: &dyn Store, number: u8) -> Option<RevocationReason> {
    let found = store.find_session(session_id(number)).await.expect(WORKS);
    found.expect("the session").session.revoked.map(|revocation| revocation.reason)
}

/// Every event, oldest first.
async fn events(store: &dyn Store) -> Vec<RecordedEvent> {
    let order = AuditOrder::After(0);
    store
        .list_audit(AuditFilter { order, limit: 1000, ..AuditFilter::default() })
        .await
        .expect(WORKS)
}

/// The events that follow the first `skipped`, as `name user session detail` with the numbers of
/// user and session; each carries the request of [`context`]`(secs)`.
async fn assert_events(store: &dyn Store, skipped: usize, secs: i64, expected: &[&str]) {
    let events = events(store).await;
    let recorded: Vec<String> = events[skipped..].iter().map(told).collect();
    assert_eq!(recorded, expected);
    let context = context(secs);
    for event in &events[skipped..] {
        assert_eq!(event.at, context.at, "{event:?}");
        assert_eq!(event.device, context.device, "{event:?}");
        assert_eq!(event.request_id, context.request_id, "{event:?}");
    }
}

fn told(event: &RecordedEvent) -> String {
    let number = |bytes: &[u8; 16]| bytes[0].to_string();
    let user = event.user_id.map_or("-".to_owned(), |id| number(id.as_bytes()));
    let session = event.session_id.map_or("-".to_owned(), |id| number(id.as_bytes()));
    format!("{} {user} {session} {}", event.name, event.detail)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_mounted() {
        let mounted = include_str!("mod.rs");
        for source in [
            include_str!("administration.rs"),
            include_str!("audit.rs"),
            include_str!("chain.rs"),
            include_str!("imports.rs"),
            include_str!("keys.rs"),
            include_str!("links.rs"),
            include_str!("listing.rs"),
            include_str!("mail.rs"),
            include_str!("own.rs"),
            include_str!("purge.rs"),
            include_str!("revocations.rs"),
            include_str!("rotation.rs"),
            include_str!("second_factor.rs"),
            include_str!("service_keys.rs"),
            include_str!("sessions.rs"),
            include_str!("statistics.rs"),
            include_str!("tries.rs"),
            include_str!("unlocking.rs"),
            include_str!("users.rs"),
        ] {
            for rest in source.split("\npub async fn ").skip(1) {
                let (case, _) = rest.split_once('(').expect("a function");
                let found = [",", ";"].iter().any(|end| mounted.contains(&format!(" {case}{end}")));
                assert!(found, "{case}");
            }
        }
    }
}
