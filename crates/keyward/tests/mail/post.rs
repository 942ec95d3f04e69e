//! A service that sends mail, and what arrives.

use std::path::Path;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use keyward::clock::ManualClock;
use keyward::entropy::danger_for_tests::SeededEntropy;
use keyward::mail::{FolderMailer, Mailer, Mailing, Sender, Templates};
use keyward::policy::Policy;
use keyward::store::{MemoryStore, Store};
use keyward_core::time::Timestamp;
use mail_parser::MessageParser;
use serde_json::json;
use tempfile::TempDir;

use crate::common::{Answer, Browser, TestApp};

pub(crate) const ADA: &str = "ada@example.org";

/// A service whose mails are files.
pub(crate) struct Post {
    pub(crate) app: TestApp,
    pub(crate) folder: TempDir,
}

impl Post {
    pub(crate) async fn new() -> Self {
        Self::with_policy(|_| {}).await
    }

    pub(crate) async fn with_policy(change: impl FnOnce(&mut Policy)) -> Self {
        Self::on_store(Arc::new(MemoryStore::new()), change).await
    }

    pub(crate) async fn on_store(store: Arc<dyn Store>, change: impl FnOnce(&mut Policy)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mailer = FolderMailer::new(folder.path().join("outbox"), sender());
        let app = app(store, Arc::new(mailer), change).await;
        Self { app, folder }
    }

    /// Sends what is due, and answers all that has arrived since the last time, oldest first.
    pub(crate) async fn receive(&self) -> Vec<Received> {
        self.app.keyward.deliver_mail().await.expect("the store works");
        let mut paths: Vec<_> = std::fs::read_dir(self.folder.path().join("outbox"))
            .into_iter()
            .flatten()
            .map(|entry| entry.expect("an entry").path())
            .collect();
        paths.sort();
        paths.iter().map(|path| take(path)).collect()
    }

    /// The one mail that has arrived.
    pub(crate) async fn receive_one(&self) -> Received {
        let mut received = self.receive().await;
        assert_eq!(received.len(), 1, "{received:?}");
        received.remove(0)
    }

    /// A browser whose user has registered; the mail that follows is thrown away.
    pub(crate) async fn registered(&self, email: &str) -> Browser {
        let browser = self.app.registered(email).await;
        self.receive_one().await;
        browser
    }

    pub(crate) async fn forgot(&self, email: &str) -> Answer {
        self.post("/api/auth/password/forgot", json!({ "email": email })).await
    }

    pub(crate) async fn reset(&self, token: &str, password: &str) -> Answer {
        let body = json!({ "token": token, "newPassword": password });
        self.post("/api/auth/password/reset", body).await
    }

    pub(crate) async fn verify(&self, token: &str) -> Answer {
        self.post("/api/auth/email/verify", json!({ "token": token })).await
    }

    /// Whether a sign-in with a password that was set by mail takes a code. Mails from before are
    /// thrown away.
    pub(crate) async fn asks_for_a_code_after_a_reset(&self, address: &str) -> bool {
        const CHOSEN: &str = "ein anderes geheimnis";
        self.receive().await;
        self.forgot(address).await.assert(StatusCode::ACCEPTED, None);
        let link = self.receive_one().await.token();
        self.reset(&link, CHOSEN).await.assert(StatusCode::OK, None);
        let answer = self.app.browser().login(address, CHOSEN).await;
        answer.assert(StatusCode::OK, None);
        answer.json()["mfaRequired"] == json!(true)
    }

    async fn post(&self, path: &str, body: serde_json::Value) -> Answer {
        self.app.browser().call(Method::POST, path, Some(body)).await
    }
}

/// A service that sends mail this way.
pub(crate) async fn app(
    store: Arc<dyn Store>,
    mailer: Arc<dyn Mailer>,
    change: impl FnOnce(&mut Policy),
) -> TestApp {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_790_000_000)));
    let entropy = Arc::new(SeededEntropy::new(42));
    let mailing =
        |policy: &Policy| Some(Mailing { mailer, templates: Templates::built_in(policy) });
    TestApp::start_mailing(store, clock, entropy, None, mailing, change).await
}

pub(crate) fn sender() -> Sender {
    Sender::parse("Keyward <no-reply@auth.example.org>").expect("an address")
}

/// What a mail reader shows.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
    pub(crate) message_id: String,
    /// The names of its headers.
    pub(crate) headers: Vec<String>,
}

impl Received {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mail = MessageParser::default().parse(bytes).expect("a mail");
        let to = mail.to().and_then(|to| to.first()).and_then(|to| to.address());
        Self {
            to: to.expect("an address").to_owned(),
            subject: mail.subject().expect("a subject").to_owned(),
            text: mail.body_text(0).expect("a text").into_owned(),
            html: mail.body_html(0).expect("the same in HTML").into_owned(),
            message_id: mail.message_id().expect("an id").to_owned(),
            headers: mail.headers().iter().map(|header| header.name().to_owned()).collect(),
        }
    }

    /// The token of the link, which is the same in both bodies.
    pub(crate) fn token(&self) -> String {
        let line = self.text.lines().find(|line| line.contains("#token="));
        let (page, token) = line.expect("a link").split_once("#token=").expect("a token");
        assert!(page.starts_with("https://auth.example.org/"), "{page}");
        let html = self.html.replace("&#x2f;", "/");
        assert!(html.contains(&format!("href=\"{page}#token={token}\"")), "{html}");
        token.trim_end().to_owned()
    }
}

fn take(path: &Path) -> Received {
    let bytes = std::fs::read(path).expect("a whole file");
    std::fs::remove_file(path).expect("removed");
    Received::parse(&bytes)
}
