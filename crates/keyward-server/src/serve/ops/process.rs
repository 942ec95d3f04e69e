//! What the process takes of its machine, by the names that clients of Prometheus give it
//! everywhere. Linux tells; other systems say less.

use std::fs;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// The metrics, in the text format of OpenMetrics.
pub(super) fn metrics() -> String {
    let mut registry = Registry::with_prefix("process");
    let stat = fs::read_to_string("/proc/self/stat").ok();
    if let Some(stat) = stat.as_deref().and_then(Stat::parse) {
        let help = "Processor time that the process has taken";
        registry.register("cpu_seconds", help, ConstCounter::new(secs(stat.cpu_ticks)));
        let resident = ConstGauge::new(stat.resident_pages * page_size() as u64);
        registry.register("resident_memory_bytes", "Memory that the process has", resident);
        if let Some(booted_at) = booted_at() {
            let started_at = ConstGauge::new(booted_at + secs(stat.started_ticks));
            let help = "When the process was started, as Unix time";
            registry.register("start_time_seconds", help, started_at);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let help = "Files and sockets that are open";
        registry.register("open_fds", help, ConstGauge::new(open.count() as u64));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        let help = "Files and sockets that may be open";
        registry.register("max_fds", help, ConstGauge::new(most));
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _written = encode_registry(&mut text, &registry);
    text
}

/// What is taken from `/proc/self/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    /// Since the system was booted.
    started_ticks: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program stands between parentheses, and may hold some itself.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The manual counts from 1, and the first field here is its third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            started_ticks: field(22)?,
            resident_pages: field(24)?,
        })
    }
}

/// As Unix time.
fn booted_at() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn secs(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let text =
            "7 (a) R (b) S 1 7 7 0 -1 4194304 102 0 0 0 30 12 0 0 20 0 4 0 4538 2998272 393 1";
        let stat = Stat { cpu_ticks: 42, started_ticks: 4538, resident_pages: 393 };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("7 (short) S 1"), None);
    }
}
