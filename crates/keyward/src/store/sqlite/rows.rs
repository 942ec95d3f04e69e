//! From rows to values. A row that no code of ours writes becomes an error that names its column.

use keyward_core::audit::RecordedEvent;
use keyward_core::id::{MailId, ServiceKeyId, SessionId, UserId};
use keyward_core::limits::WholeAt;
use keyward_core::one_time_token::{OneTimeTokenHash, OneTimeTokenRecord, TokenPurpose};
use keyward_core::refresh_token::{RefreshTokenHash, SealedSuccessor};
use keyward_core::second_factor::MfaTokenHash;
use keyward_core::service_key::{Scope, ServiceKeyHash, ServiceKeyRecord};
use keyward_core::session::{Device, Session};
use keyward_core::time::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Row, Rows};
use serde::de::DeserializeOwned;

use crate::store::{
    Account, ClaimedMail, EventCount, HourCount, KeyPurpose, KeyRecord, MfaChallenge, PasswordHash,
    Population, QueuedMail, Revoked, SessionOfUser, StoreError, Totp, UnlockedAccount, User,
    stored,
};

/// The first row, if there is one.
pub(super) fn first<T>(
    mut rows: Rows<'_>,
    read: impl Fn(&mut Columns<'_, '_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    rows.next()?.map(|row| read(&mut Columns { row, next: 0 })).transpose()
}

/// Every row.
pub(super) fn all<T>(
    mut rows: Rows<'_>,
    read: impl Fn(&mut Columns<'_, '_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(read(&mut Columns { row, next: 0 })?);
    }
    Ok(items)
}

/// The columns of one row, read from left to right.
pub(super) struct Columns<'a, 's> {
    row: &'a Row<'s>,
    next: usize,
}

impl Columns<'_, '_> {
    /// The next column; `place` names it where it holds what it must not.
    pub(super) fn take<T: FromSql>(&mut self, place: &'static str) -> Result<T, StoreError> {
        let value = self.row.get(self.next).map_err(|_| StoreError::Inconsistent(place))?;
        self.next += 1;
        Ok(value)
    }

    pub(super) fn time(&mut self, place: &'static str) -> Result<Timestamp, StoreError> {
        self.take(place).map(Timestamp::from_millis)
    }

    fn time_if_set(&mut self, place: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.take::<Option<i64>>(place)?.map(Timestamp::from_millis))
    }

    pub(super) fn count(&mut self, place: &'static str) -> Result<u64, StoreError> {
        u64::try_from(self.take::<i64>(place)?).map_err(|_| StoreError::Inconsistent(place))
    }

    fn json<T: DeserializeOwned>(&mut self, place: &'static str) -> Result<T, StoreError> {
        let text: String = self.take(place)?;
        serde_json::from_str(&text).map_err(|_| StoreError::Inconsistent(place))
    }
}

/// A session; reads `session_columns!`.
pub(super) fn session(columns: &mut Columns<'_, '_>) -> Result<Session, StoreError> {
    let (id, user_id) = session_ids(columns)?;
    Ok(Session {
        id,
        user_id,
        generation: columns.count("session.generation")?,
        refresh_token_hash: RefreshTokenHash::from_bytes(
            columns.take("session.refresh_token_hash")?,
        ),
        previous_token_hash: columns
            .take::<Option<_>>("session.previous_token_hash")?
            .map(RefreshTokenHash::from_bytes),
        sealed_successor: columns
            .take::<Option<_>>("session.sealed_successor")?
            .map(SealedSuccessor::from_bytes),
        retry_proofs: stored::retry_proofs(&columns.take::<Vec<u8>>("session.retry_proofs")?)?,
        rotated_at: columns.time("session.rotated_at")?,
        created_at: columns.time("session.created_at")?,
        last_used_at: columns.time("session.last_used_at")?,
        idle_expires_at: columns.time("session.idle_expires_at")?,
        expires_at: columns.time("session.expires_at")?,
        revoked: stored::revocation(
            columns.time_if_set("session.revoked_at")?,
            columns.take::<Option<String>>("session.revoked_reason")?.as_deref(),
        )?,
        device: Device {
            ip: columns.take("session.ip")?,
            user_agent: columns.take("session.user_agent")?,
        },
        auth_time: columns.time("session.auth_time")?,
        amr: stored::amr(columns.json::<Vec<String>>("session.amr")?.iter().map(String::as_str))?,
    })
}

