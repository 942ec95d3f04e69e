//! HTTP: routes, what they take in, and what failures look like from outside. Nothing decides here.
//!
//! - [`router`]: the whole interface, ready to be served or merged into an app's own router.
//! - [`ROUTES`]: every route, in one table.
//! - [`openapi()`]: the description of the interface, from that table.
//! - [`Guard`]: the checks of these routes, for those of an app that embeds the service.
//! - `error`: the only map from failures to status, code and public sentence.

mod routes;

mod guard;

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
pub use guard::{Caller, Denial, Guard, RequireRole, RequireStepUp, Role};
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
    let edge = Edge::of(&keyward);
    let routes = routes::mount(&keyward.policy().web);
    let web = Arc::new(Web::new(keyward)?);
    Ok(edge.wrap(routes.with_state(web)))
}
