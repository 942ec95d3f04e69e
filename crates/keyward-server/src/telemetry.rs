//! The log: one line per event on stderr, for people or as JSON.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

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
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => {
            log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|error| Failure::new(format!("The log cannot be started ({error}).")))
}
