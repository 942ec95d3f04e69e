//! Mails as files, for development and for programs that send them by themselves.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::compose::compose;
use super::{Mailer, Message, SendError, Sender};

/// Writes each mail to `ID.eml` in one folder, for its owner alone: it may hold a token.
#[derive(Debug, Clone)]
pub struct FolderMailer {
    folder: PathBuf,
    sender: Sender,
}

impl FolderMailer {
    /// Writes to this folder, which is made where it is not there.
    pub fn new(folder: PathBuf, sender: Sender) -> Self {
        Self { folder, sender }
    }
}

#[async_trait]
impl Mailer for FolderMailer {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let bytes = compose(&self.sender, message)?.formatted();
        let (folder, name) = (self.folder.clone(), message.id.to_string());
        blocking(move || write(&folder, &name, &bytes)).await
    }

    async fn probe(&self) -> Result<(), SendError> {
        let folder = self.folder.clone();
        blocking(move || {
            make(&folder)?;
            tempfile_in(&folder, "probe").and_then(std::fs::remove_file)
        })
        .await
    }
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), SendError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    done.and_then(|done| done).map_err(|error| {
        SendError::Failed(format!("the folder for mail cannot be written ({error})"))
    })
}

/// Whoever reads the folder sees whole files only.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    make(folder)?;
    let unfinished = tempfile_in(folder, name)?;
    let mut file = OpenOptions::new().write(true).open(&unfinished)?;
    file.write_all(bytes)?;
    std::fs::rename(unfinished, folder.join(format!("{name}.eml")))
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn tempfile_in(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let path = folder.join(format!(".{name}"));
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    Ok(path)
}
