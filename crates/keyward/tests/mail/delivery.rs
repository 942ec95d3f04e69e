//! The way by a mail server, and what becomes of mails that it does not take.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use keyward::mail::{SmtpMailer, SmtpSettings};
use keyward::policy::Policy;
use keyward::store::{MemoryStore, SqliteStore, Store};
use serde_json::json;

use crate::common::{PASSWORD, TestApp};
use crate::post::{ADA, app, sender};
use crate::server::{MailServer, Trouble};

/// A service that sends by this server.
async fn sending_by(server: &MailServer, store: Arc<dyn Store>) -> TestApp {
    app(store, Arc::new(mailer(server)), |_: &mut Policy| {}).await
}

fn mailer(server: &MailServer) -> SmtpMailer {
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let settings = SmtpSettings::parse(&url, Path::new(".")).expect("a URL");
    SmtpMailer::new(&settings, sender()).expect("a mailer")
}

async fn deliver(app: &TestApp) {
    app.keyward.deliver_mail().await.expect("the store works");
}

#[tokio::test]
async fn a_mail_goes_by_the_server_and_its_link_works() {
    let server = MailServer::start().await;
    let app = sending_by(&server, Arc::new(MemoryStore::new())).await;
    app.registered(ADA).await;
    assert_eq!(server.connections(), 0);
    deliver(&app).await;
    let mail = server.received().remove(0);
    assert_eq!(mail.to, ADA);
    assert!(mail.message_id.ends_with("@auth.example.org"), "{}", mail.message_id);
    let body = json!({ "token": mail.token() });
    let answer = app.browser().post("/api/auth/email/verify", Some(body)).await;
    answer.assert(StatusCode::OK, None);
    deliver(&app).await;
    assert_eq!(server.connections(), 1);
}

/// Each time a mail is put off a little, and then it goes.
#[tokio::test]
async fn whatever_may_pass_is_tried_again() {
    for trouble in
        [Trouble::Closes, Trouble::DiesInData, Trouble::Recipient(451), Trouble::Finished(452)]
    {
        let server = MailServer::start().await;
        let app = sending_by(&server, Arc::new(MemoryStore::new())).await;
        app.registered(ADA).await;
        server.trouble(&[trouble, trouble]);
        deliver(&app).await;
        deliver(&app).await;
        assert_eq!((server.connections(), server.received().len()), (1, 0), "{trouble:?}");
        app.advance(20);
        deliver(&app).await;
        assert_eq!((server.connections(), server.received().len()), (2, 0), "{trouble:?}");
        app.advance(19);
        deliver(&app).await;
        app.advance(21);
        deliver(&app).await;
        assert_eq!((server.connections(), server.received().len()), (3, 1), "{trouble:?}");
    }
}

/// Whoever waits in vain gives up, and another attempt is made.
#[tokio::test]
async fn a_server_that_says_nothing_is_left_in_time() {
    let server = MailServer::start().await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let impatient = mailer(&server).with_deadline(Duration::from_millis(200));
    let node = app(Arc::clone(&store), Arc::new(impatient), |_: &mut Policy| {}).await;
    node.registered(ADA).await;
    server.trouble(&[Trouble::Hangs]);
    deliver(&node).await;
    assert_eq!(server.received().len(), 0);
    let patient = sending_by(&server, store).await;
    patient.advance(20);
    deliver(&patient).await;
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_mailbox_that_is_not_there_is_not_tried_again() {
    for trouble in [Trouble::Recipient(550), Trouble::Finished(554)] {
        let server = MailServer::start().await;
        let app = sending_by(&server, Arc::new(MemoryStore::new())).await;
        app.registered(ADA).await;
        server.trouble(&[trouble]);
        deliver(&app).await;
        app.advance(3600);
        deliver(&app).await;
        assert_eq!((server.connections(), server.received().len()), (1, 0), "{trouble:?}");
    }
}

/// Or every mail would be lost until the operator has mended it.
#[tokio::test]
async fn a_sender_that_is_refused_costs_no_mail() {
    for why in ["5.7.1 <no-reply@auth.example.org>: not yours", "5.1.8 no such host"] {
        let server = MailServer::start().await;
        let app = sending_by(&server, Arc::new(MemoryStore::new())).await;
        app.registered(ADA).await;
        server.trouble(&[Trouble::Sender(why)]);
        deliver(&app).await;
        assert_eq!(server.received().len(), 0, "{why}");
        app.advance(20);
        deliver(&app).await;
        assert_eq!(server.received().len(), 1, "{why}");
    }
}

/// A link that came too late would only be wondered about.
#[tokio::test]
async fn a_dead_link_is_not_sent() {
    let server = MailServer::start().await;
    let app = sending_by(&server, Arc::new(MemoryStore::new())).await;
    app.registered(ADA).await;
    deliver(&app).await;
    server.trouble(&[Trouble::Closes]);
    let body = json!({ "email": ADA });
    let forgot = app.browser().post("/api/auth/password/forgot", Some(body)).await;
    forgot.assert(StatusCode::ACCEPTED, None);
    deliver(&app).await;
    app.advance(30 * 60);
    deliver(&app).await;
    assert_eq!((server.connections(), server.received().len()), (2, 1));
}

/// Requests wait for no mail server, and neither do mails for one another.
#[tokio::test]
async fn a_server_that_hangs_holds_up_nobody() {
    let server = MailServer::start().await;
    server.trouble(&[Trouble::Hangs]);
    let app = sending_by(&server, Arc::new(MemoryStore::new())).await;
    app.registered(ADA).await;
    app.registered("bob@example.org").await;
    let mut browser = app.browser();
    let others = async {
        while server.received().is_empty() {
            tokio::task::yield_now().await;
        }
        browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    };
    tokio::select! {
        delivered = app.keyward.deliver_mail() => panic!("one mail hangs, but {delivered:?}"),
        () = others => {}
    }
    assert_eq!(server.received().len(), 1);
}

/// Twenty senders of one store, as nodes are.
#[tokio::test]
async fn each_mail_is_sent_once_by_many() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = keyward_core::time::Timestamp::from_secs(1_790_000_000);
    let path = folder.path().join("keyward.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, now).expect("a store"));
    let server = MailServer::start().await;
    let app = sending_by(&server, store).await;
    for number in 0..10 {
        app.registered(&format!("user{number}@example.org")).await;
    }
    let senders = (0..20).map(|_| app.keyward.deliver_mail());
    for delivered in futures_util::future::join_all(senders).await {
        delivered.expect("the store works");
    }
    let mut to: Vec<_> = server.received().into_iter().map(|mail| mail.to).collect();
    to.sort();
    assert_eq!(to, (0..10).map(|number| format!("user{number}@example.org")).collect::<Vec<_>>());
}

/// What waits for the server says nothing to who reads the store.
#[tokio::test]
async fn what_waits_is_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = keyward_core::time::Timestamp::from_secs(1_790_000_000);
    let path = folder.path().join("keyward.db");
    let store = Arc::new(SqliteStore::open(&path, now).expect("a store"));
    let server = MailServer::start().await;
    let app = sending_by(&server, Arc::clone(&store) as _).await;
    app.registered(ADA).await;
    server.trouble(&[Trouble::Closes]);
    deliver(&app).await;
    store.close();
    let bytes = std::fs::read(&path).expect("the file");
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(holds(b"one_time_token") && !holds(b"kwo_") && !holds(b"verify_address"));
}
