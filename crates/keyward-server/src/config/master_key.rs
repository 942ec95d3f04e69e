//! Where the master key comes from. Whoever has it and the database can sign tokens.

use std::fmt;
use std::path::{Path, PathBuf};

use keyward_core::keys::MasterKey;
use zeroize::Zeroizing;

use super::secret_file::{self, Secret};
use super::source::Source;

/// Where the master key comes from.
pub(crate) enum MasterKeySource {
    /// It was configured.
    Configured(Zeroizing<String>),
    /// A file of the data directory, made where it is not there.
    File(PathBuf),
}

impl fmt::Debug for MasterKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured(_) => f.write_str("Configured"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

impl MasterKeySource {
    /// The key. `None` where its file is not there yet. The error is a sentence for the operator.
    pub(crate) fn find(&self) -> Result<Option<MasterKey>, String> {
        let path = match self {
            Self::Configured(text) => return parse(text, "keys.master_key").map(Some),
            Self::File(path) => path,
        };
        if !path.exists() {
            return Ok(None);
        }
        let text = secret_file::read(path, Secret::Made)
            .map_err(|why| format!("The master key cannot be used: {why}."))?;
        parse(&text, &path.display().to_string()).map(Some)
    }

    /// Where an operator finds it.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Configured(_) => "keys.master_key".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// The key, made from `fresh` where its file is not there yet. Two processes that start at once
    /// get the same one: the first file wins, and what counts is what is read back.
    pub(crate) fn find_or_create(&self, fresh: &str) -> Result<MasterKey, String> {
        if let Self::File(path) = self
            && !path.exists()
        {
            secret_file::create(path, fresh).map_err(|error| {
                let shown = path.display();
                format!("The master key cannot be written to {shown} ({error}); mend that.")
            })?;
        }
        self.find()?.ok_or_else(|| "The master key's file went away; start again.".to_owned())
    }
}

/// Reads where the master key comes from; a key that is none is a problem.
pub(super) fn read(source: &mut Source, data_dir: &Path) -> Option<MasterKeySource> {
    let configured = source.secret("keys.master_key", "keys.master_key_file", Secret::Made);
    let key = if source.is_set("keys.master_key") { "keys.master_key" } else { FILE_KEY };
    match configured {
        Some(text) if MasterKey::parse(&text).is_err() => {
            source.problem(key, "is no master key; take what `keyward secret` prints");
            None
        }
        Some(text) => Some(MasterKeySource::Configured(text)),
        // Set, but unreadable: making another key instead would lose what the first one sealed.
        None if source.is_set(key) => None,
        None => Some(MasterKeySource::File(data_dir.join(MASTER_KEY_FILE))),
    }
}

fn parse(text: &str, place: &str) -> Result<MasterKey, String> {
    MasterKey::parse(text).map_err(|_| {
        format!("{place} holds no master key; put back the one that the store was made with.")
    })
}

const FILE_KEY: &str = "keys.master_key_file";

/// The master key's file within the data directory.
pub(crate) const MASTER_KEY_FILE: &str = "keyward.master-key";
