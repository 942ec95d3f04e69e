//! Second factors. Whatever changes their rows has locked the user's row first.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::UserId;
use keyward_core::limits::Quota;
use keyward_core::second_factor::{MfaTokenHash, RecoveryCodeHash};
use keyward_core::session::AuthenticationMethod;
use keyward_core::time::Timestamp;
use tokio_postgres::types::ToSql;

use super::connection::{Connection, Failure, Lent, PATIENCE};
use super::rows::uuid;
use super::sql::second_factor as sql;
use super::{PostgresStore, audit, mail, rows, sessions, users};
use crate::store::{
    BeginTotpOutcome, ChallengeOutcome, DisableTotpOutcome, EnableTotp, EnableTotpOutcome,
    MfaAnswer, MfaChallenge, MfaProof, MfaTry, MfaTryOutcome, NewSession, OpenMfaOutcome, OwnGuard,
    Purged, QueuedMail, ReplaceCodesOutcome, SecondFactorStore, StoreError, Totp, TotpRemoval,
    TotpSetup, User,
};

#[async_trait]
impl SecondFactorStore for PostgresStore {
    async fn begin_totp(
        &self,
        setup: TotpSetup,
        context: &AuditContext,
    ) -> Result<BeginTotpOutcome, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| begin(connection, &setup, context.at))
            .await
    }

    async fn find_totp(&self, user_id: UserId) -> Result<Option<Totp>, StoreError> {
        self.connections
            .run(PATIENCE, |connection| async move { find(&connection, user_id).await })
            .await
    }

    async fn enable_totp(
        &self,
        enabling: EnableTotp,
        context: &AuditContext,
    ) -> Result<EnableTotpOutcome, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| enable(connection, &enabling, context))
            .await
    }

    async fn disable_totp(
        &self,
        user_id: UserId,
        removal: Option<TotpRemoval>,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<DisableTotpOutcome, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| {
                disable(connection, user_id, removal, notice.as_ref(), context)
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
        self.connections
            .transact(PATIENCE, |connection| {
                replace_codes(connection, user_id, guard, &codes, notice.as_ref(), context)
            })
            .await
    }

    async fn insert_mfa_challenge(
        &self,
        challenge: MfaChallenge,
        context: &AuditContext,
    ) -> Result<ChallengeOutcome, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| challenge_user(connection, &challenge, context))
            .await
    }

    async fn count_mfa_try(
        &self,
        whose: MfaTry,
        quota: Option<Quota>,
        now: Timestamp,
    ) -> Result<MfaTryOutcome, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| count_try(connection, whose, quota, now))
            .await
    }

    async fn open_mfa_session(
        &self,
        session: NewSession,
        answer: MfaAnswer,
        context: &AuditContext,
    ) -> Result<OpenMfaOutcome, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| open(connection, &session, answer, context))
            .await
    }
}

/// Deletes whatever belongs to the second factor of a user.
pub(super) async fn forget(connection: &Connection, user_id: UserId) -> Result<(), Failure> {
    for statement in [sql::DELETE_TOTP, sql::DELETE_RECOVERY_CODES] {
        connection.query(statement, &[&uuid(user_id.as_bytes())]).await?;
    }
    forget_challenges(connection, user_id).await
}

/// Ends the user's sign-ins that wait for a code.
pub(super) async fn forget_challenges(
    connection: &Connection,
    user_id: UserId,
) -> Result<(), Failure> {
    connection.query(sql::DELETE_CHALLENGES, &[&uuid(user_id.as_bytes())]).await.map(drop)
}

/// Deletes challenges that expired before a time, at most so many.
pub(super) async fn purge(
    connection: &Connection,
    expired_before: Timestamp,
    limit: u32,
) -> Result<Purged, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&expired_before.millis(), &i64::from(limit)];
    Ok(Purged::Rows(count(&connection.query(sql::PURGE_CHALLENGES, parameters).await?)?))
}

