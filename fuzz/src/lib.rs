//! What must hold of everything that reads what strangers send, for any bytes at all.
//!
//! A [`Target`] takes bytes, hands them to a part of Keyward and asserts what the part promises; a
//! promise that is broken is a panic. `cargo test` runs every target over the corpus and over
//! mutations of it; `cargo xtask fuzz` runs them for as long as one likes, guided by the code that
//! they reach, and bounds the time and the memory that an input may take.
//!
//! - [`TARGETS`]: all of them, in one table.
//! - `refresh_token`, `access_token`, `text`: the core's parsers, called directly.
//! - `cookies`, `origin`, `client_address`, `body`, `request`: HTTP, through the router.
//! - `verifiers`: what services that verify tokens read and ask.
//! - `configuration`, `import`: the server's file and environment, and users of other systems.
//! - `app`: a running Keyward, and what every answer of it must look like.

mod access_token;
mod refresh_token;
mod text;

mod body;
mod client_address;
mod cookies;
mod origin;
mod request;
mod verifiers;

mod configuration;
mod import;

mod app;
mod input;
mod json;

/// One thing that reads what strangers send.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its folders in `corpus` and `regressions`.
    pub name: &'static str,
    run: fn(&[u8]),
}

impl Target {
    /// The target of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Runs it on one input.
    ///
    /// # Panics
    ///
    /// Where the input breaks a promise.
    pub fn run(&self, data: &[u8]) {
        (self.run)(data);
    }
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// The table.
pub const TARGETS: &[Target] = &[
    target("access_token", access_token::access_token),
    target("admin", request::admin),
    target("body", body::body),
    target("by_cookie", request::by_cookie),
    target("client_address", client_address::client_address),
    target("configuration", configuration::configuration),
    target("cookies", cookies::cookies),
    target("csrf_token", text::csrf_token),
    target("device_token", text::device_token),
    target("email", text::email),
    target("feed", verifiers::feed),
    target("idempotency_key", text::idempotency_key),
    target("identifier", text::identifier),
    target("import_line", import::import_line),
    target("introspect", verifiers::introspect),
    target("origin", origin::origin),
    target("password_hash", import::password_hash),
    target("place", verifiers::place),
    target("refresh_token", refresh_token::refresh_token),
    target("request", request::request),
    target("service_key", text::service_key),
];
