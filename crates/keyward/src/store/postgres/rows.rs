//! From rows to values. A row that no code of ours writes becomes an error that names its column.

use std::collections::VecDeque;

use keyward_core::audit::RecordedEvent;
use keyward_core::id::{MailId, ServiceKeyId, SessionId, UserId};
use keyward_core::limits::WholeAt;
use keyward_core::one_time_token::{OneTimeTokenHash, OneTimeTokenRecord, TokenPurpose};
use keyward_core::refresh_token::{RefreshTokenHash, SealedSuccessor};
use keyward_core::second_factor::MfaTokenHash;
use keyward_core::service_key::{Scope, ServiceKeyHash, ServiceKeyRecord};
use keyward_core::session::{Device, Session, Swap};
use keyward_core::time::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::store::{
    Account, ClaimedMail, EventCount, HourCount, KeyPurpose, KeyRecord, MfaChallenge, PasswordHash,
    Population, QueuedMail, Revoked, SessionOfUser, StoreError, Totp, UnlockedAccount, User,
    stored,
};

/// The first row, if there is one.
pub(super) fn first<T>(
    rows: &[Row],
    read: impl Fn(&mut Columns<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    rows.first().map(|row| read(&mut Columns { row, next: 0 })).transpose()
}

/// Every row.
pub(super) fn all<T>(
    rows: &[Row],
    read: impl Fn(&mut Columns<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    rows.iter().map(|row| read(&mut Columns { row, next: 0 })).collect()
}

/// The columns of one row, read from left to right.
pub(super) struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Columns<'a> {
    /// The next column; `place` names it where it holds what it must not.
    pub(super) fn take<T: FromSql<'a>>(&mut self, place: &'static str) -> Result<T, StoreError> {
        let value = self.row.try_get(self.next).map_err(|_| StoreError::Inconsistent(place))?;
        self.next += 1;
        Ok(value)
    }

    /// Whether the next column is NULL.
    pub(super) fn is_absent(&self) -> bool {
        self.row.try_get::<_, Option<Uuid>>(self.next).is_ok_and(|value| value.is_none())
    }

    /// The place in the arrays of a statement's parameters, which it counts from one.
    pub(super) fn place(&mut self) -> Result<usize, StoreError> {
        let place = self.count("place")?.checked_sub(1).map(usize::try_from);
        place.and_then(Result::ok).ok_or(StoreError::Inconsistent("place"))
    }

    fn id(&mut self, place: &'static str) -> Result<[u8; 16], StoreError> {
        self.take::<Uuid>(place).map(Uuid::into_bytes)
    }

    fn hash(&mut self, place: &'static str) -> Result<Option<RefreshTokenHash>, StoreError> {
        let bytes: Option<&[u8]> = self.take(place)?;
        let hash = bytes.map(<[u8; 32]>::try_from).transpose();
        let hash = hash.map_err(|_| StoreError::Inconsistent(place))?;
        Ok(hash.map(RefreshTokenHash::from_bytes))
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
}

/// An id as the server takes it.
pub(super) fn uuid(bytes: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*bytes)
}

/// A session; reads `session_columns!`.
pub(super) fn session(columns: &mut Columns<'_>) -> Result<Session, StoreError> {
    const HASH: &str = "session.refresh_token_hash";
    let (id, user_id) = session_ids(columns)?;
    Ok(Session {
        id,
        user_id,
        generation: columns.count("session.generation")?,
        refresh_token_hash: columns.hash(HASH)?.ok_or(StoreError::Inconsistent(HASH))?,
        previous_token_hash: columns.hash("session.previous_token_hash")?,
        sealed_successor: columns
            .take::<Option<_>>("session.sealed_successor")?
            .map(SealedSuccessor::from_bytes),
        retry_proofs: stored::retry_proofs(columns.take("session.retry_proofs")?)?,
        rotated_at: columns.time("session.rotated_at")?,
        created_at: columns.time("session.created_at")?,
        last_used_at: columns.time("session.last_used_at")?,
        idle_expires_at: columns.time("session.idle_expires_at")?,
        expires_at: columns.time("session.expires_at")?,
        revoked: stored::revocation(
            columns.time_if_set("session.revoked_at")?,
            columns.take("session.revoked_reason")?,
        )?,
        device: Device {
            ip: columns.take("session.ip")?,
            user_agent: columns.take("session.user_agent")?,
        },
        auth_time: columns.time("session.auth_time")?,
        amr: stored::amr(columns.take::<Vec<&str>>("session.amr")?)?,
    })
}

