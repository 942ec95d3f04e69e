//! TLS that the service speaks itself, from files, at a public https address.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_rustls::TlsConnector;

use crate::client::{Answer, Client, SECURE_COOKIES, Tokens};
use crate::place::{PASSWORD, Place, Running};

#[test]
fn over_tls_cookies_are_bound_to_it_and_browsers_told_to_stay() {
    let (place, service, certificate) = serve_tls(&[]);
    let mut client = connect(&service, &certificate, b"http/1.1").expect("connected");
    let registered = client.register("ada@example.org", PASSWORD).expect("answered");
    assert_eq!(registered.outcome(), "201 -");
    assert_eq!(client.stream().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    check_cookies(&registered);
    let refreshed = client.refresh(&registered.tokens(), None).expect("answered");
    assert_eq!(refreshed.outcome(), "200 -");
    check_cookies(&refreshed);
    let healthy = client.send("GET", "/healthz", &[], "").expect("answered");
    for answer in [&registered, &refreshed, &healthy] {
        let value = answer.header("strict-transport-security");
        assert_eq!(value, Some("max-age=31536000"));
    }
    let ended = client.logout(&refreshed.tokens()).expect("answered");
    assert_eq!(ended.set_cookies().len(), 2);
    check_cookies(&ended);
    drop(client);
    service.stop();
    assert!(!place.log().contains("panicked"), "{}", place.log());
}

#[test]
fn plain_http_is_refused_and_harms_nothing() {
    let (_place, service, certificate) = serve_tls(&[]);
    let mut plain = service.connect();
    plain.send("GET", "/healthz", &[], "").expect_err("this is no TLS");
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let distrusted = connect(&service, stranger.cert.der(), b"http/1.1");
    let mut distrusted = distrusted.expect("the handshake comes with the first byte");
    distrusted.send("GET", "/healthz", &[], "").expect_err("another certificate");
    let mut client = connect(&service, &certificate, b"http/1.1").expect("connected");
    assert_eq!(client.send("GET", "/healthz", &[], "").expect("answered").status, 200);
    drop(client);
    service.stop();
}

#[test]
fn http2_is_spoken_where_it_is_agreed_on_and_its_log_keeps_secrets() {
    let (place, service, certificate) = serve_tls(&[("KEYWARD_LOG", "trace")]);
    let mut client = connect(&service, &certificate, b"http/1.1").expect("connected");
    let tokens = client.register("ada@example.org", PASSWORD).expect("answered").tokens();
    drop(client);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let refreshed =
        runtime.expect("a runtime").block_on(refresh_over_http2(&service, &certificate, &tokens));
    service.stop();
    let log = place.log();
    assert!(log.contains("h2"), "the log is at its most talkative");
    for secret in
        [&tokens.refresh, &tokens.csrf, &tokens.access, &refreshed, IDEMPOTENCY_KEY, PASSWORD]
    {
        assert!(!log.contains(secret), "{secret}");
    }
}

/// The refresh token that the answer sets.
async fn refresh_over_http2(
    service: &Running,
    certificate: &CertificateDer<'static>,
    tokens: &Tokens,
) -> String {
    let stream = tokio::net::TcpStream::connect(service.address).await.expect("connected");
    let connector = TlsConnector::from(client_config(certificate, b"h2"));
    let name = "localhost".try_into().expect("a name");
    let stream = connector.connect(name, stream).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
    let cookies = format!(
        "{}={}; {}={}",
        SECURE_COOKIES.refresh, tokens.refresh, SECURE_COOKIES.csrf, tokens.csrf
    );
    let request = hyper::Request::post("https://localhost/api/auth/refresh")
        .header("Cookie", cookies)
        .header("X-CSRF-Token", &tokens.csrf)
        .header("Idempotency-Key", IDEMPOTENCY_KEY)
        .body(Empty::<Bytes>::new())
        .expect("a request");
    let exchange = async {
        let response = sender.send_request(request).await.expect("answered");
        assert_eq!(response.status(), 200);
        let cookie = response.headers()["set-cookie"].to_str().expect("text").to_owned();
        let body = response.into_body().collect().await.expect("complete").to_bytes();
        assert!(body.starts_with(b"{"));
        // Without a sender the connection ends.
        drop(sender);
        cookie
    };
    let (cookie, ended) = tokio::join!(exchange, connection);
    ended.expect("it ends in order");
    let value = cookie.split(['=', ';']).nth(1).expect("a value");
    assert!(value.starts_with("kwr_"));
    value.to_owned()
}

/// A service with a certificate of its own making, which is returned.
fn serve_tls(environment: &[(&str, &str)]) -> (Place, Running, CertificateDer<'static>) {
    let place = Place::new();
    let certificate = certificate_for_localhost(&place);
    let configuration = "[server]\npublic_url = \"https://auth.example.org\"\n\
                         tls_cert = \"certificate.pem\"\ntls_key = \"key.pem\"\n";
    fs::write(place.file("keyward.toml"), configuration).expect("written");
    let mut command = place.keyward(&["serve", "--listen", "127.0.0.1:0"]);
    let service = place.start(command.envs(environment.iter().copied()));
    (place, service, certificate)
}

/// Makes a certificate that vouches for itself, with its key, in `certificate.pem` and `key.pem`.
pub(crate) fn certificate_for_localhost(place: &Place) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    write_pem(place, "certificate.pem", made.cert.der());
    place.write_secret("key.pem", &pem("PRIVATE KEY", made.signing_key.serialized_der()));
    made.cert.der().clone()
}

/// Writes a certificate to a file.
pub(crate) fn write_pem(place: &Place, name: &str, certificate: &CertificateDer<'static>) {
    fs::write(place.file(name), pem("CERTIFICATE", certificate)).expect("written");
}

/// RFC 7468; one long line is read as well as many short ones.
fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// Connects and asks for one protocol; trusts this certificate alone.
fn connect(
    service: &Running,
    certificate: &CertificateDer<'static>,
    protocol: &[u8],
) -> io::Result<Client<Stream>> {
    let name = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(client_config(certificate, protocol), name);
    let connection = connection.map_err(io::Error::other)?;
    let stream = TcpStream::connect(service.address)?;
    Ok(Client::over(StreamOwned::new(connection, stream), SECURE_COOKIES))
}

fn client_config(certificate: &CertificateDer<'static>, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

/// Secure, at this host alone, and for one that is set readable by script only where it must be.
fn check_cookies(answer: &Answer) {
    let cookies = answer.set_cookies();
    let [refresh, csrf, device @ ..] = cookies.as_slice() else { panic!("{cookies:?}") };
    assert!(device.len() <= 1, "{cookies:?}");
    for line in device {
        assert!(line.starts_with("__Secure-device=") && line.contains("; Secure; HttpOnly; "));
        assert!(line.contains("; Path=/api/auth; ") && line.contains("; SameSite=Strict; "));
    }
    assert!(refresh.starts_with("__Secure-refreshToken="), "{refresh}");
    assert!(csrf.starts_with("__Host-csrfToken="), "{csrf}");
    for attribute in ["; Secure", "; SameSite=Strict", "; Max-Age="] {
        assert!(refresh.contains(attribute) && csrf.contains(attribute), "{cookies:?}");
    }
    assert!(refresh.contains("; HttpOnly") && refresh.contains("; Path=/api/auth;"), "{refresh}");
    // What browsers demand of the prefix.
    assert!(csrf.contains("; Path=/;") && !csrf.contains("Domain"), "{csrf}");
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

const IDEMPOTENCY_KEY: &str = "a-key-that-nobody-else-may-know-91";
