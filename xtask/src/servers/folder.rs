//! The folders of private servers, and what is left of those of interrupted runs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use super::{SERVANTS, is_root, run, servant, user_id};
use crate::steps::Failure;

/// A new folder for one server, which its process may write.
///
/// A run that is killed leaves its own behind, tens of megabytes, and `initdb` would refuse to fill
/// it once more for a later run of the same process id. So what such runs have left goes first.
pub(super) fn make(server: &str) -> Result<PathBuf, Failure> {
    make_in(&std::env::temp_dir(), server, &owners())
}

fn make_in(temporary: &Path, server: &str, owners: &[u32]) -> Result<PathBuf, Failure> {
    for folder in list_left(temporary) {
        remove(&folder, owners);
    }
    let folder = temporary.join(name(server, process::id()));
    remove(&folder, owners);
    // Never one that is there: in a folder for everybody it may be another user's, or a link.
    fs::create_dir_all(temporary)
        .and_then(|()| fs::create_dir(&folder))
        .map_err(|error| Failure(format!("{} cannot be made: {error}.", folder.display())))?;
    Ok(folder)
}

/// Gives a folder with all that is in it to whoever the servers run as.
pub(super) fn hand_over(folder: &Path) -> Result<(), Failure> {
    if is_root() {
        run(Command::new("chown").args(["-R", &format!("{}:", servant())]).arg(folder))?;
    }
    Ok(())
}

/// What has the name of a server's folder of a process that is gone.
fn list_left(temporary: &Path) -> Vec<PathBuf> {
    // Where processes cannot be looked up, nobody can tell who is gone.
    if fs::read_link("/proc/self").ok() != Some(PathBuf::from(process::id().to_string())) {
        return Vec::new();
    }
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    let is_left = |path: &PathBuf| {
        let maker = path.file_name().and_then(|name| maker(name.to_str()?));
        maker.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
    };
    entries.map(|entry| entry.path()).filter(is_left).collect()
}

/// The process that has made the folder of this name.
fn maker(folder: &str) -> Option<u32> {
    let process = folder.rsplit_once('-')?.1.parse().ok()?;
    SERVERS.iter().any(|server| folder == name(server, process)).then_some(process)
}

fn name(server: &str, process: u32) -> String {
    format!("keyward-{server}-{process}")
}

/// Removes a folder of these users, and nothing else: neither a file nor a link. What cannot be
/// removed is in nobody's way.
fn remove(folder: &Path, owners: &[u32]) {
    let is_ours = fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && owners.contains(&found.uid()));
    if is_ours {
        let _removed = fs::remove_dir_all(folder);
    }
}

/// Whose folders are this user's: root gives them to whoever the servers run as.
fn owners() -> Vec<u32> {
    let servants = SERVANTS.iter().filter(|_| is_root()).filter_map(|user| user_id(Some(user)));
    user_id(None).into_iter().chain(servants).collect()
}

/// Those that have folders.
const SERVERS: &[&str] = &["postgres", "pgbouncer", "valkey"];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_runs_that_are_gone_have_left_goes() {
        let temporary = Temporary::new("gone");
        let left: Vec<_> =
            SERVERS.iter().map(|server| temporary.fill(&name(server, GONE))).collect();
        hand_over(&left[0]).expect("handed over");
        let spared = [
            // Of a process that lives.
            name("valkey", process::id()),
            // Another name.
            name("clients", GONE),
            format!("keyward-postgres-0{GONE}"),
            format!("keyward-postgres-+{GONE}"),
            format!("keyward-postgres-{GONE}-saved"),
            format!("keyward-postgres--{GONE}"),
            format!("my-keyward-postgres-{GONE}"),
            "keyward-postgres-".to_owned(),
            "keyward-postgres-4294967296".to_owned(),
        ];
        let spared = spared.map(|name| temporary.fill(&name));
        let file = temporary.0.join(name("postgres", GONE + 1));
        fs::write(&file, "a file").expect("a file");
        let link = temporary.0.join(name("postgres", GONE + 2));
        symlink(&spared[1], &link).expect("a link");

        let made = make_in(&temporary.0, "postgres", &owners()).expect("a folder");
        assert_eq!(made, temporary.0.join(name("postgres", process::id())));
        let can_tell = Path::new("/proc/self").exists();
        for folder in left {
            assert_eq!(folder.exists(), !can_tell, "{}", folder.display());
        }
        for path in spared.iter().map(|folder| folder.join("data/file")).chain([file, link]) {
            assert!(path.exists(), "{}", path.display());
        }
    }

    #[test]
    fn an_own_folder_of_an_earlier_run_is_made_anew() {
        let temporary = Temporary::new("own");
        temporary.fill(&name("postgres", process::id()));
        let made = make_in(&temporary.0, "postgres", &owners()).expect("a folder");
        assert_eq!(fs::read_dir(made).expect("a folder").count(), 0);
    }

    /// Anybody may make one in a folder for everybody.
    #[test]
    fn what_is_not_this_users_own_is_neither_removed_nor_used() {
        let temporary = Temporary::new("others");
        let others = [GONE, process::id()].map(|process| name("postgres", process));
        let others = others.map(|name| temporary.fill(&name));
        let not_these = user_id(None).expect("a user").wrapping_add(1);
        make_in(&temporary.0, "postgres", &[not_these]).expect_err("it is another user's");
        assert!(others.iter().all(|folder| folder.join("data/file").exists()));

        let target = temporary.fill("target");
        symlink(&target, temporary.0.join(name("valkey", process::id()))).expect("a link");
        make_in(&temporary.0, "valkey", &owners()).expect_err("it is a link");
        assert!(target.join("data/file").exists());
    }

    /// In place of the folder for temporary files, where others' runs may be under way.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(test: &str) -> Self {
            let name = format!("keyward-folders-{test}-{}", process::id());
            let temporary = Self(std::env::temp_dir().join(name));
            let _removed = fs::remove_dir_all(&temporary.0);
            temporary
        }

        /// Makes a folder that holds something.
        fn fill(&self, name: &str) -> PathBuf {
            let folder = self.0.join(name);
            fs::create_dir_all(folder.join("data")).expect("a folder");
            fs::write(folder.join("data/file"), "something").expect("a file");
            folder
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _removed = fs::remove_dir_all(&self.0);
        }
    }

    /// No process has it: Linux counts to 4,194,304 at the most.
    const GONE: u32 = 4_194_305;
}
