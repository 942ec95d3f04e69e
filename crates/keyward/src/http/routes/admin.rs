//! What administrators and other services ask for: all that lies below the admin path, one file for
//! each thing that is administered.

pub(super) mod accounts;
pub(super) mod keys;
pub(super) mod log;
pub(super) mod sessions;
pub(super) mod statistics;

use serde::Deserialize;

/// Which part of a list is asked for, where nothing else is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PageQuery {
    limit: Option<String>,
    cursor: Option<String>,
}
