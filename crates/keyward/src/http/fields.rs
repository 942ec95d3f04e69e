//! From the text of a field, of a body or a query, to the type that the service takes.

use std::str::FromStr;

use keyward_core::audit::AuditKind;
use keyward_core::email::Email;
use keyward_core::keys::KeyPurpose;
use keyward_core::one_time_token::OneTimeToken;
use keyward_core::password::Password;
use keyward_core::text::{ROLES_MAX, is_name, is_role};
use keyward_core::time::Timestamp;
use zeroize::Zeroizing;

use super::ApiError;

/// An e-mail address.
pub(super) fn email(field: &'static str, text: &str) -> Result<Email, ApiError> {
    Email::parse(text).ok_or_else(|| ApiError::invalid_field(field, "Give an e-mail address."))
}

/// A password, whether it is right or acceptable or not. The text is wiped.
pub(super) fn password(field: &'static str, text: String) -> Result<Password, ApiError> {
    let text = Zeroizing::new(text);
    if text.contains('\0') {
        return Err(ApiError::invalid_field(field, "A password cannot hold a NUL character."));
    }
    Password::parse(&text)
        .ok_or_else(|| ApiError::invalid_field(field, "This is too long for a password."))
}

/// A mailed token. A text that is none is one that is not good any more. The text is wiped.
pub(super) fn one_time_token(text: String) -> Result<OneTimeToken, ApiError> {
    let text = Zeroizing::new(text);
    OneTimeToken::parse(&text).ok_or_else(ApiError::invalid_one_time_token)
}

/// What a user wants to be called.
pub(super) fn name(field: &'static str, text: Option<String>) -> Result<Option<String>, ApiError> {
    if text.as_deref().is_none_or(is_name) {
        return Ok(text);
    }
    let why = "Give 1 to 100 characters without control characters, or null.";
    Err(ApiError::invalid_field(field, why))
}

/// Roles, sorted and distinct; none where none are given.
pub(super) fn roles(
    field: &'static str,
    roles: Option<Vec<String>>,
) -> Result<Vec<String>, ApiError> {
    let mut roles = roles.unwrap_or_default();
    roles.sort_unstable();
    roles.dedup();
    if roles.len() <= ROLES_MAX && roles.iter().all(|role| is_role(role)) {
        return Ok(roles);
    }
    let why = "Give at most 16 roles, each of up to 64 letters, digits, -, _, . and :.";
    Err(ApiError::invalid_field(field, why))
}

/// An id, where one is given.
pub(super) fn id<T: FromStr>(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<T>, ApiError> {
    let id = text.map(|text| text.parse()).transpose();
    id.map_err(|_| ApiError::invalid_field(field, "Give an id, as answers have them."))
}

/// A point in time, where one is given.
pub(super) fn time(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let why = "Give a time such as 2026-11-21T04:00:00Z (RFC 3339).";
    Timestamp::from_rfc3339(&text).map(Some).ok_or_else(|| ApiError::invalid_field(field, why))
}

/// The name of a kind of audit event, where one is given.
pub(super) fn event_type(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<String>, ApiError> {
    if text.as_deref().is_none_or(|text| AuditKind::NAMES.contains(&text)) {
        return Ok(text);
    }
    Err(ApiError::invalid_field(field, "There is no such type of event."))
}

/// What a key serves, where it is given.
pub(super) fn key_purpose(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<KeyPurpose>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let why = "Give access_token, refresh_token or csrf.";
    KeyPurpose::from_name(&text).map(Some).ok_or_else(|| ApiError::invalid_field(field, why))
}

/// How many entries of a list to answer.
pub(super) fn limit(field: &'static str, text: Option<String>) -> Result<u32, ApiError> {
    let Some(text) = text else { return Ok(LIMIT_DEFAULT) };
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| ApiError::invalid_field(field, "Give a number from 1 to 100."))
}

/// Where to go on in a list: the id of the entry that the part before ended with.
pub(super) fn cursor<T: FromStr>(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<T>, ApiError> {
    let cursor = text.map(|text| text.parse()).transpose();
    cursor.map_err(|_| ApiError::invalid_field(field, "Give the `nextCursor` of an answer."))
}

const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 100;