/// A session as this swap has left it; reads `kept_columns!`.
pub(super) fn swapped_session(
    columns: &mut Columns<'_>,
    swap: &Swap,
) -> Result<Session, StoreError> {
    let user_id = UserId::from_bytes(columns.id("session.user_id")?);
    let retry_proofs = stored::retry_proofs(columns.take("session.retry_proofs")?)?;
    let mut session = Session {
        id: swap.session_id,
        user_id,
        generation: swap.generation,
        refresh_token_hash: swap.presented_hash,
        previous_token_hash: None,
        sealed_successor: None,
        retry_proofs: VecDeque::new(),
        rotated_at: swap.at,
        created_at: columns.time("session.created_at")?,
        last_used_at: swap.at,
        idle_expires_at: swap.idle_expires_at,
        expires_at: columns.time("session.expires_at")?,
        revoked: None,
        device: Device::default(),
        auth_time: columns.time("session.auth_time")?,
        amr: stored::amr(columns.take::<Vec<&str>>("session.amr")?)?,
    };
    session.rotate(swap);
    // The newest is among them already.
    session.retry_proofs = retry_proofs;
    Ok(session)
}

/// A session's id.
pub(super) fn session_id(columns: &mut Columns<'_>) -> Result<SessionId, StoreError> {
    columns.id("session.id").map(SessionId::from_bytes)
}

/// A session's id and whose it is.
pub(super) fn session_ids(columns: &mut Columns<'_>) -> Result<(SessionId, UserId), StoreError> {
    let id = session_id(columns)?;
    Ok((id, UserId::from_bytes(columns.id("session.user_id")?)))
}

/// A user; reads `user_columns!`.
pub(super) fn user(columns: &mut Columns<'_>) -> Result<User, StoreError> {
    Ok(User {
        id: UserId::from_bytes(columns.id("user.id")?),
        email: columns.take("user.email")?,
        name: columns.take("user.name")?,
        roles: columns.take("user.roles")?,
        email_verified: columns.take("user.email_verified")?,
        claims: serde_json::from_str(columns.take("user.claims")?)
            .map_err(|_| StoreError::Inconsistent("user.claims"))?,
        created_at: columns.time("user.created_at")?,
        disabled_at: columns.time_if_set("user.disabled_at")?,
        last_login_at: columns.time_if_set("user.last_login_at")?,
        last_logout_at: columns.time_if_set("user.last_logout_at")?,
        mfa_enabled_at: columns.time_if_set("user.mfa_enabled_at")?,
    })
}

/// A user's id and the address as it is compared.
pub(super) fn user_address(columns: &mut Columns<'_>) -> Result<(UserId, String), StoreError> {
    let id = UserId::from_bytes(columns.id("user.id")?);
    Ok((id, columns.take("user.email_key")?))
}

/// An account; reads `user_columns!`, the password hash and the credential version.
pub(super) fn account(columns: &mut Columns<'_>) -> Result<Account, StoreError> {
    Ok(Account {
        user: user(columns)?,
        password_hash: PasswordHash::from_phc(columns.take("user.password_hash")?),
        credential_version: columns.count("user.credential_version")?,
    })
}

/// A session and its user.
pub(super) fn session_of_user(columns: &mut Columns<'_>) -> Result<SessionOfUser, StoreError> {
    Ok(SessionOfUser { session: session(columns)?, user: user(columns)? })
}

/// A user, unless it is gone; reads `user_columns!`.
pub(super) fn user_if_there(columns: &mut Columns<'_>) -> Result<Option<User>, StoreError> {
    if columns.is_absent() { Ok(None) } else { user(columns).map(Some) }
}