async fn begin(
    connection: Lent,
    setup: &TotpSetup,
    now: Timestamp,
) -> Result<BeginTotpOutcome, Failure> {
    let account = users::lock(&connection, setup.user_id).await?;
    let OwnGuard { session_id, credential_version } = setup.guard;
    if account.is_none_or(|account| account.credential_version != credential_version) {
        return Ok(BeginTotpOutcome::CredentialChanged);
    }
    if !sessions::lock_live(&connection, session_id, setup.user_id, now).await? {
        return Ok(BeginTotpOutcome::SessionEnded);
    }
    let parameters: &[&(dyn ToSql + Sync)] =
        &[&uuid(setup.user_id.as_bytes()), &setup.sealed, &now.millis()];
    let begun = connection.query(sql::BEGIN_TOTP, parameters).await?;
    Ok(if begun.is_empty() { BeginTotpOutcome::Enabled } else { BeginTotpOutcome::Begun })
}

async fn enable(
    connection: Lent,
    enabling: &EnableTotp,
    context: &AuditContext,
) -> Result<EnableTotpOutcome, Failure> {
    let (user_id, session_id) = (enabling.user_id, enabling.session_id);
    let Some(account) = users::lock(&connection, user_id).await? else {
        return Ok(EnableTotpOutcome::SessionEnded);
    };
    if !sessions::lock_live(&connection, session_id, user_id, context.at).await? {
        return Ok(EnableTotpOutcome::SessionEnded);
    }
    if enabling.enabled(find(&connection, user_id).await?, context.at).is_none() {
        return Ok(EnableTotpOutcome::SetupGone);
    }
    let id = uuid(user_id.as_bytes());
    let parameters: &[&(dyn ToSql + Sync)] =
        &[&id, &context.at.millis(), &enabling.step.cast_signed()];
    connection.query(sql::ENABLE_TOTP, parameters).await?;
    set_enabled_at(&connection, user_id, Some(context.at)).await?;
    insert_codes(&connection, user_id, &enabling.recovery_codes).await?;
    let amr: Vec<&str> = enabling.amr.iter().copied().map(AuthenticationMethod::as_str).collect();
    connection.query(sql::SET_AMR, &[&uuid(session_id.as_bytes()), &id, &amr]).await?;
    let enabled = [AuditEvent::of_user(AuditKind::MfaEnabled {}, user_id)];
    audit::record(&connection, &enabled, context).await?;
    mail::queue(&connection, enabling.notice.as_ref()).await?;
    Ok(EnableTotpOutcome::Enabled(User { mfa_enabled_at: Some(context.at), ..account.user }))
}

async fn disable(
    connection: Lent,
    user_id: UserId,
    removal: Option<TotpRemoval>,
    notice: Option<&QueuedMail>,
    context: &AuditContext,
) -> Result<DisableTotpOutcome, Failure> {
    users::lock(&connection, user_id).await?;
    if let Some(own) = removal
        && !sessions::lock_live(&connection, own.session_id, user_id, context.at).await?
    {
        return Ok(DisableTotpOutcome::SessionEnded);
    }
    if find(&connection, user_id).await?.and_then(|totp| totp.confirmed_at).is_none() {
        return Ok(DisableTotpOutcome::NotEnabled);
    }
    let mut events = Vec::new();
    if let Some(own) = removal
        && !spend(&connection, user_id, own.proof, &mut events).await?
    {
        return Ok(DisableTotpOutcome::ProofSpent);
    }
    forget(&connection, user_id).await?;
    set_enabled_at(&connection, user_id, None).await?;
    events.push(AuditEvent::of_user(AuditKind::MfaDisabled {}, user_id));
    audit::record(&connection, &events, context).await?;
    mail::queue(&connection, notice).await?;
    Ok(DisableTotpOutcome::Disabled)
}

