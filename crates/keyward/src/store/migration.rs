//! The schema's history: numbered SQL files, each applied once and never changed.

use aws_lc_rs::digest::{SHA256, digest};
use keyward_core::time::Timestamp;

use super::StoreError;

/// One step of the schema's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1.
    pub version: u32,
    /// What it does, as in its file's name.
    pub name: &'static str,
    /// When it was applied; `None` where it is still to come.
    pub applied_at: Option<Timestamp>,
}

/// Name and text of each migration of one database; the position is the version.
pub(super) type History = &'static [(&'static str, &'static str)];

/// Every migration, the first ones with the times at which they were applied.
pub(super) fn listed(history: History, applied: Vec<Timestamp>) -> Vec<Migration> {
    let times = applied.into_iter().map(Some).chain(std::iter::repeat(None));
    (1..)
        .zip(history)
        .zip(times)
        .map(|((version, (name, _)), applied_at)| Migration { version, name, applied_at })
        .collect()
}

/// Refuses a database that knows more than this program, or the same under another text. `rows` are
/// version and checksum of what was applied, in order.
pub(super) fn check(
    history: History,
    rows: impl IntoIterator<Item = (u32, Vec<u8>)>,
) -> Result<(), StoreError> {
    let mut known = (1_u32..).zip(history);
    for (version, sha256) in rows {
        let Some((expected, (_, text))) = known.next() else {
            return Err(StoreError::Unavailable(format!(
                "the database is of a newer version of Keyward (migration {version}); \
                 start that version"
            )));
        };
        if version != expected || sha256 != checksum(text) {
            return Err(StoreError::Unavailable(format!(
                "the database has another migration {version} than this version of Keyward"
            )));
        }
    }
    Ok(())
}

/// Stands among the migrations of a store that nobody may serve: its data have moved away, or are
/// not all there yet. Programs of every version refuse a migration that they do not know.
pub(super) const CLOSED: u32 = i32::MAX as u32;

/// What identifies a migration's text.
pub(super) fn checksum(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

/// Asserts that a history is what `migrations/CHECKSUMS` says of the files in this folder.
#[cfg(test)]
pub(super) fn assert_unchanged(folder: &str, history: History) {
    let expected: Vec<String> = (1..)
        .zip(history)
        .map(|(version, (name, text))| {
            let hex: String = checksum(text).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}  {folder}/{version:04}_{name}.sql")
        })
        .collect();
    let listed: Vec<&str> = include_str!("../../migrations/CHECKSUMS")
        .lines()
        .filter(|line| line.contains(&format!("  {folder}/")))
        .collect();
    assert_eq!(listed, expected);
}
