//! `keyward init`.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::secret;
use crate::config::{DEFAULT_FILE, MASTER_KEY_FILE, Overrides, secret_file};
use crate::failure::Failure;
use crate::output;

/// Writes what a new installation needs. What is there stays as it is.
pub(super) fn run(overrides: &Overrides) -> Result<(), Failure> {
    let file = overrides.file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    if file.exists() {
        return Err(is_there(&file));
    }
    std::fs::create_dir_all(&overrides.data_dir)
        .map_err(|error| unwritable(&overrides.data_dir, &error))?;
    let key = overrides.data_dir.join(MASTER_KEY_FILE);
    // As the file beside it is named.
    let key = key.strip_prefix(".").unwrap_or(&key);
    let is_fresh =
        secret_file::create(key, &secret::fresh()).map_err(|error| unwritable(key, &error))?;
    create(&file).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => is_there(&file),
        _ => unwritable(&file, &error),
    })?;
    output::line(&format!(
        "Wrote {}: the configuration, with every key explained.",
        file.display()
    ))?;
    output::line(&if is_fresh {
        format!("Wrote {}: the master key; back it up apart from the database.", key.display())
    } else {
        format!("Kept {}: the master key was there already.", key.display())
    })?;
    Ok(output::line(
        "Next: set server.public_url to what browsers use, run `keyward check`, \
         then `keyward serve`.",
    )?)
}

fn create(file: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(TEMPLATE.as_bytes())?;
    file.sync_all()
}

fn is_there(file: &Path) -> Failure {
    Failure::new(format!(
        "{} is there already and stays as it is; move it away to have a new one written.",
        file.display()
    ))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{} cannot be written ({error}); mend that.", path.display()))
}

/// The configuration of a new installation: every key with its default, commented out.
const TEMPLATE: &str = include_str!("keyward.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// Every key of the template, its comments opened, is one that the server knows and takes.
    #[test]
    fn the_template_is_valid_with_every_key_set() {
        let folder = tempfile::tempdir().expect("a folder");
        let opened: String = TEMPLATE
            .lines()
            .map(|line| line.strip_prefix("#:").unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let file = folder.path().join("all.toml");
        std::fs::write(&file, opened).expect("written");
        secret_file::create(&folder.path().join(MASTER_KEY_FILE), &secret::fresh())
            .expect("written");
        let overrides = Overrides {
            file: Some(file),
            data_dir: folder.path().to_owned(),
            ..Overrides::default()
        };
        let reading = config::read(&overrides, []);
        assert_eq!(reading.problems, []);
        reading.configuration.expect("valid");
    }
}