/// A session's id and whose it is.
pub(super) fn session_ids(
    columns: &mut Columns<'_, '_>,
) -> Result<(SessionId, UserId), StoreError> {
    let id = SessionId::from_bytes(columns.take("session.id")?);
    Ok((id, UserId::from_bytes(columns.take("session.user_id")?)))
}

/// A user; reads `user_columns!`.
pub(super) fn user(columns: &mut Columns<'_, '_>) -> Result<User, StoreError> {
    Ok(User {
        id: UserId::from_bytes(columns.take("user.id")?),
        email: columns.take("user.email")?,
        name: columns.take("user.name")?,
        roles: columns.json("user.roles")?,
        email_verified: columns.take("user.email_verified")?,
        claims: columns.json("user.claims")?,
        created_at: columns.time("user.created_at")?,
        disabled_at: columns.time_if_set("user.disabled_at")?,
        last_login_at: columns.time_if_set("user.last_login_at")?,
        last_logout_at: columns.time_if_set("user.last_logout_at")?,
        mfa_enabled_at: columns.time_if_set("user.mfa_enabled_at")?,
    })
}

/// An account; reads `user_columns!`, the password hash and the credential version.
pub(super) fn account(columns: &mut Columns<'_, '_>) -> Result<Account, StoreError> {
    Ok(Account {
        user: user(columns)?,
        password_hash: PasswordHash::from_phc(columns.take("user.password_hash")?),
        credential_version: columns.count("user.credential_version")?,
    })
}

/// A session and its user.
pub(super) fn session_of_user(columns: &mut Columns<'_, '_>) -> Result<SessionOfUser, StoreError> {
    Ok(SessionOfUser { session: session(columns)?, user: user(columns)? })
}

/// An audit event.
pub(super) fn event(columns: &mut Columns<'_, '_>) -> Result<RecordedEvent, StoreError> {
    Ok(RecordedEvent {
        id: columns.take("audit_event.id")?,
        at: columns.time("audit_event.at")?,
        name: columns.take("audit_event.name")?,
        user_id: columns.take::<Option<_>>("audit_event.user_id")?.map(UserId::from_bytes),
        session_id: columns.take::<Option<_>>("audit_event.session_id")?.map(SessionId::from_bytes),
        device: Device {
            ip: columns.take("audit_event.ip")?,
            user_agent: columns.take("audit_event.user_agent")?,
        },
        request_id: columns.take("audit_event.request_id")?,
        detail: columns.take("audit_event.detail")?,
    })
}

/// A revocation.
pub(super) fn revoked(columns: &mut Columns<'_, '_>) -> Result<Revoked, StoreError> {
    let position = columns.count("revocation.id")?;
    let at = columns.time("revocation.at")?;
    let session_id = columns.take::<Option<_>>("revocation.session_id")?;
    let user_id = columns.take::<Option<_>>("revocation.user_id")?;
    let subject = stored::revoked_subject(session_id, user_id)?;
    Ok(Revoked { subject, at, position })
}

/// A key.
pub(super) fn key(columns: &mut Columns<'_, '_>) -> Result<KeyRecord, StoreError> {
    let id = columns.take("key.id")?;
    let purpose: String = columns.take("key.purpose")?;
    Ok(KeyRecord {
        id,
        purpose: KeyPurpose::from_name(&purpose).ok_or(StoreError::Inconsistent("key.purpose"))?,
        algorithm: columns.take("key.algorithm")?,
        sealed: columns.take("key.sealed")?,
        created_at: columns.time("key.created_at")?,
        activates_at: columns.time("key.activates_at")?,
        compromised_at: columns.time_if_set("key.compromised_at")?,
    })
}

/// A user's authenticator app.
pub(super) fn totp(columns: &mut Columns<'_, '_>) -> Result<Totp, StoreError> {
    Ok(Totp {
        sealed: columns.take("totp.sealed")?,
        begun_at: columns.time("totp.begun_at")?,
        confirmed_at: columns.time_if_set("totp.confirmed_at")?,
        last_step: columns.take::<Option<i64>>("totp.last_step")?.map(i64::cast_unsigned),
        tries_whole_at: columns.time_if_set("totp.tries_whole_at")?.map(WholeAt),
    })
}

