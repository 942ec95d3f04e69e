//! `[audit]`.

use std::time::Duration;

use keyward::policy::{AuditPolicy, Policy};

use super::source::{Source, Value};
use super::value;

/// Reads how long events stay.
pub(super) fn read(source: &mut Source, policy: &mut Policy) {
    let audit = &mut policy.audit;
    if let Some(retention) = source.parsed("audit.retention", retention) {
        audit.retention = retention;
    }
    if audit.retention.is_none() {
        source.warn(
            "audit.retention",
            "is forever, so that addresses and browsers of everyone pile up; set it like \"365d\"",
        );
    }
}

/// How long an event stays, or `forever`.
fn retention(value: &Value) -> Result<Option<Duration>, String> {
    match value {
        Value::Text(text) if text.as_str() == "forever" => Ok(None),
        _ => value::duration(value, AuditPolicy::RETENTION_MIN, RETENTION_MAX).map(Some),
    }
}

const RETENTION_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
