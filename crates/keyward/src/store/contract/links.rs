//! Whose a mailed link is: where the address is not verified, the mailbox's, whatever is done in
//! the account. Who has registered with another's address ends none.

use futures_util::future::{join, join_all};
use keyward_core::one_time_token::TokenPurpose;

use super::mail::{
    claim, find_token, issue, mailed, mailed_to, new_password, other_version, reset, token,
};
use super::second_factor::{begin_in, code, enabled, enabling, removal};
use super::*;
use crate::store::{
    DisableTotpOutcome, EnableTotp, MailedToken, MfaProof, ProfileChange, ReplaceCodesOutcome,
    SessionFilter, WhichSessions,
};

/// All that raises the credential version, and what ends sessions. Of twenty uses one happens then,
/// and it leaves nothing of whoever did all that.
pub async fn what_is_done_in_an_account_ends_no_link(store: &dyn Store) {
    registered(store).await;
    change_password(store, 1, 0).await.expect("the version");
    assert_links(store, &[true, true]).await;
    enable_in(store, 101, 1, 4).await;
    assert_links(store, &[true, true]).await;
    let codes = vec![code(1)];
    let guard = own(101, 2);
    let replaced = store.replace_recovery_codes(user_id(1), guard, codes, None, &context(3)).await;
    assert_eq!(replaced, Ok(ReplaceCodesOutcome::Replaced));
    let removal = Some(removal(101, MfaProof::RecoveryCode(code(1))));
    let removed = store.disable_totp(user_id(1), removal, None, &context(3)).await;
    assert_eq!(removed, Ok(DisableTotpOutcome::Disabled));
    assert_links(store, &[true, true]).await;
    let name = Some("Mallory".to_owned());
    store.set_name(user_id(1), name, &context(3)).await.expect(WORKS).expect("the user");
    revoke(store, RevokeScope::User(user_id(1)), 4).await;
    let again = store.open_session(new_session(session(2, 1, 4)), 3, &context(4)).await;
    assert!(matches!(again, Ok(OpenSessionOutcome::Opened { .. })), "{again:?}");
    change_password(store, 2, 3).await.expect("the version");
    assert_links(store, &[true, true]).await;

    let context = context(5);
    let resets = (0..20).map(|number| store.reset_password(new_password(2, number), &context));
    let resets = join_all(resets).await;
    let won = resets.into_iter().filter(|outcome| outcome.as_ref().expect(WORKS).is_some());
    assert_eq!(won.count(), 1);
    assert_links(store, &[false, false]).await;
    assert_eq!(reason(store, 102).await, Some(RevocationReason::PasswordReset));
    assert_eq!(change_password(store, 3, 4).await, None);
}

/// Whichever comes first: it is not undone by whoever changes the password all the time.
pub async fn a_reset_happens_amid_changes(store: &dyn Store) {
    registered(store).await;
    let changing = async {
        for number in 1..=30 {
            let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
            let is_reset = account.password_hash == password("reset");
            let version = account.credential_version;
            if is_reset || change_password(store, number, version).await.is_none() {
                return;
            }
        }
    };
    let at_once = async || {
        let all = (31..=50).map(|number| change_password(store, number, 0));
        join_all(all).await
    };
    let context = context(5);
    let resetting = store.reset_password(new_password(2, 0), &context);
    let (_, (_, outcome)) = join(at_once(), join(changing, resetting)).await;
    assert!(outcome.expect(WORKS).is_some());
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!(account.password_hash, password("reset"));
    assert_eq!(change_password(store, 60, account.credential_version - 1).await, None);
    assert_eq!(revoke(store, RevokeScope::User(user_id(1)), 6).await, []);
}

/// From then on it is a link like any other user's, and not before.
pub async fn a_change_ends_the_links_of_a_verified_address(store: &dyn Store) {
    registered(store).await;
    change_password(store, 1, 0).await.expect("the version");
    store.verify_email(token(1), &context(2)).await.expect(WORKS).expect("a live token");
    assert_links(store, &[false, true]).await;
    change_password(store, 2, 1).await.expect("the version");
    assert_links(store, &[false, false]).await;

    let mut issued = mailed(3, RESET);
    issued.token.credential_version = 2;
    issue(store, issued, 3).await;
    enable_in(store, 102, 2, 4).await;
    assert_eq!(reset(store, 3, 4).await, None);
}

/// Neither stays with the account, nor comes back with the address.
pub async fn a_link_ends_with_its_address(store: &dyn Store) {
    registered(store).await;
    let own = new_user(1).email;
    let other = Email::parse("other@example.org").expect("an address");
    for email in [other, own] {
        let change = ProfileChange { email: Some(email), ..ProfileChange::default() };
        let (change, guard) = (UserChange::Profile(change), AdministrationGuard::default());
        let changed = store.change_user(user_id(1), change, guard, &context(2)).await;
        assert!(matches!(changed, Ok(ChangeUserOutcome::Changed(_))), "{changed:?}");
        assert_links(store, &[false, false]).await;
    }
    change_password(store, 1, 0).await.expect("the version");
    assert_links(store, &[false, false]).await;
}