/// A sign-in that waits for a code.
pub(super) fn mfa_challenge(columns: &mut Columns<'_, '_>) -> Result<MfaChallenge, StoreError> {
    Ok(MfaChallenge {
        hash: MfaTokenHash::from_bytes(columns.take("mfa_challenge.hash")?),
        user_id: UserId::from_bytes(columns.take("mfa_challenge.user_id")?),
        credential_version: columns.count("mfa_challenge.credential_version")?,
        tries_left: columns.take("mfa_challenge.tries_left")?,
        expires_at: columns.time("mfa_challenge.expires_at")?,
    })
}

/// A service key; reads `service_key_columns!`.
pub(super) fn service_key(columns: &mut Columns<'_, '_>) -> Result<ServiceKeyRecord, StoreError> {
    const SCOPES: &str = "service_key.scopes";
    let id = ServiceKeyId::from_bytes(columns.take("service_key.id")?);
    let name = columns.take("service_key.name")?;
    let hash = ServiceKeyHash::from_bytes(columns.take("service_key.hash")?);
    let scopes: Vec<String> = columns.json(SCOPES)?;
    let scopes = scopes.iter().map(|name| Scope::from_name(name));
    Ok(ServiceKeyRecord {
        id,
        name,
        hash,
        scopes: scopes.collect::<Option<_>>().ok_or(StoreError::Inconsistent(SCOPES))?,
        created_at: columns.time("service_key.created_at")?,
        expires_at: columns.time_if_set("service_key.expires_at")?,
        revoked_at: columns.time_if_set("service_key.revoked_at")?,
    })
}

/// A name and how many there are of it.
pub(super) fn event_count(columns: &mut Columns<'_, '_>) -> Result<EventCount, StoreError> {
    let name = columns.take("event_count.name")?;
    Ok(EventCount { name, count: columns.count("event_count.count")? })
}

/// The same within an hour.
pub(super) fn hour_count(columns: &mut Columns<'_, '_>) -> Result<HourCount, StoreError> {
    Ok(HourCount { hour: columns.time("event_count.hour")?, of: event_count(columns)? })
}

/// How many there are.
pub(super) fn population(columns: &mut Columns<'_, '_>) -> Result<Population, StoreError> {
    Ok(Population {
        users: columns.count("user")?,
        disabled_users: columns.count("user.disabled_at")?,
        live_sessions: columns.count("session")?,
    })
}

/// An account that was unlocked.
pub(super) fn unlocked_account(
    columns: &mut Columns<'_, '_>,
) -> Result<UnlockedAccount, StoreError> {
    let email_key = columns.take("user.email_key")?;
    Ok(UnlockedAccount { email_key, at: columns.time("user.unlocked_at")? })
}

/// A one-time token.
pub(super) fn one_time_token(
    columns: &mut Columns<'_, '_>,
) -> Result<OneTimeTokenRecord, StoreError> {
    const PURPOSE: &str = "one_time_token.purpose";
    let user_id = UserId::from_bytes(columns.take("one_time_token.user_id")?);
    let purpose = TokenPurpose::from_name(&columns.take::<String>(PURPOSE)?);
    Ok(OneTimeTokenRecord {
        user_id,
        purpose: purpose.ok_or(StoreError::Inconsistent(PURPOSE))?,
        hash: OneTimeTokenHash::from_bytes(columns.take("one_time_token.hash")?),
        email_key: columns.take("one_time_token.email_key")?,
        credential_version: columns.count("one_time_token.credential_version")?,
        expires_at: columns.time("one_time_token.expires_at")?,
    })
}

/// A one-time token and its account.
pub(super) fn token_of_account(
    columns: &mut Columns<'_, '_>,
) -> Result<(OneTimeTokenRecord, Account), StoreError> {
    Ok((one_time_token(columns)?, account(columns)?))
}

/// A mail, and how often it was taken.
pub(super) fn claimed_mail(columns: &mut Columns<'_, '_>) -> Result<ClaimedMail, StoreError> {
    let mail = QueuedMail {
        id: MailId::from_bytes(columns.take("mail.id")?),
        user_id: UserId::from_bytes(columns.take("mail.user_id")?),
        sealed: columns.take("mail.sealed")?,
        created_at: columns.time("mail.created_at")?,
        expires_at: columns.time("mail.expires_at")?,
    };
    Ok(ClaimedMail { mail, attempts: columns.take("mail.attempts")? })
}
