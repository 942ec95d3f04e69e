//! For tests only, and no interface: how a configuration and the users of another system are read,
//! without a process around it.

use std::ffi::OsString;
use std::path::Path;

use keyward::policy::Policy;

pub use crate::commands::import::line::ImportLine;
pub use crate::config::Finding;
use crate::config::{self, Overrides};

/// Reads a configuration file, and this environment over it, as `keyward serve` does. `data_dir` is
/// what relative paths are relative to.
///
/// # Errors
///
/// Everything that would stop the start.
pub fn read_configuration(
    file: &Path,
    data_dir: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Policy, Vec<Finding>> {
    let overrides = Overrides {
        file: Some(file.to_owned()),
        data_dir: data_dir.to_owned(),
        ..Overrides::default()
    };
    let reading = config::read(&overrides, environment);
    reading.configuration.map(|configuration| configuration.policy).ok_or(reading.problems)
}