/// An audit event.
pub(super) fn event(columns: &mut Columns<'_>) -> Result<RecordedEvent, StoreError> {
    Ok(RecordedEvent {
        id: columns.take("audit_event.id")?,
        at: columns.time("audit_event.at")?,
        name: columns.take("audit_event.name")?,
        user_id: columns
            .take::<Option<Uuid>>("audit_event.user_id")?
            .map(|id| UserId::from_bytes(id.into_bytes())),
        session_id: columns
            .take::<Option<Uuid>>("audit_event.session_id")?
            .map(|id| SessionId::from_bytes(id.into_bytes())),
        device: Device {
            ip: columns.take("audit_event.ip")?,
            user_agent: columns.take("audit_event.user_agent")?,
        },
        request_id: columns.take("audit_event.request_id")?,
        detail: columns.take("audit_event.detail")?,
    })
}

/// A revocation, and its place among the rows: the transaction that wrote it, and its id.
pub(super) fn revoked(columns: &mut Columns<'_>) -> Result<((i64, i64), Revoked), StoreError> {
    let position = columns.count("revocation.written_by")?;
    let id = columns.take("revocation.id")?;
    let at = columns.time("revocation.at")?;
    let session_id = columns.take::<Option<Uuid>>("revocation.session_id")?.map(Uuid::into_bytes);
    let user_id = columns.take::<Option<Uuid>>("revocation.user_id")?.map(Uuid::into_bytes);
    let subject = stored::revoked_subject(session_id, user_id)?;
    let transaction = position.cast_signed();
    Ok(((transaction, id), Revoked { subject, at, position }))
}

/// A key.
pub(super) fn key(columns: &mut Columns<'_>) -> Result<KeyRecord, StoreError> {
    let id = columns.take("key.id")?;
    let purpose = KeyPurpose::from_name(columns.take("key.purpose")?);
    Ok(KeyRecord {
        id,
        purpose: purpose.ok_or(StoreError::Inconsistent("key.purpose"))?,
        algorithm: columns.take("key.algorithm")?,
        sealed: columns.take("key.sealed")?,
        created_at: columns.time("key.created_at")?,
        activates_at: columns.time("key.activates_at")?,
        compromised_at: columns.time_if_set("key.compromised_at")?,
    })
}

/// A user's authenticator app.
pub(super) fn totp(columns: &mut Columns<'_>) -> Result<Totp, StoreError> {
    Ok(Totp {
        sealed: columns.take("totp.sealed")?,
        begun_at: columns.time("totp.begun_at")?,
        confirmed_at: columns.time_if_set("totp.confirmed_at")?,
        last_step: columns.take::<Option<i64>>("totp.last_step")?.map(i64::cast_unsigned),
        tries_whole_at: columns.time_if_set("totp.tries_whole_at")?.map(WholeAt),
    })
}

/// A sign-in that waits for a code.
pub(super) fn mfa_challenge(columns: &mut Columns<'_>) -> Result<MfaChallenge, StoreError> {
    const HASH: &str = "mfa_challenge.hash";
    const TRIES: &str = "mfa_challenge.tries_left";
    let hash = <[u8; 32]>::try_from(columns.take::<&[u8]>(HASH)?);
    Ok(MfaChallenge {
        hash: MfaTokenHash::from_bytes(hash.map_err(|_| StoreError::Inconsistent(HASH))?),
        user_id: UserId::from_bytes(columns.id("mfa_challenge.user_id")?),
        credential_version: columns.count("mfa_challenge.credential_version")?,
        tries_left: u32::try_from(columns.count(TRIES)?)
            .map_err(|_| StoreError::Inconsistent(TRIES))?,
        expires_at: columns.time("mfa_challenge.expires_at")?,
    })
}