async fn replace_codes(
    connection: Lent,
    user_id: UserId,
    guard: OwnGuard,
    codes: &[RecoveryCodeHash],
    notice: Option<&QueuedMail>,
    context: &AuditContext,
) -> Result<ReplaceCodesOutcome, Failure> {
    let account = users::lock(&connection, user_id).await?.filter(|account| {
        account.credential_version == guard.credential_version
            && account.user.mfa_enabled_at.is_some()
    });
    if account.is_none() {
        return Ok(ReplaceCodesOutcome::Unmatched);
    }
    if !sessions::lock_live(&connection, guard.session_id, user_id, context.at).await? {
        return Ok(ReplaceCodesOutcome::SessionEnded);
    }
    insert_codes(&connection, user_id, codes).await?;
    let replaced = [AuditEvent::of_user(AuditKind::RecoveryCodesReplaced {}, user_id)];
    audit::record(&connection, &replaced, context).await?;
    mail::queue(&connection, notice).await?;
    Ok(ReplaceCodesOutcome::Replaced)
}

async fn challenge_user(
    connection: Lent,
    challenge: &MfaChallenge,
    context: &AuditContext,
) -> Result<ChallengeOutcome, Failure> {
    let user_id = challenge.user_id;
    let Some(account) = users::lock(&connection, user_id).await? else {
        return Ok(ChallengeOutcome::CredentialChanged);
    };
    if let Some(refused) = account.refuses(challenge.credential_version) {
        return Ok(ChallengeOutcome::refused(&refused));
    }
    let id = uuid(user_id.as_bytes());
    connection.query(sql::DELETE_EXPIRED_CHALLENGES, &[&id, &context.at.millis()]).await?;
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &challenge.hash.as_bytes().as_slice(),
        &id,
        &challenge.credential_version.cast_signed(),
        &i64::from(challenge.tries_left),
        &challenge.expires_at.millis(),
    ];
    connection.query(sql::INSERT_CHALLENGE, parameters).await?;
    let required = [AuditEvent::of_user(AuditKind::MfaRequired {}, user_id)];
    audit::record(&connection, &required, context).await?;
    Ok(ChallengeOutcome::Inserted { recovery_codes: codes_left(&connection, user_id).await? })
}

async fn count_try(
    connection: Lent,
    whose: MfaTry,
    quota: Option<Quota>,
    now: Timestamp,
) -> Result<MfaTryOutcome, Failure> {
    let user_id = match whose {
        MfaTry::User(id) => Some(id),
        MfaTry::Challenge(hash) => {
            find_challenge(&connection, hash).await?.map(|challenge| challenge.user_id)
        }
    };
    let Some(user_id) = user_id else { return Ok(MfaTryOutcome::Refused) };
    let account = users::lock(&connection, user_id).await?;
    let totp = find(&connection, user_id).await?.filter(|totp| totp.confirmed_at.is_some());
    let (Some(account), Some(mut totp)) = (account, totp) else {
        return Ok(MfaTryOutcome::Refused);
    };
    if let MfaTry::Challenge(hash) = whose {
        // Under the lock it stays what it is now.
        let challenge = find_challenge(&connection, hash).await?;
        if challenge.is_none_or(|challenge| !challenge.takes_try(&account, now)) {
            return Ok(MfaTryOutcome::Refused);
        }
    }
    if let Err(limited) = totp.count(quota, now) {
        return Ok(MfaTryOutcome::Limited(limited));
    }
    set_tries(&connection, user_id, &totp).await?;
    if let MfaTry::Challenge(hash) = whose {
        connection.query(sql::TAKE_TRY, &[&hash.as_bytes().as_slice()]).await?;
    }
    Ok(MfaTryOutcome::Counted { user_id, totp })
}

async fn open(
    connection: Lent,
    new: &NewSession,
    answer: MfaAnswer,
    context: &AuditContext,
) -> Result<OpenMfaOutcome, Failure> {
    let user_id = new.session.user_id;
    let Some(account) = users::lock(&connection, user_id).await? else {
        return Ok(OpenMfaOutcome::ChallengeSpent);
    };
    let challenge = find_challenge(&connection, answer.challenge).await?;
    if let Some(refused) = OpenMfaOutcome::refusal(challenge.as_ref(), &account, context.at) {
        return Ok(refused);
    }
    let mut events = Vec::new();
    if !spend(&connection, user_id, answer.proof, &mut events).await? {
        return Ok(OpenMfaOutcome::ProofSpent);
    }
    connection.query(sql::DELETE_CHALLENGE, &[&answer.challenge.as_bytes().as_slice()]).await?;
    if let Some(mut totp) = find(&connection, user_id).await? {
        totp.refund(answer.quota);
        set_tries(&connection, user_id, &totp).await?;
    }
    let (user, ended_others) =
        users::sign_in(&connection, account.user, new, context, events).await?;
    Ok(OpenMfaOutcome::Opened { user, ended_others })
}

