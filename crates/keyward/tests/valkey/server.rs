//! A Valkey (or Redis) of one test's own, which it may stall, kill and bring back.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keyward::shared::ValkeySettings;
use redis::{Client, FromRedisValue};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A server that ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    folder: TempDir,
}

impl Server {
    /// Asks for a password, on loopback only.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// With more lines of its configuration.
    pub(crate) async fn with(lines: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = std::fs::File::create(folder.path().join("conf")).expect("a file");
        write!(
            file,
            "bind 127.0.0.1\nport {port}\nrequirepass {PASSWORD}\nsave \"\"\ndir {}\n{lines}\n",
            folder.path().display()
        )
        .expect("written");
        let server = Self { process: spawn(folder.path()), port, folder };
        server.wait().await;
        server
    }

    pub(crate) fn settings(&self) -> ValkeySettings {
        settings(&self.url())
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    /// Holds it where it is: connections stay, and nobody answers.
    pub(crate) fn stall(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it at once; nothing that it held is kept.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended");
    }

    /// Starts it again at the same port.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.folder.path());
        self.wait().await;
    }

    /// Says something to it over a connection of this call's own.
    pub(crate) async fn tell<T: FromRedisValue>(&self, command: &str) -> T {
        let client = Client::open(self.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let mut words = command.split(' ');
        let mut call = redis::cmd(words.next().expect("a command"));
        for word in words {
            call.arg(word);
        }
        call.query_async(&mut connection).await.expect(command)
    }

    async fn wait(&self) {
        let client = Client::open(self.url()).expect("a URL");
        for _ in 0..1000 {
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await
                && redis::cmd("PING").exec_async(&mut connection).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the server does not answer: {self:?}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

/// With all the patience that a busy machine may need.
pub(crate) fn settings(url: &str) -> ValkeySettings {
    let mut settings = ValkeySettings::parse(url, Path::new("")).expect("a URL");
    settings.deadline = Duration::from_secs(60);
    settings
}

fn spawn(folder: &Path) -> Child {
    #[expect(clippy::disallowed_methods, reason = "tests are told by it which program to start")]
    let program = std::env::var("TEST_REDIS_SERVER");
    let program = program.expect("TEST_REDIS_SERVER names no program; see CONTRIBUTING.md");
    let mut command = Command::new(program);
    command.arg(folder.join("conf")).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().expect("a server")
}

pub(crate) const PASSWORD: &str = "for-tests-alone";