/// A service key; reads `service_key_columns!`.
pub(super) fn service_key(columns: &mut Columns<'_>) -> Result<ServiceKeyRecord, StoreError> {
    const HASH: &str = "service_key.hash";
    const SCOPES: &str = "service_key.scopes";
    let id = ServiceKeyId::from_bytes(columns.id("service_key.id")?);
    let name = columns.take("service_key.name")?;
    let hash = <[u8; 32]>::try_from(columns.take::<&[u8]>(HASH)?);
    let scopes = columns.take::<Vec<&str>>(SCOPES)?.into_iter().map(Scope::from_name);
    Ok(ServiceKeyRecord {
        id,
        name,
        hash: ServiceKeyHash::from_bytes(hash.map_err(|_| StoreError::Inconsistent(HASH))?),
        scopes: scopes.collect::<Option<_>>().ok_or(StoreError::Inconsistent(SCOPES))?,
        created_at: columns.time("service_key.created_at")?,
        expires_at: columns.time_if_set("service_key.expires_at")?,
        revoked_at: columns.time_if_set("service_key.revoked_at")?,
    })
}

/// A name and how many there are of it.
pub(super) fn event_count(columns: &mut Columns<'_>) -> Result<EventCount, StoreError> {
    let name = columns.take("event_count.name")?;
    Ok(EventCount { name, count: columns.count("event_count.count")? })
}

/// The same within an hour.
pub(super) fn hour_count(columns: &mut Columns<'_>) -> Result<HourCount, StoreError> {
    Ok(HourCount { hour: columns.time("event_count.hour")?, of: event_count(columns)? })
}

/// How many there are.
pub(super) fn population(columns: &mut Columns<'_>) -> Result<Population, StoreError> {
    Ok(Population {
        users: columns.count("user")?,
        disabled_users: columns.count("user.disabled_at")?,
        live_sessions: columns.count("session")?,
    })
}

/// An account that was unlocked.
pub(super) fn unlocked_account(columns: &mut Columns<'_>) -> Result<UnlockedAccount, StoreError> {
    let email_key = columns.take("user.email_key")?;
    Ok(UnlockedAccount { email_key, at: columns.time("user.unlocked_at")? })
}

/// A one-time token.
pub(super) fn one_time_token(columns: &mut Columns<'_>) -> Result<OneTimeTokenRecord, StoreError> {
    const PURPOSE: &str = "one_time_token.purpose";
    const HASH: &str = "one_time_token.hash";
    let user_id = UserId::from_bytes(columns.id("one_time_token.user_id")?);
    let purpose = TokenPurpose::from_name(columns.take(PURPOSE)?);
    let hash = <[u8; 32]>::try_from(columns.take::<&[u8]>(HASH)?);
    Ok(OneTimeTokenRecord {
        user_id,
        purpose: purpose.ok_or(StoreError::Inconsistent(PURPOSE))?,
        hash: OneTimeTokenHash::from_bytes(hash.map_err(|_| StoreError::Inconsistent(HASH))?),
        email_key: columns.take("one_time_token.email_key")?,
        credential_version: columns.count("one_time_token.credential_version")?,
        expires_at: columns.time("one_time_token.expires_at")?,
    })
}

/// A one-time token and its account.
pub(super) fn token_of_account(
    columns: &mut Columns<'_>,
) -> Result<(OneTimeTokenRecord, Account), StoreError> {
    Ok((one_time_token(columns)?, account(columns)?))
}

/// A mail, and how often it was taken.
pub(super) fn claimed_mail(columns: &mut Columns<'_>) -> Result<ClaimedMail, StoreError> {
    const ATTEMPTS: &str = "mail.attempts";
    let mail = QueuedMail {
        id: MailId::from_bytes(columns.id("mail.id")?),
        user_id: UserId::from_bytes(columns.id("mail.user_id")?),
        sealed: columns.take("mail.sealed")?,
        created_at: columns.time("mail.created_at")?,
        expires_at: columns.time("mail.expires_at")?,
    };
    let attempts = u32::try_from(columns.count(ATTEMPTS)?);
    Ok(ClaimedMail { mail, attempts: attempts.map_err(|_| StoreError::Inconsistent(ATTEMPTS))? })
}
