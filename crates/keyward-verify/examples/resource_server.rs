//! A service whose routes are for verified callers only. It knows of a revocation within moments,
//! and asks nobody while it answers.
//!
//! Beside a running `keyward serve --dev`, in the same folder:
//!
//! ```console
//! $ keyward service-key create --name reports --scope revocations > reports.key
//! $ cargo run -p keyward-verify --all-features --example resource_server -- \
//!       http://localhost:8080 reports.key
//! $ curl -H "Authorization: Bearer $access" http://127.0.0.1:3001/whoami
//! ```

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use keyward_verify::{
    Caller, RequireRole, RequireStepUp, Role, ServiceKey, Source, StepUp, Timestamp, Verifier,
    VerifyLayer, VerifyPolicy,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // What the verifier warns of, such as a wrong audience, is seen here and nowhere else.
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let (Some(origin), Some(key_file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: resource_server ORIGIN SERVICE_KEY_FILE".into());
    };
    let key = std::fs::read_to_string(key_file)?;
    let key = ServiceKey::parse(key.trim()).ok_or("the file holds no service key")?;
    let source = Source::at(&origin)?.service_key(&key);
    // The issuer and the audience are the service's public URL unless it is configured otherwise.
    let verifier = Arc::new(Verifier::new(VerifyPolicy::new(&origin, &origin)));
    let listener = TcpListener::bind("127.0.0.1:3001").await?;
    writeln!(io::stdout(), "listens on http://{}", listener.local_addr()?)?;
    serve(listener, verifier, &source).await?;
    Ok(())
}

/// Serves until something fails. The verifier runs beside the requests, and ends with them.
pub(crate) async fn serve(
    listener: TcpListener,
    verifier: Arc<Verifier>,
    source: &Source,
) -> io::Result<()> {
    let app = Router::new()
        .route("/whoami", get(whoami))
        .route("/reports", get(reports))
        .route("/payments", post(pay))
        .layer(VerifyLayer::new(Arc::clone(&verifier)))
        // Added after the layer, and so outside of it.
        .route("/readyz", get(ready).with_state(Arc::clone(&verifier)));
    tokio::select! {
        served = axum::serve(listener, app) => served,
        never = verifier.run(source) => match never {},
    }
}

/// Any verified caller.
async fn whoami(caller: Caller) -> Json<Value> {
    Json(json!({ "id": caller.sub, "email": caller.email, "roles": caller.roles }))
}

/// Administrators alone.
async fn reports(admin: RequireRole<Admin>) -> String {
    format!("Nothing to report, {}.\n", admin.caller.email)
}

/// Whoever has entered their password within the last five minutes.
async fn pay(payer: RequireStepUp<Payment>) -> String {
    format!("Paid, {}.\n", payer.caller.email)
}

/// Whether it would accept a good token, and if not, why not.
async fn ready(State(verifier): State<Arc<Verifier>>) -> (StatusCode, Json<Value>) {
    let status = verifier.status(now());
    let is_current = status.keys_age.is_some()
        && status.staleness.is_some_and(|age| age <= verifier.policy().staleness_max);
    let code = if is_current { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let troubles = json!({ "keys": status.keys_trouble, "revocations": status.feed_trouble });
    (code, Json(troubles))
}

struct Admin;

impl Role for Admin {
    const NAME: &str = "admin";
}

struct Payment;

impl StepUp for Payment {
    const MAX_AGE: Duration = Duration::from_secs(5 * 60);
    const AMR: &[&str] = &["pwd"];
}

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the application has the clock")]
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::from_secs(0).plus(since_epoch.unwrap_or_default())
}
