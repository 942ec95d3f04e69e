//! Fills a store with sessions, through the store itself.

use std::io;
use std::path::Path;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use keyward::store::{InsertUserOutcome, NewSession, NewUser, PasswordHash, SqliteStore, Store};
use keyward_core::audit::{AuditContext, RegisteredBy};
use keyward_core::email::Email;
use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::RefreshTokenHash;
use keyward_core::rotation::RotationPolicy;
use keyward_core::session::{Device, Session};
use keyward_core::time::Timestamp;

/// Makes `sessions` users with one live session each.
pub(crate) async fn fill(file: &Path, sessions: u64, now: Timestamp) -> io::Result<()> {
    let store = SqliteStore::open(file, now).map_err(io::Error::other)?;
    let context = AuditContext { at: now, device: device(), request_id: None, actor: None };
    stream::iter(0..sessions)
        .map(|number| insert(&store, number, &context))
        .buffer_unordered(256)
        .try_for_each(|()| async { Ok(()) })
        .await
}

async fn insert(store: &SqliteStore, number: u64, context: &AuditContext) -> io::Result<()> {
    let mut entropy = [0; 10];
    entropy[..8].copy_from_slice(&number.to_be_bytes());
    let id = UserId::new(context.at, entropy);
    let email = Email::parse(&format!("filler{number}@example.org"))
        .ok_or_else(|| io::Error::other("not an address"))?;
    let user = NewUser {
        id,
        email,
        name: None,
        roles: Vec::new(),
        password_hash: PasswordHash::from_phc(PHC.to_owned()),
        email_verified: false,
        by: RegisteredBy::Operator,
        verification: None,
    };
    let session = NewSession {
        session: session(SessionId::new(context.at, entropy), id, number, context.at),
        supersedes: None,
        sessions_max: 100,
        notice: None,
    };
    match store.insert_user(user, Some(session), context).await.map_err(io::Error::other)? {
        InsertUserOutcome::Inserted(_) => Ok(()),
        InsertUserOutcome::EmailTaken => Err(io::Error::other("the store was not empty")),
    }
}

fn session(id: SessionId, user_id: UserId, number: u64, now: Timestamp) -> Session {
    let mut hash = [7; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    let hash = RefreshTokenHash::from_bytes(hash);
    Session::open(id, user_id, hash, &RotationPolicy::default(), device(), now)
}

fn device() -> Device {
    Device {
        ip: Some("203.0.113.7".to_owned()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101".to_owned()),
    }
}

/// Has the length of a real hash and fits no password.
const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA\
                   $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
