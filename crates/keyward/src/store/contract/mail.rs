//! Mails on their way, and the one-time tokens in them.

use futures_util::future::join_all;
use keyward_core::id::MailId;
use keyward_core::one_time_token::{OneTimeTokenHash, OneTimeTokenRecord, TokenPurpose};

use super::*;
use crate::store::{
    AdministrationGuard, ChangeUserOutcome, DisableTotpOutcome, MailClaim, MailFate, MailedToken,
    PasswordReset, ProfileChange, Purge, Purged, QueuedMail, ReplaceCodesOutcome, ResetOutcome,
    UserChange,
};

/// With its event, which only a token that resets has.
pub async fn issues_a_token_with_its_mail(store: &dyn Store) {
    insert_user(store, 1).await;
    let verifying = mailed(1, TokenPurpose::VerifyEmail);
    assert_eq!(store.issue_token(verifying, &context(1)).await, Ok(true));
    let issued = mailed(2, TokenPurpose::ResetPassword);
    assert_eq!(store.issue_token(issued.clone(), &context(2)).await, Ok(true));
    assert_events(store, 1, 2, &["password.reset_requested 1 - {}"]).await;
    let purpose = TokenPurpose::ResetPassword;
    let found = store.find_token(token(2), purpose, at(99)).await.expect(WORKS);
    assert_eq!(found.map(|account| account.user.id), Some(user_id(1)));
    assert_eq!(store.find_token(token(2), purpose, at(100)).await, Ok(None));
    assert_eq!(store.find_token(token(2), TokenPurpose::VerifyEmail, at(9)).await, Ok(None));
    assert_eq!(store.find_token(token(3), purpose, at(9)).await, Ok(None));
    let taken = claim(store, 2, 9).await;
    assert_eq!(taken, [(1, 1), (2, 1)]);
}

/// Neither for another address or other credentials, nor where it would be of no use.
pub async fn issues_no_token_for_another_account(store: &dyn Store) {
    insert_user(store, 1).await;
    let reset = || mailed(1, TokenPurpose::ResetPassword);
    let other_address = |mut issued: MailedToken| {
        issued.token.email_key = "somebody@example.org".to_owned();
        issued
    };
    let nobody = |mut issued: MailedToken| {
        (issued.token.user_id, issued.mail.user_id) = (user_id(2), user_id(2));
        issued
    };
    for issued in [other_address(reset()), nobody(reset())] {
        assert_eq!(store.issue_token(issued, &context(1)).await, Ok(false));
    }
    let verifying = mailed(2, TokenPurpose::VerifyEmail);
    issue(store, verifying.clone(), 1).await;
    store.verify_email(token(2), &context(2)).await.expect(WORKS).expect("a live token");
    for issued in [verifying, other_version(reset())] {
        assert_eq!(store.issue_token(issued, &context(3)).await, Ok(false));
    }
    set_disabled(store, 1, true, &context(4)).await;
    assert_eq!(store.issue_token(reset(), &context(5)).await, Ok(false));
    let recorded: Vec<_> = events(store).await.into_iter().map(|event| event.name).collect();
    assert_eq!(recorded, ["user.registered", "email.verified", "user.disabled"]);
    assert_eq!(claim(store, 9, 9).await, [(2, 1)]);
}

/// Of the same purpose only.
pub async fn a_newer_token_takes_the_place_of_the_older(store: &dyn Store) {
    insert_user(store, 1).await;
    issue(store, mailed(1, TokenPurpose::VerifyEmail), 1).await;
    for number in [2, 3] {
        issue(store, mailed(number, TokenPurpose::ResetPassword), 1).await;
    }
    assert_eq!(reset(store, 2, 5).await, None);
    assert!(reset(store, 3, 5).await.is_some());
}

