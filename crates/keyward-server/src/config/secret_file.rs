//! Files that hold one secret each: made with mode 0600, refused where others can read them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

/// Where a secret comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Secret {
    /// `keyward secret` makes it.
    Made,
    /// Another party gave it or knows it too; what it is called.
    Given(&'static str),
}

/// Reads a secret; a line break at its end is not part of it. The error is a clause for people.
pub(crate) fn read(path: &Path, secret: Secret) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| match (error.kind(), secret) {
        (io::ErrorKind::NotFound, Secret::Made) => format!(
            "{shown} is not there; put it back, or name the right file. A new secret is made by \
             `(umask 077; keyward secret > {shown})`, but opens nothing that another one sealed"
        ),
        (io::ErrorKind::NotFound, Secret::Given(name)) => format!(
            "{shown} is not there; name the right file, or write the {name} into it, readable by \
             you alone (`umask 077`)"
        ),
        _ => format!("{shown} cannot be opened ({error}); let the user of the service read it"),
    })?;
    let mode = file.metadata().map_err(|error| format!("{shown}: {error}"))?.mode();
    if mode & OTHERS != 0 {
        return Err(format!("{shown} can be read by others; run `chmod 600 {shown}`"));
    }
    let mut text = Zeroizing::new(String::with_capacity(BYTES_MAX));
    file.take(BYTES_MAX as u64)
        .read_to_string(&mut text)
        .map_err(|error| format!("{shown} cannot be read as text ({error})"))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(format!("{shown} is empty; put the secret there"));
    }
    Ok(Zeroizing::new(secret.to_owned()))
}

/// Writes a secret to a file that is not there yet, and makes it durable. `Ok(false)`: it is there
/// already, and was left alone.
pub(crate) fn create(path: &Path, secret: &str) -> io::Result<bool> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    writeln!(file, "{secret}")?;
    // What is sealed with a key that a crash then loses is lost with it.
    file.sync_all()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(true)
}

/// Whether group or others may read the file. A file that is not there can be read by nobody.
pub(crate) fn is_readable_by_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & OTHERS != 0)
}

/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// Far beyond any secret.
const BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn writes_once_and_reads_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        assert!(create(&path, "first").expect("written"));
        assert!(!create(&path, "second").expect("left alone"));
        assert_eq!(read(&path, Secret::Made).expect("readable").as_str(), "first");
        assert_eq!(std::fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    }

    #[test]
    fn refuses_what_others_can_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        create(&path, "text").expect("written");
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
            let why = read(&path, Secret::Made).expect_err("readable by others");
            assert!(why.contains("chmod 600"), "{why}");
        }
    }

    #[test]
    fn refuses_what_holds_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        create(&path, "").expect("written");
        read(&path, Secret::Made).expect_err("only a line break");
    }
}
