//! `keyward serve`.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use keyward::service::Keyward;
use keyward::store::Store;
use keyward_core::access_token::Algorithm;
use keyward_core::keys::MasterKey;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::secret;
use crate::config::{self, Configuration, Overrides, StoreSettings};
use crate::failure::Failure;
use crate::{assembly, output, serve, telemetry};

/// What `serve` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward serve --dev                            plain HTTP on loopback, to try it
  keyward serve --config /etc/keyward.toml --data-dir /var/lib/keyward
  KEYWARD_SERVER__PUBLIC_URL=https://auth.example.org keyward serve --listen 0.0.0.0:8080

The first SIGTERM or SIGINT lets running requests end, the second ends them.
KEYWARD_LOG sets the level of the log, such as info or debug.")]
pub(crate) struct Arguments {
    /// Defaults for development: plain HTTP, this machine only; reads no file that is not named
    #[arg(long)]
    dev: bool,
    /// Where to listen, instead of the configured address
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an address and a port, like 127.0.0.1:8080".to_owned())
}

/// Serves until a signal comes.
pub(super) fn run(arguments: Arguments, overrides: Overrides) -> Result<(), Failure> {
    let overrides = Overrides { dev: arguments.dev, listen: arguments.listen, ..overrides };
    let (configuration, warnings) = super::reading(&overrides)?;
    let log_level = config::log_level();
    telemetry::start(configuration.ops.log, log_level.as_deref())?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let algorithm = configuration.policy.access_token.algorithm;
    let default = || threads_beside(&configuration.store, algorithm, super::cores());
    let threads = configuration.server.threads.unwrap_or_else(default);
    tracing::info!(threads, "starting");
    super::finish_on(threads, serve(configuration, overrides))
}

/// A database on this machine has half of the work, and half of the cores to do it. More threads
/// than the other half would wait for a core each time that one of them wakes another. With RS256
/// nearly all of the work is to sign.
fn threads_beside(store: &StoreSettings, algorithm: Algorithm, cores: usize) -> usize {
    if store.is_local_server() && algorithm != Algorithm::Rs256 {
        (cores / 2).max(1)
    } else {
        cores
    }
}

async fn serve(configuration: Configuration, overrides: Overrides) -> Result<(), Failure> {
    // Signals count from here on: one that comes while keys are made must not be lost.
    let (mut stops, forward_signals) = stops()?;
    let listener = serve::bind(configuration.server.listen, "--listen").await?;
    let ops = match configuration.ops.listen {
        Some(address) => Some(serve::bind(address, "ops.listen").await?),
        None => None,
    };
    let configuration = settle(configuration, &overrides, listener.address())?;
    let tls = configuration.server.tls.as_ref().map(serve::tls_from).transpose();
    let tls = tls.map_err(|why| Failure::new(format!("TLS cannot be served: {why}")))?;
    // Before the schema is touched, and until everything is written.
    let _claim = configuration.store.file().map(serve::Claim::on).transpose()?;
    let store = assembly::open_store(&configuration.store).await?;
    let master_key = master_key(&configuration, store.as_ref()).await?;
    let policy = configuration.policy.clone();
    let shared = configuration.shared.as_ref();
    let mail = configuration.mail.as_ref();
    let keyward = Arc::new(assembly::start(policy, store, master_key, shared, mail).await?);
    let router = serve::router(Arc::clone(&keyward))?;

    let scheme = if tls.is_some() { "https" } else { "http" };
    output::line(&format!(
        "keyward serves {} and listens on {scheme}://{}",
        keyward.policy().web.public_url,
        listener.address()
    ))?;
    if let Some(ops) = &ops {
        output::line(&format!("keyward tells metrics on http://{}/metrics", ops.address()))?;
    }
    let policy = serve::ConnectionPolicy::new(&configuration);
    let end = tokio::select! {
        end = serve::run(listener, tls, router, policy, &mut stops) => end,
        () = serve_ops(ops, Arc::clone(&keyward)) => serve::End::Cut { connections: 0 },
        () = keyward.run_background() => serve::End::Cut { connections: 0 },
        () = forward_signals => serve::End::Cut { connections: 0 },
    };
    keyward.flush().await;
    match end {
        serve::End::Drained => tracing::info!("stopped"),
        serve::End::Cut { connections } => tracing::warn!(connections, "stopped, cutting some off"),
    }
    Ok(())
}

/// Serves metrics until dropped, where they are to be served.
async fn serve_ops(listener: Option<serve::Listener>, keyward: Arc<Keyward>) {
    match listener {
        Some(listener) => serve::ops::serve(listener, keyward).await,
        None => std::future::pending().await,
    }
}

/// The master key, made at the first start. A store that holds keys was sealed with another one:
/// a fresh key beside it would open nothing, and look like the one that was lost.
async fn master_key(
    configuration: &Configuration,
    store: &dyn Store,
) -> Result<MasterKey, Failure> {
    let source = &configuration.master_key;
    if let Some(key) = source.find().map_err(Failure::new)? {
        return Ok(key);
    }
    if !store.list_keys().await?.is_empty() {
        return Err(Failure::new(format!(
            "The master key is missing, and the database holds keys that only it opens: put {} \
             back from its backup. If it is lost for good, everyone has to sign in again: move \
             the database away and start anew.",
            source.place()
        )));
    }
    source.find_or_create(&secret::fresh()).map_err(Failure::new)
}

/// Port 0 means any: what depends on the port is read again once it is known.
fn settle(
    configuration: Configuration,
    overrides: &Overrides,
    address: SocketAddr,
) -> Result<Configuration, Failure> {
    if configuration.server.listen == address {
        return Ok(configuration);
    }
    super::configuration(&Overrides { listen: Some(address), ..overrides.clone() })
}

/// One message per SIGTERM or SIGINT, for as long as the future beside it runs.
fn stops() -> Result<(mpsc::Receiver<()>, impl Future<Output = ()>), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = mpsc::channel(2);
    let forward = async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    };
    Ok((receiver, forward))
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use std::path::Path;

    use keyward::store::PostgresSettings;

    use super::*;

    #[test]
    fn a_database_on_this_machine_keeps_half_of_the_cores() {
        let server = |url| PostgresSettings::parse(url, Path::new("")).expect("a URL");
        let local = server("postgres://keyward@localhost/keyward");
        let local = StoreSettings::Postgres(Box::new(local));
        let distant = server("postgres://keyward@db.example.org/keyward?sslmode=disable");
        let distant = StoreSettings::Postgres(Box::new(distant));
        let threads =
            |store, algorithm| [1, 2, 3, 8].map(|cores| threads_beside(store, algorithm, cores));
        assert_eq!(threads(&local, Algorithm::Es256), [1, 1, 1, 4]);
        assert_eq!(threads(&local, Algorithm::Rs256), [1, 2, 3, 8]);
        assert_eq!(threads(&distant, Algorithm::Es256), [1, 2, 3, 8]);
        let file = StoreSettings::Sqlite("keyward.db".into());
        assert_eq!(threads(&file, Algorithm::Es256), [1, 2, 3, 8]);
    }
}
