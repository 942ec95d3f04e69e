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

/// One migration as the database remembers it.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) version: u32,
    pub(super) sha256: Vec<u8>,
    pub(super) at: Timestamp,
    /// The first migration that a program must know to run on what this one has left. Its own
    /// version where the schema is for programs alone that know it.
    pub(super) compatible_since: u32,
}

/// Every migration, the first ones with the times at which they were applied.
pub(super) fn listed(history: History, applied: &[Applied]) -> Vec<Migration> {
    let times = applied.iter().map(|row| Some(row.at)).chain(std::iter::repeat(None));
    (1..)
        .zip(history)
        .zip(times)
        .map(|((version, (name, _)), applied_at)| Migration { version, name, applied_at })
        .collect()
}

/// Refuses a database whose schema has left this program behind, or that has a migration under
/// another text. `rows` are what was applied, in order.
pub(super) fn check(history: History, rows: &[Applied]) -> Result<(), StoreError> {
    let mut known = (1_u32..).zip(history);
    for Applied { version, sha256, compatible_since, .. } in rows {
        let Some((expected, (_, text))) = known.next() else {
            let is_served = usize::try_from(*compatible_since).is_ok_and(|it| it <= history.len());
            if is_served {
                continue;
            }
            return Err(StoreError::Unavailable(format!(
                "the database is of a newer version of Keyward (migration {version}); \
                 start that version"
            )));
        };
        if *version != expected || *sha256 != checksum(text) {
            return Err(StoreError::Unavailable(format!(
                "the database has another migration {version} than this version of Keyward"
            )));
        }
    }
    Ok(())
}

/// What a migration's text says about who can run on what it leaves, in a line of its own:
/// `-- compatible-since: 1`. Without one that is who knows the migration, and nobody else.
#[cfg(feature = "postgres")]
pub(super) fn compatible_since(version: u32, text: &str) -> u32 {
    let said = text.lines().find_map(|line| line.strip_prefix(COMPATIBLE_SINCE));
    said.and_then(|number| number.trim().parse().ok()).unwrap_or(version)
}

#[cfg(feature = "postgres")]
const COMPATIBLE_SINCE: &str = "-- compatible-since:";

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

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: History = &[("initial", "one"), ("more", "two")];

    fn applied(version: u32, text: &str, compatible_since: u32) -> Applied {
        let at = Timestamp::from_secs(1);
        Applied { version, sha256: checksum(text), at, compatible_since }
    }

    /// What a program that knows [`TWO`] says of a database with these beyond them.
    fn beyond(rows: &[(u32, u32)]) -> Result<(), StoreError> {
        let mut all = vec![applied(1, "one", 1), applied(2, "two", 2)];
        all.extend(rows.iter().map(|(version, since)| applied(*version, "later", *since)));
        check(TWO, &all)
    }

    #[test]
    fn a_program_runs_on_schemas_that_have_not_left_it_behind() {
        for served in [&[][..], &[(3, 1)], &[(3, 2)], &[(3, 2), (4, 1)]] {
            assert_eq!(beyond(served), Ok(()), "{served:?}");
        }
        for left_behind in [&[(3, 3)][..], &[(3, 1), (4, 3)], &[(3, 3), (4, 1)]] {
            assert!(beyond(left_behind).is_err(), "{left_behind:?}");
        }
    }

    #[test]
    fn another_text_under_a_known_number_is_refused() {
        assert_eq!(check(TWO, &[applied(1, "one", 1)]), Ok(()));
        assert!(check(TWO, &[applied(1, "other", 1)]).is_err());
        assert!(check(TWO, &[applied(2, "two", 1)]).is_err());
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_migration_that_does_not_say_whom_it_serves_serves_its_own_programs() {
        assert_eq!(compatible_since(3, "-- Why.\n-- compatible-since: 1\nSELECT 1"), 1);
        for silent in ["SELECT 1", "-- compatible-since: soon", "SELECT 1 -- compatible-since: 1"] {
            assert_eq!(compatible_since(3, silent), 3, "{silent}");
        }
    }
}
