//! One process serves a SQLite file at a time: each counts the tries against its limits alone, and
//! follows no schema but its own. The command line may open the file meanwhile.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::failure::Failure;

/// Keeps every other process from serving a file, for as long as it lives. The system takes it back
/// where the process ends, however that ends.
#[derive(Debug)]
pub(crate) struct Claim(#[expect(dead_code, reason = "holds the lock")] File);

impl Claim {
    /// Claims the database at `path`, which need not be there yet.
    ///
    /// The lock is on a file beside it, which stays: whoever removes it lets others in. A lock on
    /// the database itself would get into the way of SQLite's.
    ///
    /// # Errors
    ///
    /// Where another process has the claim, or the file beside it cannot be made.
    pub(crate) fn on(path: &Path) -> Result<Self, Failure> {
        let unusable = |error| unusable(path, &error);
        let file = lock_file(path).and_then(|beside| open(&beside)).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => {
                let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                Err(Failure::new(format!(
                    "Another process serves {}; stop it, or give this one a database of its own \
                     with --data-dir or --store.",
                    shown.display()
                )))
            }
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Finds out whether the file beside the database could be claimed, without claiming it. It is
    /// not made.
    ///
    /// # Errors
    ///
    /// Where it is there and cannot be opened.
    pub(crate) fn probe(path: &Path) -> Result<(), Failure> {
        let opened = lock_file(path).and_then(|beside| File::options().write(true).open(beside));
        match opened {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(path, &error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!(
        "{}.lock cannot be used ({error}); let the user of the service write it and its folder, \
         which has to be there, or name another folder with --data-dir.",
        path.display()
    ))
}

/// The same one by whatever links the database is reached.
fn lock_file(path: &Path) -> io::Result<PathBuf> {
    let whole = path.canonicalize().or_else(|_| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize()?;
        Ok::<_, io::Error>(folder.join(path.file_name().unwrap_or_default()))
    });
    let mut name = whole?.into_os_string();
    name.push(".lock");
    Ok(name.into())
}

fn open(beside: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    match options.clone().create_new(true).open(beside) {
        Ok(made) => hand_over(made, beside),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.create(true).truncate(false).open(beside)
        }
        Err(error) => Err(error),
    }
}

/// What root makes belongs to whoever has the database, or the folder where there is none yet: the
/// service could not claim it afterwards. Of a file that was there already nothing is changed: it
/// may be a link to any other.
fn hand_over(made: File, beside: &Path) -> io::Result<File> {
    if geteuid().is_root() {
        let folder = beside.parent().unwrap_or(Path::new("/"));
        let owner = beside.with_extension("").metadata().or_else(|_| folder.metadata())?;
        fchown(&made, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    /// As root they are given to somebody else; others can make them as themselves alone.
    fn give_away(path: &Path, id: u32) {
        if geteuid().is_root() {
            chown(path, Some(id), Some(id)).expect("given");
        }
    }

    fn owner(path: &Path) -> (u32, u32) {
        let metadata = path.metadata().expect("a file");
        (metadata.uid(), metadata.gid())
    }

    #[test]
    fn the_lock_belongs_to_whoever_has_the_database() {
        let folder = tempfile::tempdir().expect("a folder");
        let (database, beside) =
            (folder.path().join("keyward.db"), folder.path().join("keyward.db.lock"));
        give_away(folder.path(), 4001);
        drop(Claim::on(&database).expect("claimed"));
        assert_eq!(owner(&beside), owner(folder.path()));
        std::fs::remove_file(&beside).expect("removed");
        File::create(&database).expect("made");
        give_away(&database, 4002);
        drop(Claim::on(&database).expect("claimed"));
        assert_eq!(owner(&beside), owner(&database));
        Claim::probe(&database).expect("it can be opened");
    }

    #[test]
    fn no_file_that_is_there_is_given_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let (database, precious) =
            (folder.path().join("keyward.db"), folder.path().join("precious"));
        File::create(&precious).expect("made");
        let before = owner(&precious);
        File::create(&database).expect("made");
        give_away(&database, 4001);
        symlink(&precious, folder.path().join("keyward.db.lock")).expect("linked");
        drop(Claim::on(&database).expect("claimed"));
        assert_eq!(owner(&precious), before);
    }

    #[test]
    fn what_cannot_be_opened_is_found_without_a_claim() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("keyward.db");
        Claim::probe(&database).expect("there is none yet");
        let held = Claim::on(&database).expect("claimed");
        Claim::probe(&database).expect("it waits for nobody");
        drop(held);
        let beside = folder.path().join("keyward.db.lock");
        std::fs::remove_file(&beside).expect("removed");
        std::fs::create_dir(&beside).expect("a folder");
        let Err(Failure::Failed(said)) = Claim::probe(&database) else { panic!("it is a folder") };
        assert!(said[0].contains("keyward.db.lock cannot be used"), "{said:?}");
    }
}
