//! From the text of a body's field to the type that the service takes.

use keyward_core::email::Email;
use keyward_core::password::Password;
use keyward_core::text::is_name;
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

/// What a user wants to be called.
pub(super) fn name(field: &'static str, text: Option<String>) -> Result<Option<String>, ApiError> {
    if text.as_deref().is_none_or(is_name) {
        return Ok(text);
    }
    let why = "Give 1 to 100 characters without control characters, or null.";
    Err(ApiError::invalid_field(field, why))
}
