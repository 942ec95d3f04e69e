//! The log: one line per event on stderr, for people or as JSON.

use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;
use crate::failure::Failure;

/// Starts the log. `level` is what `KEYWARD_LOG` says: a level such as `info`, or directives such
/// as `info,keyward=debug`.
pub(crate) fn start(format: LogFormat, level: Option<&str>) -> Result<(), Failure> {
    let level = level.unwrap_or("info");
    let unknown = |why: &str| {
        Failure::new(format!("KEYWARD_LOG is no filter ({why}); set it like info or debug."))
    };
    // A lone word that is no level would be read as a target of that name, and silence the rest.
    if !level.contains(['=', ',']) && level.parse::<LevelFilter>().is_err() {
        return Err(unknown(level));
    }
    let filter = EnvFilter::builder().parse(level).map_err(|error| unknown(&error.to_string()))?;
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = match format {
        LogFormat::Text => {
            log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed()
        }
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let heard = filter_fn(|metadata| metadata.target() != REPEATS);
    let started = tracing_subscriber::registry().with(log).with(filter).with(heard).try_init();
    started.map_err(|error| Failure::new(format!("The log cannot be started ({error}).")))
}

/// The pool of connections warns of each that ends. What that means for a request, its store says
/// once, in words for the operator.
const REPEATS: &str = "deadpool.postgres";
