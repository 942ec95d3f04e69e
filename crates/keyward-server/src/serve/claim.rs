//! One process serves a SQLite file at a time: each counts the tries against its limits alone, and
//! follows no schema but its own. The command line may open the file meanwhile.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

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
        let unusable = |error: io::Error| {
            let shown = path.display();
            Failure::new(format!(
                "{shown}.lock cannot be used ({error}); let the user of the service write it and \
                 its folder, which has to be there, or name another folder with --data-dir."
            ))
        };
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

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}