/// All that follows from it: the credentials, the address, the sessions, the notice.
pub async fn resets_the_password(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    open(store, 1, 1, 1).await;
    open(store, 2, 1, 2).await;
    open(store, 3, 2, 3).await;
    issue(store, mailed(1, TokenPurpose::ResetPassword), 4).await;
    let before = events(store).await.len();
    let outcome = reset(store, 1, 5).await.expect("a live token");
    assert!(outcome.ended_others && outcome.user.email_verified);
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!((account.user, account.credential_version), (outcome.user, 1));
    assert_eq!(account.password_hash, password("reset"));
    assert_eq!(reason(store, 2).await, Some(RevocationReason::PasswordReset));
    assert_eq!(reason(store, 3).await, None);
    let revoked = r#"{"reason":"password_reset"}"#;
    let ended = [1, 2].map(|number| format!("session.revoked 1 {number} {revoked}"));
    let expected = ["password.reset 1 - {}", "email.verified 1 - {}", &ended[0], &ended[1]];
    assert_events(store, before, 5, &expected).await;
    assert_eq!(claim(store, 9, 9).await, [(1, 1), (100, 1)]);
    assert_eq!(reset(store, 1, 6).await, None);
    assert_eq!(events(store).await.len(), before + 4);
}

/// Of an account whose address nobody had shown to be theirs.
pub async fn a_reset_keeps_nothing_of_a_registrant(store: &dyn Store) {
    second_factor::enable(store).await;
    let (change, guard) = (UserChange::Roles(Vec::new()), AdministrationGuard::default());
    store.change_user(user_id(1), change, guard, &context(3)).await.expect(WORKS);
    let name = Some("Your account is at risk".to_owned());
    store.set_name(user_id(1), name, &context(3)).await.expect(WORKS).expect("the user");
    let mut issued = mailed(1, TokenPurpose::ResetPassword);
    issued.token.credential_version = 1;
    issue(store, issued, 4).await;
    let before = events(store).await.len();
    let User { name, mfa_enabled_at, .. } = reset(store, 1, 5).await.expect("a live token").user;
    assert_eq!((name, mfa_enabled_at), (None, None));
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!((account.user.name, account.user.mfa_enabled_at), (None, None));
    assert_eq!(account.credential_version, 3);
    assert_eq!(store.find_totp(user_id(1)).await, Ok(None));
    let names: Vec<_> = events(store).await.drain(before..).map(|event| event.name).collect();
    let ended = "session.revoked";
    assert_eq!(names, ["password.reset", "mfa.disabled", "email.verified", ended]);
    assert_eq!(claim(store, 9, 9).await, [(1, 1), (100, 1), (200, 1)]);
}

/// Whoever asks: the role may have come a moment before.
pub async fn a_reset_keeps_the_second_factor_of_who_has_a_role(store: &dyn Store) {
    second_factor::enable(store).await;
    let mut issued = mailed(1, TokenPurpose::ResetPassword);
    issued.token.credential_version = 1;
    issue(store, issued, 4).await;
    let user = reset(store, 1, 5).await.expect("a live token").user;
    assert!(user.email_verified && user.mfa_enabled_at == Some(at(2)));
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!((account.user, account.credential_version), (user, 2));
    assert!(store.find_totp(user_id(1)).await.expect(WORKS).is_some());
    assert_eq!(claim(store, 9, 9).await, [(1, 1), (100, 1)]);
}

/// Where it may be the owner's, whatever is said of the address now.
pub async fn a_reset_keeps_a_second_factor_where_asked_to(store: &dyn Store) {
    second_factor::enable(store).await;
    let mut issued = mailed(1, TokenPurpose::ResetPassword);
    issued.token.credential_version = 1;
    issue(store, issued, 4).await;
    let before = events(store).await.len();
    let keeping = PasswordReset { takes_second_factor: Some(false), ..new_password(1, 0) };
    let outcome = store.reset_password(keeping, &context(5)).await.expect(WORKS);
    let user = outcome.expect("a live token").user;
    assert!(user.email_verified && user.mfa_enabled_at == Some(at(2)));
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!((account.user, account.credential_version), (user, 2));
    assert!(store.find_totp(user_id(1)).await.expect(WORKS).is_some());
    let names: Vec<_> = events(store).await.drain(before..).map(|event| event.name).collect();
    assert_eq!(names, ["password.reset", "email.verified", "session.revoked"]);
    assert_eq!(claim(store, 9, 9).await, [(1, 1), (100, 1)]);
}