/// Whoever changes the password while the link is on its way to the store keeps it from nobody. Of
/// a verified address it ends what was asked for before.
pub async fn a_link_is_issued_amid_changes(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    change_password(store, 1, 0).await.expect("the version");
    issue(store, mailed(1, TokenPurpose::VerifyEmail), 2).await;
    issue(store, mailed(2, RESET), 2).await;
    assert_links(store, &[true, true]).await;
    change_password(store, 2, 1).await.expect("the version");
    assert_links(store, &[true, true]).await;
    store.verify_email(token(1), &context(2)).await.expect(WORKS).expect("a live token");
    for stale in [mailed(3, RESET), other_version(mailed(3, RESET))] {
        assert_eq!(store.issue_token(stale, &context(3)).await, Ok(false));
    }
    assert_eq!(claim(store, 9, 9).await, [(1, 1), (2, 1)]);
}

/// And to no other: be it another's, for another purpose, about to expire, or ended by a change.
pub async fn a_link_yields_to_one_that_is_good(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    insert_user(store, 2).await;
    issue(store, mailed_to(1, 2, VERIFY), 1).await;
    issue(store, mailed(2, RESET), 1).await;
    issue(store, yielding(3, 99), 1).await;
    assert_eq!(store.issue_token(yielding(4, 99), &context(1)).await, Ok(false));
    change_password(store, 1, 0).await.expect("the version");
    assert_eq!(store.issue_token(yielding(4, 99), &context(1)).await, Ok(false));
    assert!(find_token(store, 3, VERIFY).await);
    issue(store, yielding(5, 100), 1).await;
    issue(store, mailed(6, VERIFY), 1).await;
    assert!(find_token(store, 6, VERIFY).await && !find_token(store, 5, VERIFY).await);
    set_disabled(store, 1, true, &context(2)).await;
    set_disabled(store, 1, false, &context(2)).await;
    issue(store, yielding(7, 99), 2).await;
    // One that resets tells of itself only where it is issued.
    issue(store, mailed(8, RESET), 3).await;
    let reset = MailedToken { yields_beyond: Some(at(99)), ..mailed(9, RESET) };
    assert_eq!(store.issue_token(reset, &context(3)).await, Ok(false));
    let names = events(store).await.into_iter().map(|event| event.name);
    assert_eq!(names.filter(|name| name == "password.reset_requested").count(), 2);
    let taken: Vec<_> = claim(store, 99, 9).await.into_iter().map(|(number, _)| number).collect();
    assert_eq!(taken, [1, 2, 3, 5, 6, 7, 8]);
}

/// With its mail, and it alone is good.
pub async fn of_many_links_that_yield_one_is_issued(store: &dyn Store) {
    insert_user(store, 1).await;
    let context = context(1);
    let all = (1..=20).map(|number| store.issue_token(yielding(number, 99), &context));
    let issued = join_all(all).await;
    let issued: Vec<_> =
        (1..=20_u8).zip(issued).filter(|(_, issued)| *issued != Ok(false)).collect();
    let [(number, Ok(true))] = issued[..] else { panic!("{issued:?}") };
    assert_eq!(claim(store, 99, 9).await, [(number, 1)]);
    assert!(find_token(store, number, VERIFY).await);
}

/// Token and mail `number`, which yield to a token that is live and expires later than `beyond`.
fn yielding(number: u8, beyond: i64) -> MailedToken {
    MailedToken { yields_beyond: Some(at(beyond)), ..mailed(number, VERIFY) }
}

/// User 1 with links out to an address that is not verified: 1 verifies it, 2 sets a password.
async fn registered(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    issue(store, mailed(1, TokenPurpose::VerifyEmail), 0).await;
    issue(store, mailed(2, RESET), 0).await;
}

/// Which of the two are good.
async fn assert_links(store: &dyn Store, expected: &[bool; 2]) {
    let verifies = find_token(store, 1, TokenPurpose::VerifyEmail).await;
    assert_eq!(&[verifies, find_token(store, 2, RESET).await], expected);
}

/// User 1 sets a second factor up in this session, at this version of the credentials.
async fn enable_in(store: &dyn Store, number: u8, version: u64, secs: i64) {
    begin_in(store, own(number, version), 7, secs).await;
    let enabling = EnableTotp { session_id: session_id(number), ..enabling(store).await };
    enabled(store, enabling, secs).await.expect("a set-up");
}

/// Changes the password of user 1, who has verified it at this version, in whatever session is
/// open, and opens session `100 + number`. `None`: the version is another one, or none is open.
async fn change_password(store: &dyn Store, number: u8, version: u64) -> Option<()> {
    let (which, now) = (WhichSessions::Live, at(4));
    let filter = SessionFilter { user_id: Some(user_id(1)), which, now, limit: 1 };
    let open = store.list_sessions(filter).await.expect(WORKS);
    let guard = OwnGuard { session_id: open.first()?.id, credential_version: version };
    let new = new_session(session(100 + number, 1, 4));
    let text = password(&format!("password {number}"));
    match store.change_password(new, guard, text, None, &context(4)).await.expect(WORKS) {
        OpenSessionOutcome::Opened { .. } => Some(()),
        OpenSessionOutcome::CredentialChanged | OpenSessionOutcome::SessionEnded => None,
        OpenSessionOutcome::Disabled => panic!("nobody is disabled"),
    }
}

const RESET: TokenPurpose = TokenPurpose::ResetPassword;
const VERIFY: TokenPurpose = TokenPurpose::VerifyEmail;
