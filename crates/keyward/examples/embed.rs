//! Keyward inside an axum app: its routes under `/api/auth`, and one of your own that only a
//! signed-in user reaches.
//!
//! ```sh
//! cargo run -p keyward --example embed
//! curl -i http://localhost:3000/hello
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use keyward::clock::{Clock as _, SystemClock};
use keyward::entropy::{self, SystemEntropy};
use keyward::keyward_core::keys::MasterKey;
use keyward::policy::Policy;
use keyward::service::{ClientInfo, Keyward, Parts};
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

    let app = Router::new()
        .route("/hello", get(hello))
        .with_state(Arc::clone(&keyward))
        .merge(keyward::http::router(Arc::clone(&keyward))?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    // The peer's address is what limits on trying are counted by.
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        served = axum::serve(listener, service) => served?,
        // Writes refusals that strangers cause into the audit log, beside the requests.
        () = keyward.run_background() => {}
    }
    keyward.flush().await;
    Ok(())
}

/// A route of the app's own. The session is read afresh: a revoked token is refused at once.
async fn hello(
    State(keyward): State<Arc<Keyward>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<String, StatusCode> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .ok_or(StatusCode::UNAUTHORIZED)?;
    let client = ClientInfo::new(peer.ip(), None, "hello".to_owned());
    let caller = keyward.authenticate(token, &client).await;
    let caller = caller.map_err(|_| StatusCode::UNAUTHORIZED)?;
    Ok(format!("Hello, {}.\n", caller.user.email))
}

/// A database for this run: its keys are sealed with a key that the next run does not have.
fn fresh_file(folder: &std::path::Path) -> std::path::PathBuf {
    folder.join(format!("{}.db", std::process::id()))
}