/// A second factor may have come a moment before. Nothing is lost by it: the token is good for who
/// has looked.
pub async fn a_reset_waits_until_somebody_has_looked_at_a_second_factor(store: &dyn Store) {
    let unseen = || PasswordReset { takes_second_factor: None, ..new_password(1, 0) };
    second_factor::enable(store).await;
    let (change, guard) = (UserChange::Roles(Vec::new()), AdministrationGuard::default());
    store.change_user(user_id(1), change, guard, &context(3)).await.expect(WORKS);
    let mut issued = mailed(1, TokenPurpose::ResetPassword);
    issued.token.credential_version = 1;
    issue(store, issued, 4).await;
    let account = store.find_user(user_id(1)).await;
    let before = events(store).await.len();
    assert_eq!(store.reset_password(unseen(), &context(5)).await, Ok(None));
    assert_eq!(store.find_user(user_id(1)).await, account);
    assert_eq!(events(store).await.len(), before);
    assert_eq!(claim(store, 9, 9).await, [(1, 1)]);
    assert!(find_token(store, 1, TokenPurpose::ResetPassword).await);

    // Of a verified address nobody takes it.
    let change = ProfileChange { email_verified: Some(true), ..ProfileChange::default() };
    let (change, guard) = (UserChange::Profile(change), AdministrationGuard::default());
    store.change_user(user_id(1), change, guard, &context(6)).await.expect(WORKS);
    let outcome = store.reset_password(unseen(), &context(7)).await.expect(WORKS);
    assert_eq!(outcome.expect("a live token").user.mfa_enabled_at, Some(at(2)));
}

/// There is nothing to look at.
pub async fn a_reset_of_who_has_no_second_factor_waits_for_nobody(store: &dyn Store) {
    insert_user(store, 1).await;
    issue(store, mailed(1, TokenPurpose::ResetPassword), 1).await;
    let unseen = PasswordReset { takes_second_factor: None, ..new_password(1, 0) };
    let outcome = store.reset_password(unseen, &context(5)).await.expect(WORKS);
    assert!(outcome.is_some_and(|outcome| outcome.user.email_verified));
}

/// And says so once.
pub async fn verifies_the_address(store: &dyn Store) {
    insert_user(store, 1).await;
    issue(store, mailed(1, TokenPurpose::VerifyEmail), 1).await;
    assert_eq!(store.verify_email(token(1), &context(100)).await, Ok(None));
    let verified = store.verify_email(token(1), &context(2)).await.expect(WORKS);
    assert!(verified.is_some_and(|user| user.email_verified && user.id == user_id(1)));
    let user = store.find_user(user_id(1)).await.expect(WORKS).expect("the user").user;
    assert!(user.email_verified);
    assert_eq!(store.verify_email(token(1), &context(3)).await, Ok(None));
    assert_events(store, 1, 2, &["email.verified 1 - {}"]).await;
}

/// Twenty at once.
pub async fn spends_a_token_once_of_many(store: &dyn Store) {
    insert_user(store, 1).await;
    issue(store, mailed(1, TokenPurpose::VerifyEmail), 1).await;
    issue(store, mailed(2, TokenPurpose::ResetPassword), 1).await;
    let context = context(5);
    let verified = join_all((0..20).map(|_| store.verify_email(token(1), &context))).await;
    let resets = (0..20).map(|number| store.reset_password(new_password(2, number), &context));
    let resets = join_all(resets).await;
    let won = verified.into_iter().filter(|outcome| outcome.as_ref().expect(WORKS).is_some());
    assert_eq!(won.count(), 1);
    let won = resets.into_iter().filter(|outcome| outcome.as_ref().expect(WORKS).is_some());
    assert_eq!(won.count(), 1);
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!(account.credential_version, 1);
    assert_eq!(claim(store, 99, 9).await.len(), 3);
}

/// A link that verifies sets no password, nor the other way round.
pub async fn spends_no_token_for_another_purpose(store: &dyn Store) {
    insert_user(store, 1).await;
    issue(store, mailed(1, TokenPurpose::VerifyEmail), 1).await;
    issue(store, mailed(2, TokenPurpose::ResetPassword), 1).await;
    assert_eq!(reset(store, 1, 2).await, None);
    assert_eq!(store.verify_email(token(2), &context(2)).await, Ok(None));
    assert!(reset(store, 2, 3).await.is_some());
}

