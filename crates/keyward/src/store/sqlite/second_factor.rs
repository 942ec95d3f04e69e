//! Second factors. The write transaction is the lock: nothing else changes a row until it ends.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::UserId;
use keyward_core::limits::Quota;
use keyward_core::second_factor::{MfaTokenHash, RecoveryCodeHash};
use keyward_core::session::AuthenticationMethod;
use keyward_core::time::Timestamp;
use rusqlite::{Connection, named_params};

use super::sql::second_factor as sql;
use super::{SqliteStore, audit, mail, rows, sessions, users};
use crate::store::{
    BeginTotpOutcome, ChallengeOutcome, DisableTotpOutcome, EnableTotp, EnableTotpOutcome,
    MfaAnswer, MfaChallenge, MfaProof, MfaTry, MfaTryOutcome, NewSession, OpenMfaOutcome, OwnGuard,
    QueuedMail, ReplaceCodesOutcome, SecondFactorStore, StoreError, Totp, TotpRemoval, TotpSetup,
};

#[async_trait]
impl SecondFactorStore for SqliteStore {
    async fn begin_totp(
        &self,
        setup: TotpSetup,
        context: &AuditContext,
    ) -> Result<BeginTotpOutcome, StoreError> {
        let now = context.at;
        self.writer.write(move |connection| begin(connection, &setup, now)).await
    }

    async fn find_totp(&self, user_id: UserId) -> Result<Option<Totp>, StoreError> {
        self.readers.read(move |connection| find(connection, user_id)).await
    }

    async fn enable_totp(
        &self,
        enabling: EnableTotp,
        context: &AuditContext,
    ) -> Result<EnableTotpOutcome, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| enable(connection, &enabling, &context)).await
    }

    async fn disable_totp(
        &self,
        user_id: UserId,
        removal: Option<TotpRemoval>,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<DisableTotpOutcome, StoreError> {
        let context = context.clone();
        self.writer
            .write(move |connection| {
                disable(connection, user_id, removal, notice.as_ref(), &context)
            })
            .await
    }

    async fn replace_recovery_codes(
        &self,
        user_id: UserId,
        guard: OwnGuard,
        codes: Vec<RecoveryCodeHash>,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<ReplaceCodesOutcome, StoreError> {
        let context = context.clone();
        self.writer
            .write(move |connection| {
                let notice = notice.as_ref();
                replace_codes(connection, user_id, guard, &codes, notice, &context)
            })
            .await
    }

    async fn insert_mfa_challenge(
        &self,
        challenge: MfaChallenge,
        context: &AuditContext,
    ) -> Result<ChallengeOutcome, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| challenge_user(connection, &challenge, &context)).await
    }

    async fn count_mfa_try(
        &self,
        whose: MfaTry,
        quota: Option<Quota>,
        now: Timestamp,
    ) -> Result<MfaTryOutcome, StoreError> {
        self.writer.write(move |connection| count_try(connection, whose, quota, now)).await
    }

    async fn open_mfa_session(
        &self,
        session: NewSession,
        answer: MfaAnswer,
        context: &AuditContext,
    ) -> Result<OpenMfaOutcome, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| open(connection, &session, answer, &context)).await
    }
}

/// Deletes whatever belongs to the second factor of a user.
pub(super) fn forget(connection: &Connection, user_id: UserId) -> Result<(), StoreError> {
    for statement in [sql::DELETE_TOTP, sql::DELETE_RECOVERY_CODES] {
        of_user(connection, statement, user_id)?;
    }
    forget_challenges(connection, user_id)
}

/// Ends the user's sign-ins that wait for a code.
pub(super) fn forget_challenges(
    connection: &Connection,
    user_id: UserId,
) -> Result<(), StoreError> {
    of_user(connection, sql::DELETE_CHALLENGES, user_id)
}

