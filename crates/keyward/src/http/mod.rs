//! HTTP: routes, what they take in, and what failures look like from outside. Nothing decides here.
//!
//! - [`router`]: the whole interface, ready to be served or merged into an app's own router.
//! - [`ROUTES`]: every route, in one table.
//! - [`openapi()`]: the description of the interface, from that table.
//! - `error`: the only map from failures to status, code and public sentence.

mod routes;

mod extract;
mod fields;
mod shape;
mod views;
mod web;

mod openapi;

mod layers;

mod client_address;
mod cookies;
mod event_stream;
mod form;
mod json;
mod origin;
mod qr_code;
mod query;

mod error;

use std::sync::Arc;

use axum::Router;

pub use client_address::PeerAddress;
pub use cookies::InvalidCookiePolicy;
pub use event_stream::Endless;
pub use openapi::openapi;
pub use routes::{Access, Field, FieldKind, ROUTES, Root, Route};

use crate::service::Keyward;
use cookies::CookieNames;
use error::ApiError;
use json::Json;
use layers::Edge;
use origin::check_origin;
use query::Query;
use web::Web;

/// The router over a running service. Each request needs the address of its peer as
/// [`PeerAddress`] (or axum's `ConnectInfo<SocketAddr>`) in its extensions; without one, all
/// callers share one limit.
///
/// # Errors
///
/// Where the policy asks for cookies that no browser would keep.
pub fn router(keyward: Arc<Keyward>) -> Result<Router, InvalidCookiePolicy> {
    let policy = keyward.policy().web.clone();
    let edge = Edge::new(&policy, keyward.entropy(), keyward.counted());
    let web = Arc::new(Web::new(keyward)?);
    Ok(edge.wrap(routes::mount(&policy).with_state(web)))
}
