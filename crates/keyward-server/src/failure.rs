//! Why a command ends with status 1.

use std::io;

use keyward::store::StoreError;
#[cfg(feature = "postgres")]
use keyward::store::copy::CopyError;

use crate::config::Finding;

/// What ends a command early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It failed; what is said on stderr, each a sentence that says what to do. None where all is
    /// said already.
    Failed(Vec<String>),
    /// Whoever read the output has seen enough, which is no error.
    ReaderGone,
}

impl Failure {
    /// A failure told in one sentence.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self::Failed(vec![sentence.into()])
    }

    /// Everything that is wrong with a configuration.
    pub(crate) fn of_configuration(problems: &[Finding]) -> Self {
        Self::Failed(problems.iter().map(Finding::to_string).collect())
    }

    /// This failure, and what followed from it.
    pub(crate) fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Failed(sentences), Self::Failed(more)) => {
                Self::Failed([sentences, more].concat())
            }
            (failed @ Self::Failed(_), Self::ReaderGone) | (Self::ReaderGone, failed) => failed,
        }
    }

    /// The sentences.
    pub(crate) fn sentences(&self) -> &[String] {
        match self {
            Self::Failed(sentences) => sentences,
            Self::ReaderGone => &[],
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(match error {
            // Says what to do by itself.
            StoreError::Unavailable(_) => format!("{}.", capital(&error)),
            _ => format!("{}; restore it from a backup.", capital(&error)),
        })
    }
}

#[cfg(feature = "postgres")]
impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        Self::new(format!("{}.", capital(&error)))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        Self::new(format!("Reading or writing failed ({error}); mend that and try again."))
    }
}

fn capital(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