fn begin(
    connection: &Connection,
    setup: &TotpSetup,
    now: Timestamp,
) -> Result<BeginTotpOutcome, StoreError> {
    let account = users::find_account(connection, setup.user_id)?;
    let OwnGuard { session_id, credential_version } = setup.guard;
    if account.is_none_or(|account| account.credential_version != credential_version) {
        return Ok(BeginTotpOutcome::CredentialChanged);
    }
    if !sessions::is_live(connection, session_id, setup.user_id, now)? {
        return Ok(BeginTotpOutcome::SessionEnded);
    }
    let begun = connection.prepare_cached(sql::BEGIN_TOTP)?.execute(named_params! {
        ":user_id": setup.user_id.as_bytes(),
        ":sealed": setup.sealed,
        ":now": now.millis(),
    })?;
    Ok(if begun > 0 { BeginTotpOutcome::Begun } else { BeginTotpOutcome::Enabled })
}

fn enable(
    connection: &Connection,
    enabling: &EnableTotp,
    context: &AuditContext,
) -> Result<EnableTotpOutcome, StoreError> {
    let user_id = enabling.user_id;
    if !sessions::is_live(connection, enabling.session_id, user_id, context.at)? {
        return Ok(EnableTotpOutcome::SessionEnded);
    }
    if enabling.enabled(find(connection, user_id)?, context.at).is_none() {
        return Ok(EnableTotpOutcome::SetupGone);
    }
    connection.prepare_cached(sql::ENABLE_TOTP)?.execute(named_params! {
        ":user_id": user_id.as_bytes(),
        ":now": context.at.millis(),
        ":step": enabling.step.cast_signed(),
    })?;
    set_enabled_at(connection, user_id, Some(context.at))?;
    insert_codes(connection, user_id, &enabling.recovery_codes)?;
    let amr: Vec<&str> = enabling.amr.iter().copied().map(AuthenticationMethod::as_str).collect();
    connection.prepare_cached(sql::SET_AMR)?.execute(named_params! {
        ":id": enabling.session_id.as_bytes(),
        ":user_id": user_id.as_bytes(),
        ":amr": serde_json::Value::from(amr).to_string(),
    })?;
    audit::record(connection, &AuditEvent::of_user(AuditKind::MfaEnabled {}, user_id), context)?;
    mail::queue(connection, enabling.notice.as_ref())?;
    let user = users::find(connection, user_id)?;
    Ok(EnableTotpOutcome::Enabled(user.ok_or(StoreError::Inconsistent("totp.user_id"))?))
}

fn disable(
    connection: &Connection,
    user_id: UserId,
    removal: Option<TotpRemoval>,
    notice: Option<&QueuedMail>,
    context: &AuditContext,
) -> Result<DisableTotpOutcome, StoreError> {
    if let Some(own) = removal
        && !sessions::is_live(connection, own.session_id, user_id, context.at)?
    {
        return Ok(DisableTotpOutcome::SessionEnded);
    }
    if find(connection, user_id)?.and_then(|totp| totp.confirmed_at).is_none() {
        return Ok(DisableTotpOutcome::NotEnabled);
    }
    if let Some(own) = removal
        && !spend(connection, user_id, own.proof, context)?
    {
        return Ok(DisableTotpOutcome::ProofSpent);
    }
    forget(connection, user_id)?;
    set_enabled_at(connection, user_id, None)?;
    audit::record(connection, &AuditEvent::of_user(AuditKind::MfaDisabled {}, user_id), context)?;
    mail::queue(connection, notice)?;
    Ok(DisableTotpOutcome::Disabled)
}

