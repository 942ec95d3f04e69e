//! Keyward inside an axum app: its routes under `/api/auth`, and some of your own that ask who is
//! calling.
//!
//! ```sh
//! cargo run -p keyward --example embed
//! curl -i http://localhost:3000/hello
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use keyward::clock::{Clock as _, SystemClock};
use keyward::entropy::{self, SystemEntropy};
use keyward::http::{Caller, Guard, InvalidCookiePolicy, RequireRole, RequireStepUp, Role};
use keyward::keyward_core::keys::MasterKey;
use keyward::policy::Policy;
use keyward::service::{Keyward, Parts};
use keyward::store::SqliteStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join("keyward-embed");
    std::fs::create_dir_all(&folder)?;
    let entropy = Arc::new(SystemEntropy::new());
    let mut policy = Policy::new("http://localhost:3000");
    // Only because this example has no TLS: browsers send such cookies over plain HTTP too.
    policy.cookies.secure = false;
    let keyward = Keyward::start(Parts {
        policy,
        // A key of this run only. Yours comes from a file or a vault and stays the same: it opens
        // the keys in the store.
        master_key: MasterKey::new(&entropy::array(entropy.as_ref())),
        store: Arc::new(SqliteStore::open(&fresh_file(&folder), SystemClock.now())?),
        clock: Arc::new(SystemClock),
        entropy,
        shared: None,
        mailing: None,
    });
    let keyward = Arc::new(keyward.await?);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    // The peer's address is what limits on trying are counted by.
    let service = app(&keyward)?.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        served = axum::serve(listener, service) => served?,
        // What goes on beside requests, such as deleting what has expired: nothing else starts it.
        () = keyward.run_background() => {}
    }
    keyward.flush().await;
    Ok(())
}

/// The app's own routes beside those of Keyward.
pub(crate) fn app(keyward: &Arc<Keyward>) -> Result<Router, InvalidCookiePolicy> {
    let own = Router::new()
        .route("/hello", get(hello))
        .route("/drafts", get(drafts))
        .route("/payments", post(pay))
        .with_state(Guard::new(Arc::clone(keyward))?);
    Ok(own.merge(keyward::http::router(Arc::clone(keyward))?))
}

/// Whoever is signed in. The session is read afresh: a revoked token is refused at once.
async fn hello(Caller(caller): Caller) -> String {
    format!("Hello, {}.\n", caller.user.email)
}

/// Editors alone, by the roles that their account has now.
async fn drafts(editor: RequireRole<Editor>) -> String {
    format!("No drafts, {}.\n", editor.caller.user.email)
}

/// Whoever has signed in lately, and with their second factor if they have one.
async fn pay(RequireStepUp(payer): RequireStepUp) -> String {
    format!("Paid, {}.\n", payer.user.email)
}

struct Editor;

impl Role for Editor {
    const NAME: &str = "editor";
}

/// A database for this run: its keys are sealed with a key that the next run does not have.
fn fresh_file(folder: &std::path::Path) -> std::path::PathBuf {
    folder.join(format!("{}.db", std::process::id()))
}