/// By a change of the password where the address is verified, a reset, a disabling (and no enabling
/// brings them back) and the end of the account.
pub async fn tokens_end_with_what_they_were_issued_for(store: &dyn Store) {
    for number in 1..=4 {
        insert_user(store, number).await;
        issue(store, mailed_to(number, number, TokenPurpose::ResetPassword), 1).await;
        issue(store, mailed_to(number + 10, number, TokenPurpose::VerifyEmail), 1).await;
    }
    let change = ProfileChange { email_verified: Some(true), ..ProfileChange::default() };
    let (change, guard) = (UserChange::Profile(change), AdministrationGuard::default());
    store.change_user(user_id(1), change, guard, &context(2)).await.expect(WORKS);
    assert!(find_token(store, 1, TokenPurpose::ResetPassword).await);
    open(store, 9, 1, 0).await;
    let new = new_session(session(1, 1, 2));
    let changed = store.change_password(new, own(9, 0), password("x"), None, &context(2)).await;
    assert!(matches!(changed, Ok(OpenSessionOutcome::Opened { .. })), "{changed:?}");
    assert!(reset(store, 2, 2).await.is_some());
    for disabled in [true, false] {
        set_disabled(store, 3, disabled, &context(2)).await;
    }
    delete(store, 4, 2).await;
    for number in 1..=4 {
        assert_eq!(reset(store, number, 3).await, None, "{number}");
        assert_eq!(store.verify_email(token(number + 10), &context(3)).await, Ok(None));
    }
}

/// A notice is queued where the change happens, and only there.
pub async fn a_change_and_its_notice_are_one(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 9, 1, 0).await;
    for (asks, version, number, queued) in [(9, 1, 1, 0), (9, 0, 2, 1), (9, 0, 3, 0), (9, 1, 4, 0)]
    {
        let new = new_session(session(number, 1, 2));
        let (guard, notice) = (own(asks, version), Some(mail(number, 1)));
        let changed = store.change_password(new, guard, password("x"), notice, &context(2)).await;
        assert_eq!(matches!(changed, Ok(OpenSessionOutcome::Opened { .. })), queued == 1);
        assert_eq!(claim(store, 9, 2).await.len(), queued, "{number}");
    }
}

/// Of a sign-in by a password; by a code it is the same.
pub async fn a_sign_in_and_its_notice_are_one(store: &dyn Store) {
    insert_user(store, 1).await;
    for (version, number, queued) in [(1, 1, 0), (0, 2, 1)] {
        let notice = Some(mail(number, 1));
        let new = NewSession { notice, ..new_session(session(number, 1, 2)) };
        let opened = store.open_session(new, version, &context(2)).await;
        assert_eq!(matches!(opened, Ok(OpenSessionOutcome::Opened { .. })), queued == 1);
        assert_eq!(claim(store, 9, 2).await.len(), queued, "{number}");
    }
}

/// Nothing is issued where the address is taken.
pub async fn registers_with_a_verification(store: &dyn Store) {
    let verification = Some(mailed(1, TokenPurpose::VerifyEmail));
    let new = NewUser { verification, ..new_user(1) };
    store.insert_user(new.clone(), None, &context(1)).await.expect(WORKS);
    let again = NewUser {
        id: user_id(2),
        verification: Some(mailed_to(2, 2, TokenPurpose::VerifyEmail)),
        ..new
    };
    let taken = store.insert_user(again, None, &context(1)).await;
    assert_eq!(taken, Ok(InsertUserOutcome::EmailTaken));
    assert_eq!(claim(store, 9, 2).await, [(1, 1)]);
    assert!(store.verify_email(token(1), &context(3)).await.expect(WORKS).is_some());
}

/// Those due longest, and none of them again before it is due again.
pub async fn claims_what_is_due(store: &dyn Store) {
    insert_user(store, 1).await;
    for (number, secs) in [(1, 3), (2, 1), (3, 2), (4, 50)] {
        let queued = QueuedMail { created_at: at(secs), ..mail(number, 1) };
        assert_eq!(store.queue_mail(queued).await, Ok(true));
    }
    assert_eq!(store.queue_mail(mail(5, 2)).await, Ok(false));
    assert_eq!(claim(store, 2, 9).await, [(2, 1), (3, 1)]);
    assert_eq!(claim(store, 2, 9).await, [(1, 1)]);
    assert_eq!(claim(store, 2, 9).await, []);
    assert_eq!(claim(store, 9, 28).await, []);
    assert_eq!(claim(store, 9, 29).await.len(), 3);
    let taken = store.claim_mail(MailClaim { now: at(60), until: at(80), limit: 9 }).await;
    let fourth = taken.expect(WORKS).into_iter().find(|taken| taken.mail.id == mail_id(4));
    let expected = QueuedMail { created_at: at(50), ..mail(4, 1) };
    assert_eq!(fourth.map(|taken| (taken.mail, taken.attempts)), Some((expected, 1)));
}

