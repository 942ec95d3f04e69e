//! `[shared]`: what several nodes share besides the store.

use std::path::Path;

#[cfg(feature = "valkey")]
use keyward::shared::ValkeySettings;

use super::secret_file::Secret;
use super::source::Source;
use super::value;

/// Where it is.
#[derive(Debug, Clone)]
pub(crate) enum SharedSettings {
    /// On a Valkey or Redis server.
    #[cfg(feature = "valkey")]
    Valkey(ValkeySettings),
}

/// Reads it; `None` where nothing is shared, or a problem says why it cannot be.
pub(super) fn read(source: &mut Source, base: &Path) -> Option<SharedSettings> {
    let url = source.parsed("shared.url", value::text);
    let password =
        source.secret("shared.password", "shared.password_file", Secret::Given("password"));
    match url {
        Some(url) => valkey(source, &url, base, password.as_ref().map(|text| text.as_str())),
        None if source.is_set("shared.url") => None,
        None => {
            for key in ["shared.password", "shared.password_file"] {
                if source.is_set(key) {
                    source.problem(key, "is set without shared.url, where it would be used");
                }
            }
            None
        }
    }
}

#[cfg(feature = "valkey")]
fn valkey(
    source: &mut Source,
    url: &str,
    base: &Path,
    password: Option<&str>,
) -> Option<SharedSettings> {
    let mut settings = match ValkeySettings::parse(url, base) {
        Ok(settings) => settings,
        Err(complaint) => {
            source.problem("shared.url", complaint);
            return None;
        }
    };
    if let Some(password) = password {
        settings.add_password(password);
    }
    if settings.is_plain_beyond_loopback() {
        source.warn(
            "shared.url",
            "is redis:// for another machine: whoever is on the way reads the password, and can \
             lift the limits that nodes share; write rediss://",
        );
    }
    if settings.lacks_password() {
        source.warn(
            "shared.url",
            "names a server that lets anybody in, who can then lift the limits that nodes share; \
             set a password there and in shared.password_file",
        );
    }
    Some(SharedSettings::Valkey(settings))
}

#[cfg(not(feature = "valkey"))]
fn valkey(source: &mut Source, _: &str, _: &Path, _: Option<&str>) -> Option<SharedSettings> {
    let complaint = "is for nodes that share a Valkey, which this build leaves out; build with the \
         feature `valkey`, or remove it";
    source.problem("shared.url", complaint);
    None
}
