//! A mail server on this machine: the protocol by another crate, and trouble at will.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use mailin::{Action, AuthMechanism, Handler, Response, SessionBuilder, response};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::post::Received;

/// What goes wrong with one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is ended before a word.
    Closes,
    /// It is ended in the middle of the mail.
    DiesInData,
    /// Nothing is ever said.
    Hangs,
    /// The recipient is answered with this.
    Recipient(u16),
    /// The recipient is answered with this of the sender.
    Sender(&'static str),
    /// The finished mail is answered with this.
    Finished(u16),
}

/// How connections are protected.
#[derive(Clone)]
pub(crate) enum Protection {
    None,
    StartTls(TlsAcceptor),
    Wrapped(TlsAcceptor),
}

/// A server; it ends with the value.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    state: Arc<State>,
    _connections: JoinSet<()>,
}

#[derive(Default)]
struct State {
    received: Mutex<Vec<Vec<u8>>>,
    troubles: Mutex<VecDeque<Trouble>>,
    connections: Mutex<usize>,
}

impl MailServer {
    pub(crate) async fn start() -> Self {
        Self::with(Protection::None, false).await
    }

    /// With `sign_in`, only `keyward` with the password `hush` may send.
    pub(crate) async fn with(protection: Protection, sign_in: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State::default());
        let mut connections = JoinSet::new();
        let shared = Arc::clone(&state);
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (protection, state) = (protection.clone(), Arc::clone(&shared));
                open.spawn(async move {
                    let _ended = talk(tcp, protection, sign_in, &state).await;
                });
            }
        });
        Self { port, state, _connections: connections }
    }

    /// What the next connections meet, one each.
    pub(crate) fn trouble(&self, troubles: &[Trouble]) {
        self.state.troubles.lock().expect("sound").extend(troubles);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        let received = self.state.received.lock().expect("sound");
        received.iter().map(|bytes| Received::parse(bytes)).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.state.connections.lock().expect("sound")
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn talk(
    tcp: TcpStream,
    protection: Protection,
    sign_in: bool,
    state: &Arc<State>,
) -> io::Result<()> {
    *state.connections.lock().expect("sound") += 1;
    let trouble = state.troubles.lock().expect("sound").pop_front();
    match trouble {
        Some(Trouble::Closes) => return Ok(()),
        Some(Trouble::Hangs) => std::future::pending().await,
        _ => {}
    }
    let mut builder = SessionBuilder::new("localhost");
    if sign_in {
        builder.enable_auth(AuthMechanism::Plain);
    }
    let (mut stream, acceptor): (Box<dyn Stream>, _) = match protection {
        Protection::None => (Box::new(tcp), None),
        Protection::StartTls(acceptor) => {
            builder.enable_start_tls();
            (Box::new(tcp), Some(acceptor))
        }
        Protection::Wrapped(acceptor) => (Box::new(acceptor.accept(tcp).await?), None),
    };
    let inbox = Inbox { state: Arc::clone(state), trouble, mail: Vec::new() };
    let mut session = builder.build(IpAddr::from([127, 0, 0, 1]), inbox);
    if sign_in && acceptor.is_none() {
        session.tls_active();
    }
    say(&mut stream, &session.greeting()).await?;
    loop {
        let line = read_line(&mut stream).await?;
        let answer = session.process(&line);
        if answer.code == 354 && trouble == Some(Trouble::DiesInData) {
            say(&mut stream, &answer).await?;
            read_line(&mut stream).await?;
            return Ok(());
        }
        // The crate takes whatever follows such an answer for more of the mail.
        if matches!(trouble, Some(Trouble::Finished(code)) if code == answer.code) {
            return say(&mut stream, &answer).await;
        }
        match answer.action {
            Action::NoReply => {}
            Action::Reply => say(&mut stream, &answer).await?,
            Action::Close => return say(&mut stream, &answer).await,
            Action::UpgradeTls => {
                say(&mut stream, &answer).await?;
                let Some(acceptor) = &acceptor else { return Ok(()) };
                stream = Box::new(acceptor.accept(stream).await?);
                session.tls_active();
            }
        }
    }
}

async fn say(stream: &mut Box<dyn Stream>, answer: &Response) -> io::Result<()> {
    let mut text = Vec::new();
    answer.write_to(&mut text)?;
    stream.write_all(&text).await?;
    stream.flush().await
}

/// Byte by byte: what follows STARTTLS is not ours to read.
async fn read_line(stream: &mut Box<dyn Stream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await?);
    }
    Ok(line)
}

/// What is done with a mail.
struct Inbox {
    state: Arc<State>,
    trouble: Option<Trouble>,
    mail: Vec<u8>,
}

impl Handler for Inbox {
    fn rcpt(&mut self, _: &str) -> Response {
        match self.trouble {
            Some(Trouble::Recipient(code)) => answer(code),
            Some(Trouble::Sender(why)) => Response::custom(553, why.to_owned()),
            _ => response::OK,
        }
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mail.extend(bytes);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        if let Some(Trouble::Finished(code)) = self.trouble {
            return answer(code);
        }
        let mail = std::mem::take(&mut self.mail);
        self.state.received.lock().expect("sound").push(mail);
        response::OK
    }

    fn auth_plain(&mut self, _: &str, user: &str, password: &str) -> Response {
        if (user, password) == ("keyward", "hush") {
            response::AUTH_OK
        } else {
            response::INVALID_CREDENTIALS
        }
    }
}

fn answer(code: u16) -> Response {
    match code {
        451 => response::INTERNAL_ERROR,
        452 => response::OUT_OF_SPACE,
        550 => response::NO_MAILBOX,
        554 => response::TRANSACTION_FAILED,
        other => panic!("no answer {other}"),
    }
}
