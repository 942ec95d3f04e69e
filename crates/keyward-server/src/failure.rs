//! Why a command ends with status 1.

use std::io;

use keyward::store::StoreError;

use crate::config::Finding;

/// What is said on stderr: each a sentence that says what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    sentences: Vec<String>,
}

impl Failure {
    /// A failure told in one sentence.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentences: vec![sentence.into()] }
    }

    /// The failure of having said all there is to say already, or of a reader that went away.
    pub(crate) fn silent() -> Self {
        Self { sentences: Vec::new() }
    }

    /// Everything that is wrong with a configuration.
    pub(crate) fn of_configuration(problems: &[Finding]) -> Self {
        Self { sentences: problems.iter().map(Finding::to_string).collect() }
    }

    /// The sentences.
    pub(crate) fn sentences(&self) -> &[String] {
        &self.sentences
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(match error {
            StoreError::Unavailable(_) => {
                format!("{}; see that its file and folder can be written to.", capital(&error))
            }
            _ => format!("{}; restore it from a backup.", capital(&error)),
        })
    }
}

/// Output that cannot be written. A reader that went away is not worth a word.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent();
        }
        Self::new(format!("Reading or writing failed ({error}); mend that and try again."))
    }
}

fn capital(error: &StoreError) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
