//! `[ops]`: what operators watch the service by.

use std::net::SocketAddr;

use super::source::Source;
use super::{LogFormat, ServerSettings, value, web};

/// What operators watch the service by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpsSettings {
    /// Where metrics are served, where they are.
    pub(crate) listen: Option<SocketAddr>,
    /// How the log is written.
    pub(crate) log: LogFormat,
}

/// Reads it, for a service that listens there.
pub(super) fn read(source: &mut Source, listener: &ServerSettings) -> OpsSettings {
    let listen = source.parsed("ops.listen", web::address);
    if let Some(listen) = listen {
        if listen.port() != 0 && listen == listener.listen {
            let complaint = "is server.listen; metrics take an address of their own";
            source.problem("ops.listen", complaint);
        }
        if !listen.ip().is_loopback() {
            let complaint = format!(
                "is {listen}, where others than this machine may read how many sign in, fail and \
                 are refused: nobody is asked for a password there; let a firewall keep all but \
                 the monitoring out, or use 127.0.0.1"
            );
            source.warn("ops.listen", complaint);
        }
    }
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let log = source.parsed("ops.log", |value| value::choice(value, &formats));
    OpsSettings { listen, log: log.unwrap_or(LogFormat::Text) }
}
