//! From the text of a field, of a body or a query, to the type that the service takes.

use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::access_token::{EXTRA_BYTES_MAX, RESERVED_CLAIMS};
use keyward_core::audit::AuditKind;
use keyward_core::email::Email;
use keyward_core::keys::KeyPurpose;
use keyward_core::one_time_token::OneTimeToken;
use keyward_core::password::Password;
use keyward_core::text::{ROLES_MAX, is_name, is_role, misleads};
use keyward_core::time::Timestamp;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::ApiError;
use crate::hashing::adopt;
use crate::service::{ClientInfo, GivenCredential, Span};

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

/// What an account is made with: a password, the hash of one from another system, or nothing.
pub(super) fn credential(
    password: Option<String>,
    hash: Option<String>,
) -> Result<GivenCredential, ApiError> {
    match (password, hash) {
        (None, None) => Ok(GivenCredential::None),
        (Some(text), None) => self::password("password", text).map(GivenCredential::Password),
        (None, Some(text)) => adopt(&text, None)
            .map(GivenCredential::Hash)
            .map_err(|unfit| ApiError::invalid_field("passwordHash", format!("This {unfit}."))),
        (Some(_), Some(_)) => {
            let why = "Give a password or the hash of one, not both.";
            Err(ApiError::invalid_field("passwordHash", why))
        }
    }
}

/// A code, or the token that goes with it, whether it is right or not. The text is wiped. What
/// nobody could have been given is not looked at further.
pub(super) fn code(field: &'static str, text: String) -> Result<Zeroizing<String>, ApiError> {
    let text = Zeroizing::new(text);
    if text.len() > CODE_BYTES_MAX || text.contains('\0') {
        return Err(ApiError::invalid_field(field, "Give a code or token as you were given it."));
    }
    Ok(text)
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

/// A role, where one is given.
pub(super) fn role(field: &'static str, text: Option<String>) -> Result<Option<String>, ApiError> {
    if text.as_deref().is_none_or(is_role) {
        return Ok(text);
    }
    let why = "Give a role of up to 64 letters, digits, -, _, . and :.";
    Err(ApiError::invalid_field(field, why))
}

/// What is added to a user's access tokens, where it is given.
pub(super) fn claims(
    field: &'static str,
    claims: Option<Map<String, Value>>,
) -> Result<Option<Map<String, Value>>, ApiError> {
    let Some(claims) = claims else { return Ok(None) };
    if claims.keys().any(|name| RESERVED_CLAIMS.contains(&name.as_str())) {
        let why =
            "These names are taken by claims of every token, or mean something to verifiers: ";
        return Err(ApiError::invalid_field(
            field,
            format!("{why}{}.", RESERVED_CLAIMS.join(", ")),
        ));
    }
    if json!(claims).to_string().len() > EXTRA_BYTES_MAX {
        let why =
            format!("Give at most {EXTRA_BYTES_MAX} bytes, so that every token fits a cookie.");
        return Err(ApiError::invalid_field(field, why));
    }
    Ok(Some(claims))
}

/// How an address begins, in the form in which addresses are compared.
pub(super) fn email_prefix(field: &'static str, text: &str) -> Result<String, ApiError> {
    Email::key_of_prefix(text)
        .ok_or_else(|| ApiError::invalid_field(field, "Give an e-mail address or how it begins."))
}

/// The address of a network, where one is given.
pub(super) fn address(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<String>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let address: Result<IpAddr, _> = text.parse();
    let why = "Give an IP address such as 192.0.2.1 or 2001:db8::1.";
    let address = address.map_err(|_| ApiError::invalid_field(field, why))?;
    Ok(Some(address.to_canonical().to_string()))
}

/// The `User-Agent` header that a browser sent to somebody else, where it is given.
pub(super) fn user_agent(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<String>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    if text.len() > USER_AGENT_TEXT_MAX || text.chars().any(misleads) {
        let why = "Give the text of the browser's User-Agent header.";
        return Err(ApiError::invalid_field(field, why));
    }
    Ok(Some(ClientInfo::kept_user_agent(&text)))
}

/// An id, where one is given.
pub(super) fn id<T: FromStr>(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<T>, ApiError> {
    let id = text.map(|text| text.parse()).transpose();
    id.map_err(|_| ApiError::invalid_field(field, "Give an id, as answers have them."))
}

/// Yes or no, where it is given.
pub(super) fn flag(field: &'static str, text: Option<String>) -> Result<Option<bool>, ApiError> {
    let flag = text.map(|text| text.parse()).transpose();
    flag.map_err(|_| ApiError::invalid_field(field, "Give true or false."))
}

/// How long the spans of a diagram are: hours, where nothing is given.
pub(super) fn span(field: &'static str, text: Option<String>) -> Result<Span, ApiError> {
    match text.as_deref() {
        None | Some("hour") => Ok(Span::Hour),
        Some("day") => Ok(Span::Day),
        Some(_) => Err(ApiError::invalid_field(field, "Give hour or day.")),
    }
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
    let purpose = KeyPurpose::from_name(&text).filter(|purpose| !purpose.seals());
    purpose.map(Some).ok_or_else(|| ApiError::invalid_field(field, why))
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

/// As [`cursor`], in a list by address.
pub(super) fn address_cursor(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<String>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|key| String::from_utf8(key).ok());
    let key = decoded.filter(|key| Email::parse(key).is_some_and(|email| email.key() == key));
    let why = "Give the `nextCursor` of an answer.";
    key.map(Some).ok_or_else(|| ApiError::invalid_field(field, why))
}

/// What [`address_cursor`] reads. Encoded, since addresses hold characters with a meaning in URLs.
pub(super) fn cursor_of_address(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// Longer than any browser's; what is kept of it is shorter.
const USER_AGENT_TEXT_MAX: usize = 2048;
/// More than any code or token has.
const CODE_BYTES_MAX: usize = 128;

const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 100;
