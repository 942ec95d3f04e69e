//! HTTP: what a request is read into, and what failures are answered as.
//!
//! - [`Edge`]: what every request passes first and every answer last.
//! - [`Json`], [`CookieNames`], [`check_origin`], [`ClientAddress`]: what handlers take in.
//! - [`ApiError`]: what handlers fail with.

mod layers;

mod client_address;
mod cookies;
mod json;
mod origin;

mod error;

pub use client_address::{ClientAddress, PeerAddress};
pub use cookies::{CookieNames, Cookies, InvalidCookiePolicy};
pub use error::{ApiError, FieldErrors};
pub use json::Json;
pub use layers::{Edge, RequestId};
pub use origin::check_origin;