fn replace_codes(
    connection: &Connection,
    user_id: UserId,
    guard: OwnGuard,
    codes: &[RecoveryCodeHash],
    notice: Option<&QueuedMail>,
    context: &AuditContext,
) -> Result<ReplaceCodesOutcome, StoreError> {
    let account = users::find_account(connection, user_id)?.filter(|account| {
        account.credential_version == guard.credential_version
            && account.user.mfa_enabled_at.is_some()
    });
    if account.is_none() {
        return Ok(ReplaceCodesOutcome::Unmatched);
    }
    if !sessions::is_live(connection, guard.session_id, user_id, context.at)? {
        return Ok(ReplaceCodesOutcome::SessionEnded);
    }
    insert_codes(connection, user_id, codes)?;
    let replaced = AuditEvent::of_user(AuditKind::RecoveryCodesReplaced {}, user_id);
    audit::record(connection, &replaced, context)?;
    mail::queue(connection, notice)?;
    Ok(ReplaceCodesOutcome::Replaced)
}

fn challenge_user(
    connection: &Connection,
    challenge: &MfaChallenge,
    context: &AuditContext,
) -> Result<ChallengeOutcome, StoreError> {
    let user_id = challenge.user_id;
    let Some(account) = users::find_account(connection, user_id)? else {
        return Ok(ChallengeOutcome::CredentialChanged);
    };
    if let Some(refused) = account.refuses(challenge.credential_version) {
        return Ok(ChallengeOutcome::refused(&refused));
    }
    let parameters = named_params! { ":user_id": user_id.as_bytes(), ":now": context.at.millis() };
    connection.prepare_cached(sql::DELETE_EXPIRED_CHALLENGES)?.execute(parameters)?;
    connection.prepare_cached(sql::INSERT_CHALLENGE)?.execute(named_params! {
        ":hash": challenge.hash.as_bytes(),
        ":user_id": user_id.as_bytes(),
        ":credential_version": challenge.credential_version.cast_signed(),
        ":tries_left": challenge.tries_left,
        ":expires_at": challenge.expires_at.millis(),
    })?;
    audit::record(connection, &AuditEvent::of_user(AuditKind::MfaRequired {}, user_id), context)?;
    Ok(ChallengeOutcome::Inserted { recovery_codes: codes_left(connection, user_id)? })
}

fn count_try(
    connection: &Connection,
    whose: MfaTry,
    quota: Option<Quota>,
    now: Timestamp,
) -> Result<MfaTryOutcome, StoreError> {
    let (user_id, challenge) = match whose {
        MfaTry::User(id) => (id, None),
        MfaTry::Challenge(hash) => match find_challenge(connection, hash)? {
            Some(challenge) => (challenge.user_id, Some(challenge)),
            None => return Ok(MfaTryOutcome::Refused),
        },
    };
    let account = users::find_account(connection, user_id)?;
    let totp = find(connection, user_id)?.filter(|totp| totp.confirmed_at.is_some());
    let (Some(account), Some(mut totp)) = (account, totp) else {
        return Ok(MfaTryOutcome::Refused);
    };
    if challenge.as_ref().is_some_and(|challenge| !challenge.takes_try(&account, now)) {
        return Ok(MfaTryOutcome::Refused);
    }
    if let Err(limited) = totp.count(quota, now) {
        return Ok(MfaTryOutcome::Limited(limited));
    }
    set_tries(connection, user_id, &totp)?;
    if let Some(MfaChallenge { hash, .. }) = challenge {
        let parameters = named_params! { ":hash": hash.as_bytes() };
        connection.prepare_cached(sql::TAKE_TRY)?.execute(parameters)?;
    }
    Ok(MfaTryOutcome::Counted { user_id, totp })
}

fn open(
    connection: &Connection,
    new: &NewSession,
    answer: MfaAnswer,
    context: &AuditContext,
) -> Result<OpenMfaOutcome, StoreError> {
    let user_id = new.session.user_id;
    let Some(account) = users::find_account(connection, user_id)? else {
        return Ok(OpenMfaOutcome::ChallengeSpent);
    };
    let challenge = find_challenge(connection, answer.challenge)?;
    if let Some(refused) = OpenMfaOutcome::refusal(challenge.as_ref(), &account, context.at) {
        return Ok(refused);
    }
    if !spend(connection, user_id, answer.proof, context)? {
        return Ok(OpenMfaOutcome::ProofSpent);
    }
    let parameters = named_params! { ":hash": answer.challenge.as_bytes() };
    connection.prepare_cached(sql::DELETE_CHALLENGE)?.execute(parameters)?;
    if let Some(mut totp) = find(connection, user_id)? {
        totp.refund(answer.quota);
        set_tries(connection, user_id, &totp)?;
    }
    let (user, ended_others) = users::sign_in(connection, account.user, new, context)?;
    Ok(OpenMfaOutcome::Opened { user, ended_others })
}

