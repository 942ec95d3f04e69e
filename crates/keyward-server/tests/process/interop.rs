//! Programs of other makes, from `tests/interop`: what verifiers make of our tokens, with no more
//! than the address of the published keys, and generators of the description of the interface.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::client::Tokens;
use crate::place::{ENVIRONMENT, Place};

#[test]
fn other_makes_accept_our_tokens_and_nothing_that_was_changed() {
    for algorithm in ["ES256", "EdDSA", "RS256"] {
        let place = Place::new();
        let service = place.serve_with(&[("KEYWARD_ACCESS_TOKEN__ALGORITHM", algorithm)]);
        let tokens = service.register("ada@example.org");
        for make in Make::ALL {
            let mut peer = Peer::start(make, service.address, ISSUER, algorithm, "30");
            assert_eq!(peer.verdict(&tokens.access), "accepted", "{algorithm}, {make:?}");
            for changed in changed(&tokens.access) {
                let verdict = peer.verdict(&changed);
                assert!(verdict.starts_with("refused "), "{algorithm}, {make:?}: {verdict}");
            }
            let other = "https://other.example.org";
            let mut elsewhere = Peer::start(make, service.address, other, algorithm, "30");
            let verdict = elsewhere.verdict(&tokens.access);
            assert!(verdict.starts_with("refused "), "{algorithm}, {make:?}: {verdict}");
        }
        service.stop();
    }
}

#[test]
fn other_makes_refuse_our_tokens_once_they_have_expired() {
    let place = Place::new();
    let service = place.serve_with(&[("KEYWARD_ACCESS_TOKEN__TTL", "1s")]);
    let tokens = service.register("ada@example.org");
    for make in Make::ALL {
        let mut peer = Peer::start(make, service.address, ISSUER, "ES256", "30");
        let expires = |_| {
            thread::sleep(Duration::from_millis(10));
            peer.verdict(&tokens.access) == "expired"
        };
        assert!((0..6000).any(expires), "{make:?} accepts it for ever");
    }
    service.stop();
}

#[test]
fn other_makes_read_the_description_of_the_interface() {
    let place = Place::new();
    let mut reader = Reader::start();
    let mut document = Value::Null;
    for delivery in ["cookie", "body"] {
        let service = place.serve_with(&[("KEYWARD_ACCESS_TOKEN__DELIVERY", delivery)]);
        let answer = service.connect().send("GET", "/openapi.json", &[], "").expect("answered");
        document = answer.json();
        assert_eq!(reader.verdict(&place, &document), "accepted", "{delivery}");
        service.stop();
    }
    // Whoever takes anything would prove nothing.
    for (pointer, value, verdict) in DAMAGES {
        let mut damaged = document.clone();
        *damaged.pointer_mut(pointer).expect("it is there") = json!(value);
        let told = reader.verdict(&place, &damaged);
        assert!(told.starts_with(verdict), "{pointer}: {told}");
    }
}

/// What is wrong with a description afterwards, and who notices.
const DAMAGES: [(&str, &str, &str); 5] = [
    ("/paths/~1api~1auth~1login/post/requestBody", "a body", "invalid "),
    ("/paths/~1api~1auth~1sessions~1{id}/delete/parameters/0/in", "nowhere", "invalid "),
    ("/components/schemas/User/properties/name", "a text", "ungenerated "),
    ("/components/schemas/Tokens/properties/expiresIn/type", "string", "uncompiled "),
    ("/components/schemas/Sessions/properties/sessions/items/$ref", "#/nothing", "invalid "),
];

/// Validates descriptions, generates types of them and compiles a program against these.
struct Reader(Lines);

impl Reader {
    fn start() -> Self {
        let mut command = Command::new("node");
        command.arg(folder().join("read_openapi.mjs"));
        Self(Lines::start(command))
    }

    fn verdict(&mut self, place: &Place, document: &Value) -> String {
        let file = place.file("openapi.json");
        fs::write(&file, document.to_string()).expect("written");
        self.0.ask(file.to_str().expect("UTF-8"))
    }
}

/// A token with other claims, another signature, and none.
fn changed(token: &str) -> Vec<String> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let mut claims: Value = serde_json::from_slice(&decode(payload)).expect("claims");
    claims["roles"] = json!(["admin"]);
    let promoted = URL_SAFE_NO_PAD.encode(claims.to_string());
    let mut flipped = decode(signature);
    flipped[10] ^= 1;
    let unsecured = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    vec![
        format!("{header}.{promoted}.{signature}"),
        format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(flipped)),
        format!("{header}.{payload}."),
        format!("{unsecured}.{payload}."),
    ]
}

/// Whose verifier.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Make {
    Jose,
    PyJwt,
}

impl Make {
    pub(crate) const ALL: [Self; 2] = [Self::Jose, Self::PyJwt];
}

/// A verifier that runs, and is asked about one token after the other.
pub(crate) struct Peer(Lines);

impl Peer {
    /// Starts one for tokens of the service at this address to this audience. For so many seconds
    /// after each fetch of the keys it does not fetch them for an unknown one.
    pub(crate) fn start(
        make: Make,
        service: SocketAddr,
        audience: &str,
        algorithm: &str,
        cool_down_secs: &str,
    ) -> Self {
        let folder = folder();
        let (program, script) = match make {
            Make::Jose => ("node".into(), "verify_with_jose.mjs"),
            Make::PyJwt => (folder.join("python/bin/python"), "verify_with_pyjwt.py"),
        };
        let mut command = Command::new(program);
        command.arg(folder.join(script));
        command.arg(format!("http://{service}/.well-known/jwks.json"));
        command.args([ISSUER, audience, algorithm, cool_down_secs]);
        Self(Lines::start(command))
    }

    /// What it says of a token: `accepted`, `expired`, or `refused` and why.
    pub(crate) fn verdict(&mut self, token: &str) -> String {
        self.0.ask(token)
    }
}

/// A program that answers each line with a line.
pub(crate) struct Lines {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Lines {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let questions = process.stdin.take().expect("piped");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, questions, answers }
    }

    pub(crate) fn ask(&mut self, question: &str) -> String {
        writeln!(self.questions, "{question}").expect("it reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        answer.trim_end().to_owned()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One verifier of each make, lent to one caller at a time.
pub(crate) struct Peers(Vec<(Make, Mutex<Peer>)>);

impl Peers {
    pub(crate) fn start(service: SocketAddr, cool_down_secs: &str) -> Self {
        let start = |make| Peer::start(make, service, ISSUER, "ES256", cool_down_secs);
        Self(Make::ALL.into_iter().map(|make| (make, Mutex::new(start(make)))).collect())
    }

    /// That every make accepts the access token.
    pub(crate) fn accept(&self, tokens: &Tokens) {
        for (make, peer) in &self.0 {
            let verdict = peer.lock().expect("no panic").verdict(&tokens.access);
            assert_eq!(verdict, "accepted", "{make:?}: {}", tokens.access);
        }
    }
}

pub(crate) fn folder() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "names what is installed for tests")]
    let folder = std::env::var("TEST_INTEROP");
    folder.map(PathBuf::from).unwrap_or_else(|_| {
        panic!(
            "This test talks to programs of other makes: `cargo xtask test` installs them, or \
             set TEST_INTEROP to the folder that `cargo xtask interop` has installed them into."
        )
    })
}

/// Issuer and audience of [`Place::serve`].
pub(crate) const ISSUER: &str = ENVIRONMENT[1].1;
