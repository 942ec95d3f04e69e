//! Sessions that no sign-in opened: planted in the database, with tokens that whoever holds the
//! service's keys can work out. So any of ten million sessions can be refreshed, and ten million
//! passwords need no hashing.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use keyward::store::{KeyPurpose, PostgresSettings, PostgresStore, Store as _};
use keyward_core::csrf::CsrfKeys;
use keyward_core::id::{SessionId, UserId};
use keyward_core::keys::MasterKey;
use keyward_core::refresh_token::{MacKey, MacKeys, RefreshToken, SECRET_BYTES, TagTrust};
use keyward_core::time::Timestamp;

use super::database::Database;
use crate::report::Report;

/// Sessions by number, from 0.
#[derive(Debug)]
pub(crate) struct Planted {
    pub(crate) count: u64,
    planted_at: Timestamp,
    mac: MacKeys,
    csrf: CsrfKeys,
}

impl Planted {
    /// Fills the database of a service that has made its keys. `folder` holds its master key.
    pub(crate) async fn fill(
        database: &Database,
        folder: &Path,
        count: u64,
        now: Timestamp,
        report: &Report,
    ) -> io::Result<Self> {
        let mac = secret(database, folder, KeyPurpose::RefreshToken, now).await?;
        let csrf = secret(database, folder, KeyPurpose::Csrf, now).await?;
        let mac = MacKeys::new(MacKey::new(mac.0, &mac.1, TagTrust::Sound), Vec::new());
        let planted = Self { count, planted_at: now, mac, csrf: CsrfKeys::new(csrf, Vec::new()) };
        for first in (0..count).step_by(STEP) {
            if first > 0 {
                report.progress(&format!("planted {first} of {count} sessions"));
            }
            let next = count.min(first + STEP as u64);
            database.run(&planted.script(first..next))?;
        }
        database.settle()?;
        Ok(planted)
    }

    /// The refresh token that a session was planted with.
    pub(crate) fn refresh_token(&self, number: u64) -> RefreshToken {
        let mut secret = [0; SECRET_BYTES];
        secret[..8].copy_from_slice(&scatter(number).to_be_bytes());
        RefreshToken::issue(self.id(number), GENERATION, &secret, &self.mac)
    }

    /// The CSRF token of a session.
    pub(crate) fn csrf_token(&self, number: u64) -> String {
        self.csrf.issue(self.id(number))
    }

    fn id(&self, number: u64) -> SessionId {
        SessionId::new(self.created_at(number), entropy(number))
    }

    /// Of the session, and of its user. The first of them was opened the longest time ago.
    fn created_at(&self, number: u64) -> Timestamp {
        let age = AGE_MAX.as_secs_f64() * (1.0 - number as f64 / self.count as f64);
        self.planted_at.minus(Duration::from_secs_f64(age))
    }

    fn script(&self, numbers: std::ops::Range<u64>) -> String {
        let mut script = format!(
            "\\set now {}\n\\set generation {GENERATION}\n{STAGE}",
            self.planted_at.millis()
        );
        for number in numbers {
            let (id, created_at) = (self.id(number), self.created_at(number).millis());
            // Two sessions each: the even one's user is the odd one's, too.
            let owner = number & !1;
            let user_id = UserId::new(self.created_at(owner), entropy(owner));
            let _written = write!(script, "{number}\t{id}\t{user_id}\t{created_at}\t\\\\x");
            for byte in self.refresh_token(number).hash().as_bytes() {
                let _written = write!(script, "{byte:02x}");
            }
            script.push('\n');
        }
        script.push_str("\\.\n");
        script.push_str(include_str!("plant.sql"));
        script
    }
}

/// The key of this purpose that the service has made at its first start, with its number.
async fn secret(
    database: &Database,
    folder: &Path,
    purpose: KeyPurpose,
    now: Timestamp,
) -> io::Result<(u8, [u8; 32])> {
    let unfit = || io::Error::other(format!("the service made no {} key", purpose.as_str()));
    let text = std::fs::read_to_string(folder.join("keyward.master-key"))?;
    let master_key = MasterKey::parse(text.trim_end()).map_err(|_| unfit())?;
    let settings = PostgresSettings::parse(database.url(), folder).map_err(io::Error::other)?;
    let store = PostgresStore::open(&settings, now).await.map_err(io::Error::other)?;
    let keys = store.list_keys().await.map_err(io::Error::other)?;
    let key = keys.iter().find(|key| key.purpose == purpose).ok_or_else(unfit)?;
    let place = format!("key/{}/{}", purpose.as_str(), key.id);
    let secret = master_key.open(&key.sealed, &place).map_err(|_| unfit())?;
    let secret = secret.as_slice().try_into().map_err(|_| unfit())?;
    Ok((key.id.parse().map_err(|_| unfit())?, secret))
}

/// What is random in real ids and tokens only has to look so here (the finish of SplitMix64).
fn scatter(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn entropy(number: u64) -> [u8; 10] {
    let mut entropy = [0; 10];
    entropy[..8].copy_from_slice(&scatter(number).to_be_bytes());
    entropy
}

const STAGE: &str = "CREATE TEMP TABLE planted (\
    n bigint, id uuid, user_id uuid, created_at bigint, hash bytea);\n\
    COPY planted FROM STDIN;\n";

/// How many times each session was refreshed: more often than it keeps proofs of retries.
const GENERATION: u64 = 12;

/// The oldest sessions have ten of their thirty days left.
const AGE_MAX: Duration = Duration::from_secs(20 * 86_400);

/// Sessions that are planted in one transaction.
const STEP: usize = 100_000;

#[cfg(test)]
mod tests {
    use keyward::store::postgres::fresh::FreshDatabase;
    use keyward_core::session::SessionState;

    use super::*;
    use crate::postgres::database;

    #[tokio::test]
    async fn what_is_planted_is_live_and_has_the_token_that_is_worked_out() {
        let now = Timestamp::from_secs(1_800_000_000);
        let mac = MacKeys::new(MacKey::new(1, &[1; 32], TagTrust::Sound), Vec::new());
        let csrf = CsrfKeys::new((1, [2; 32]), Vec::new());
        let planted = Planted { count: 4, planted_at: now, mac, csrf };
        let fresh = FreshDatabase::create().await;
        database::run(&fresh.url(), &planted.script(0..4)).expect("psql plants them");

        let store = PostgresStore::open(&fresh.settings(), now).await.expect("a store");
        let find = async |number| {
            let found = store.find_session(planted.id(number)).await.expect("an answer");
            let session = found.expect("a session and its user").session;
            let token = planted.refresh_token(number);
            assert_eq!(session.state(now), SessionState::Live);
            assert_eq!(session.refresh_token_hash, token.hash());
            assert_eq!(session.generation, token.generation());
            assert_eq!(session.retry_proofs.len(), 8);
            session
        };
        assert_eq!(find(2).await.user_id, find(3).await.user_id);
        assert_ne!(find(1).await.user_id, find(2).await.user_id);
    }
}
