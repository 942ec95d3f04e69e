//! HTTP: what a request is read into, and what failures are answered as.
//!
//! - [`Edge`]: what every request passes first and every answer last.
//! - [`Json`], [`CookieNames`], [`check_origin`], [`ClientInfo`]: what handlers take in.
//! - [`ApiError`]: what handlers fail with.

mod layers;

mod client_address;
mod cookies;
mod json;
mod origin;

mod error;

pub use client_address::{ClientInfo, PeerAddress};
pub use cookies::{CookieNames, Cookies, InvalidCookiePolicy};
pub(crate) use error::whole_secs;
pub use error::{ApiError, FieldErrors};
pub use json::Json;
pub use layers::Edge;
pub use origin::check_origin;