/// Uses a proof up, and records it where it is a recovery code; answers whether it was good.
fn spend(
    connection: &Connection,
    user_id: UserId,
    proof: MfaProof,
    context: &AuditContext,
) -> Result<bool, StoreError> {
    let hash = match proof {
        MfaProof::Step(step) => {
            let parameters =
                named_params! { ":user_id": user_id.as_bytes(), ":step": step.cast_signed() };
            return Ok(connection.prepare_cached(sql::USE_STEP)?.execute(parameters)? > 0);
        }
        MfaProof::RecoveryCode(hash) => hash,
    };
    let parameters = named_params! { ":user_id": user_id.as_bytes(), ":hash": hash.as_bytes() };
    if connection.prepare_cached(sql::USE_RECOVERY_CODE)?.execute(parameters)? == 0 {
        return Ok(false);
    }
    let used = AuditKind::RecoveryCodeUsed { left: codes_left(connection, user_id)? };
    audit::record(connection, &AuditEvent::of_user(used, user_id), context)?;
    Ok(true)
}

fn find(connection: &Connection, user_id: UserId) -> Result<Option<Totp>, StoreError> {
    let mut statement = connection.prepare_cached(sql::FIND_TOTP)?;
    rows::first(statement.query(named_params! { ":user_id": user_id.as_bytes() })?, rows::totp)
}

fn find_challenge(
    connection: &Connection,
    hash: MfaTokenHash,
) -> Result<Option<MfaChallenge>, StoreError> {
    let mut statement = connection.prepare_cached(sql::FIND_CHALLENGE)?;
    let found = statement.query(named_params! { ":hash": hash.as_bytes() })?;
    rows::first(found, rows::mfa_challenge)
}

fn set_tries(connection: &Connection, user_id: UserId, totp: &Totp) -> Result<(), StoreError> {
    let whole_at = totp.tries_whole_at.map(|whole_at| whole_at.0.millis());
    let parameters = named_params! { ":user_id": user_id.as_bytes(), ":whole_at": whole_at };
    connection.prepare_cached(sql::SET_TRIES)?.execute(parameters)?;
    Ok(())
}

pub(super) fn set_enabled_at(
    connection: &Connection,
    user_id: UserId,
    at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let at = at.map(|at| at.millis());
    let parameters = named_params! { ":user_id": user_id.as_bytes(), ":at": at };
    let mut set = connection.prepare_cached(sql::SET_MFA_ENABLED_AT)?;
    mail::carry_tokens(connection, user_id, || set.execute(parameters))
}

/// Puts these codes in the place of all others.
fn insert_codes(
    connection: &Connection,
    user_id: UserId,
    codes: &[RecoveryCodeHash],
) -> Result<(), StoreError> {
    of_user(connection, sql::DELETE_RECOVERY_CODES, user_id)?;
    for hash in codes {
        let parameters = named_params! { ":user_id": user_id.as_bytes(), ":hash": hash.as_bytes() };
        connection.prepare_cached(sql::INSERT_RECOVERY_CODE)?.execute(parameters)?;
    }
    Ok(())
}

fn codes_left(connection: &Connection, user_id: UserId) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(sql::COUNT_RECOVERY_CODES)?;
    let count: i64 =
        statement.query_row(named_params! { ":user_id": user_id.as_bytes() }, |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

fn of_user(connection: &Connection, sql: &str, user_id: UserId) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute(named_params! { ":user_id": user_id.as_bytes() })?;
    Ok(())
}