/// Twenty at once.
pub async fn claims_each_mail_once_of_many(store: &dyn Store) {
    insert_user(store, 1).await;
    for number in 1..=30 {
        assert_eq!(store.queue_mail(mail(number, 1)).await, Ok(true));
    }
    let mut taken = Vec::new();
    // Whoever comes while others take the same mails may go away with none.
    while taken.len() < 30 {
        let round = join_all((0..20).map(|_| claim(store, 3, 9))).await;
        taken.extend(round.into_iter().flatten());
    }
    taken.sort_unstable();
    assert_eq!(taken, (1..=30).map(|number| (number, 1)).collect::<Vec<_>>());
}

/// Who was overtaken says nothing any more.
pub async fn settles_what_it_has_taken(store: &dyn Store) {
    insert_user(store, 1).await;
    for number in [1, 2] {
        assert_eq!(store.queue_mail(mail(number, 1)).await, Ok(true));
    }
    assert_eq!(claim(store, 9, 5).await.len(), 2);
    assert_eq!(store.settle_mail(mail_id(1), 1, MailFate::DueAt(at(7))).await, Ok(true));
    assert_eq!(store.settle_mail(mail_id(2), 1, MailFate::Done).await, Ok(true));
    assert_eq!(store.settle_mail(mail_id(2), 1, MailFate::Done).await, Ok(false));
    assert_eq!(claim(store, 9, 7).await, [(1, 2)]);
    for fate in [MailFate::Done, MailFate::DueAt(at(8))] {
        assert_eq!(store.settle_mail(mail_id(1), 1, fate).await, Ok(false));
    }
    assert_eq!(claim(store, 9, 8).await, []);
    assert_eq!(store.settle_mail(mail_id(1), 2, MailFate::Done).await, Ok(true));
    assert_eq!(claim(store, 9, 99).await, []);
}

/// What is on its way to somebody who is gone.
pub async fn mails_leave_with_their_user(store: &dyn Store) {
    for number in [1, 2] {
        insert_user(store, number).await;
        assert_eq!(store.queue_mail(mail(number, number)).await, Ok(true));
    }
    delete(store, 1, 3).await;
    assert_eq!(claim(store, 9, 5).await, [(2, 1)]);
}

/// The oldest first, and nothing that is of use yet.
pub async fn purges_tokens_and_mails(store: &dyn Store) {
    for number in 1..=3 {
        insert_user(store, number).await;
        let mut issued = mailed_to(number, number, TokenPurpose::ResetPassword);
        issued.token.expires_at = at(100 + i64::from(number));
        issued.mail.expires_at = at(100 + i64::from(number));
        issue(store, issued, 1).await;
    }
    let expired_before = at(103);
    for purge in [Purge::OneTimeTokens { expired_before }, Purge::Mail { expired_before }] {
        for rows in [1, 1, 0] {
            let purged = store.purge(purge, 1, &context(9)).await;
            assert_eq!(purged, Ok(Purged::Rows(rows)), "{purge:?}");
        }
    }
    assert_eq!(claim(store, 9, 5).await, [(3, 1)]);
    assert!(reset(store, 3, 5).await.is_some());
}