/// Uses a proof up; answers whether it was good. What happened is added to `events`.
async fn spend(
    connection: &Connection,
    user_id: UserId,
    proof: MfaProof,
    events: &mut Vec<AuditEvent>,
) -> Result<bool, Failure> {
    let id = uuid(user_id.as_bytes());
    match proof {
        MfaProof::Step(step) => {
            let used = connection.query(sql::USE_STEP, &[&id, &step.cast_signed()]).await?;
            Ok(!used.is_empty())
        }
        MfaProof::RecoveryCode(hash) => {
            let parameters: &[&(dyn ToSql + Sync)] = &[&id, &hash.as_bytes().as_slice()];
            if connection.query(sql::USE_RECOVERY_CODE, parameters).await?.is_empty() {
                return Ok(false);
            }
            let left = codes_left(connection, user_id).await?;
            events.push(AuditEvent::of_user(AuditKind::RecoveryCodeUsed { left }, user_id));
            Ok(true)
        }
    }
}

async fn find(connection: &Connection, user_id: UserId) -> Result<Option<Totp>, Failure> {
    let found = connection.query(sql::FIND_TOTP, &[&uuid(user_id.as_bytes())]).await?;
    Ok(rows::first(&found, rows::totp)?)
}

async fn find_challenge(
    connection: &Connection,
    hash: MfaTokenHash,
) -> Result<Option<MfaChallenge>, Failure> {
    let found = connection.query(sql::FIND_CHALLENGE, &[&hash.as_bytes().as_slice()]).await?;
    Ok(rows::first(&found, rows::mfa_challenge)?)
}

async fn set_tries(connection: &Connection, user_id: UserId, totp: &Totp) -> Result<(), Failure> {
    let whole_at = totp.tries_whole_at.map(|whole_at| whole_at.0.millis());
    connection.query(sql::SET_TRIES, &[&uuid(user_id.as_bytes()), &whole_at]).await.map(drop)
}

pub(super) async fn set_enabled_at(
    connection: &Connection,
    user_id: UserId,
    at: Option<Timestamp>,
) -> Result<(), Failure> {
    let carried = mail::carried_tokens(connection, user_id).await?;
    let (id, at) = (uuid(user_id.as_bytes()), at.map(|at| at.millis()));
    connection.query(sql::SET_MFA_ENABLED_AT, &[&id, &at]).await?;
    mail::put_back(connection, &carried).await
}

/// Puts these codes in the place of all others.
async fn insert_codes(
    connection: &Connection,
    user_id: UserId,
    codes: &[RecoveryCodeHash],
) -> Result<(), Failure> {
    let id = uuid(user_id.as_bytes());
    connection.query(sql::DELETE_RECOVERY_CODES, &[&id]).await?;
    let hashes: Vec<&[u8]> = codes.iter().map(|code| code.as_bytes().as_slice()).collect();
    connection.query(sql::INSERT_RECOVERY_CODES, &[&id, &hashes]).await.map(drop)
}

async fn codes_left(connection: &Connection, user_id: UserId) -> Result<u64, Failure> {
    count(&connection.query(sql::COUNT_RECOVERY_CODES, &[&uuid(user_id.as_bytes())]).await?)
}

fn count(found: &[tokio_postgres::Row]) -> Result<u64, Failure> {
    let counted = rows::first(found, |columns| columns.count("count"))?;
    Ok(counted.ok_or(StoreError::Inconsistent("count"))?)
}
