//! `keyward secret`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::assembly;
use crate::failure::Failure;
use crate::output;

/// Prints a fresh secret.
pub(super) fn run() -> Result<(), Failure> {
    Ok(output::line(&fresh())?)
}

/// Thirty-two random bytes as base64url: a master key, or an HMAC secret of 43 bytes.
pub(super) fn fresh() -> Zeroizing<String> {
    let bytes = Zeroizing::new(assembly::random::<32>());
    Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()))
}