/// And where nothing is changed there is none; nor of the same address in other letters.
pub async fn what_is_changed_for_a_user_and_its_notice_are_one(store: &dyn Store) {
    second_factor::enable(store).await;
    for (number, version, replaced) in
        [(1, 0, ReplaceCodesOutcome::Unmatched), (2, 1, ReplaceCodesOutcome::Replaced)]
    {
        let (guard, notice) = (own(1, version), Some(mail(number, 1)));
        let context = context(3);
        let outcome = store.replace_recovery_codes(user_id(1), guard, vec![], notice, &context);
        assert_eq!(outcome.await, Ok(replaced));
    }
    let (gone, none) = (DisableTotpOutcome::Disabled, DisableTotpOutcome::NotEnabled);
    for (number, expected) in [(3, gone), (4, none)] {
        let notice = Some(mail(number, 1));
        let outcome = store.disable_totp(user_id(1), None, notice, &context(4)).await;
        assert_eq!(outcome, Ok(expected));
    }
    for (number, address) in [(5, "uSER1@example.org"), (6, "a@x.org"), (7, "A@x.org")] {
        let email = Email::parse(address);
        let change = ProfileChange { email, notice: Some(mail(number, 1)), ..Default::default() };
        let (change, guard) = (UserChange::Profile(change), AdministrationGuard::default());
        let outcome = store.change_user(user_id(1), change, guard, &context(5)).await;
        assert!(matches!(outcome, Ok(ChangeUserOutcome::Changed(_))), "{outcome:?}");
    }
    assert_eq!(claim(store, 9, 9).await, [(2, 1), (3, 1), (6, 1)]);
}

/// Whether token `number` is good for this.
pub(super) async fn find_token(store: &dyn Store, number: u8, purpose: TokenPurpose) -> bool {
    store.find_token(token(number), purpose, at(9)).await.expect(WORKS).is_some()
}

/// The same for credentials that the account has not yet.
pub(super) fn other_version(mut issued: MailedToken) -> MailedToken {
    issued.token.credential_version += 1;
    issued
}

pub(super) fn token(number: u8) -> OneTimeTokenHash {
    OneTimeTokenHash::from_bytes([number; 32])
}

fn mail_id(number: u8) -> MailId {
    MailId::from_bytes([number; 16])
}

/// Mail `number` to user `user`, due from the beginning of the case.
pub(super) fn mail(number: u8, user: u8) -> QueuedMail {
    QueuedMail {
        id: mail_id(number),
        user_id: user_id(user),
        sealed: vec![number; 3],
        created_at: at(0),
        expires_at: at(1000),
    }
}

/// Token and mail `number` to user 1; the token lives for 100 seconds into the case.
pub(super) fn mailed(number: u8, purpose: TokenPurpose) -> MailedToken {
    mailed_to(number, 1, purpose)
}

pub(super) fn mailed_to(number: u8, user: u8, purpose: TokenPurpose) -> MailedToken {
    let token = OneTimeTokenRecord {
        hash: token(number),
        user_id: user_id(user),
        purpose,
        email_key: new_user(user).email.key().to_owned(),
        credential_version: 0,
        expires_at: at(100),
    };
    MailedToken { token, mail: mail(number, user), yields_beyond: None }
}

pub(super) async fn issue(store: &dyn Store, issued: MailedToken, secs: i64) {
    assert_eq!(store.issue_token(issued, &context(secs)).await, Ok(true));
}

/// A reset by token `number` that takes a second factor too; its notices are the mails
/// `100 + notice` and `200 + notice`.
pub(super) fn new_password(number: u8, notice: u8) -> PasswordReset {
    PasswordReset {
        hash: token(number),
        password_hash: password("reset"),
        notice: Some(mail(100 + notice, 1)),
        takes_second_factor: Some(true),
        second_factor_notice: Some(mail(200 + notice, 1)),
    }
}

pub(super) async fn reset(store: &dyn Store, number: u8, secs: i64) -> Option<ResetOutcome> {
    let mut reset = new_password(number, 0);
    let user = store.find_token(token(number), TokenPurpose::ResetPassword, at(secs)).await;
    if let (Some(notice), Some(account)) = (&mut reset.notice, user.expect(WORKS)) {
        notice.user_id = account.user.id;
    }
    store.reset_password(reset, &context(secs)).await.expect(WORKS)
}

/// Takes mails that are due so many seconds into the case, for twenty seconds; answers their
/// numbers, and how often each was taken.
pub(super) async fn claim(store: &dyn Store, limit: u32, secs: i64) -> Vec<(u8, u32)> {
    let claim = MailClaim { now: at(secs), until: at(secs + 20), limit };
    let taken = store.claim_mail(claim).await.expect(WORKS);
    let mut numbers: Vec<_> =
        taken.iter().map(|taken| (taken.mail.id.as_bytes()[0], taken.attempts)).collect();
    numbers.sort_unstable();
    numbers
}
