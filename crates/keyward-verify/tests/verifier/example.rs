//! The example, as it stands, beside a service that publishes keys and revocations.

#[expect(dead_code, reason = "its `main` is for the command line")]
#[path = "../../examples/resource_server.rs"]
mod resource_server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyward_verify::{Algorithm, Verifier};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::issuer::{SESSION, Signer, fresh_claims, fresh_claims_with, policy};
use crate::publisher::Publisher;
use crate::system_now;

#[tokio::test]
async fn the_example_refuses_a_session_moments_after_it_was_revoked() {
    let signer = Signer::new(Algorithm::Es256);
    let publisher = Publisher::start(&[&signer]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let verifier = Arc::new(Verifier::new(policy()));
    let source = publisher.source();
    let story = async {
        until(address, "GET /readyz", "", 200).await;
        let token = signer.sign(&fresh_claims());
        assert_eq!(call(address, "GET /whoami", &token).await, 200);
        assert_eq!(call(address, "GET /whoami", "").await, 401);
        assert_eq!(call(address, "GET /reports", &token).await, 403);
        let admin = signer.sign(&fresh_claims_with("roles", json!(["admin"])));
        assert_eq!(call(address, "GET /reports", &admin).await, 200);
        assert_eq!(call(address, "POST /payments", &token).await, 200);
        let auth_time = json!(system_now().secs() - 600);
        let stale = signer.sign(&fresh_claims_with("auth_time", auth_time));
        assert_eq!(call(address, "POST /payments", &stale).await, 403);

        publisher.revoke(SESSION.parse().expect("an id"), system_now().secs() + 900);
        until(address, "GET /whoami", &token, 401).await;
        assert_eq!(call(address, "GET /reports", &admin).await, 401, "of the same session");
    };
    tokio::select! {
        () = story => {}
        served = resource_server::serve(listener, verifier, &source) => panic!("{served:?}"),
    }
}

async fn until(address: SocketAddr, line: &str, token: &str, status: u16) {
    for _ in 0..4000 {
        if call(address, line, token).await == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{line} was never answered {status}");
}

/// The status of the answer.
async fn call(address: SocketAddr, line: &str, token: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.expect("it accepts connections");
    let head = format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let authorization =
        if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let request = format!("{head}{authorization}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}
