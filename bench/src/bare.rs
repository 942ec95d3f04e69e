//! The least that an axum server can do: one route, one small JSON answer. All others are measured
//! by it.

use std::io;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

/// Serves until it is killed; prints the line that `server::Server` waits for.
pub(crate) async fn serve() -> io::Result<()> {
    let router =
        Router::new().route("/", get(|| async { ([(CONTENT_TYPE, "application/json")], BODY) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    crate::report::line(&format!("bare listens on http://{}", listener.local_addr()?));
    axum::serve(listener, router).await
}

/// As long as a small answer of an API.
const BODY: &str =
    r#"{"user":{"id":"0194b8a0-0000-7000-8000-000000000000","email":"a@example.org"}}"#;
