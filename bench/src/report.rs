//! Collects figures over the rounds and prints their medians beside their targets.

use std::io::Write as _;

use serde_json::json;

/// Figures by name, in the order in which they first came.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<(String, Vec<f64>)>,
}

impl Report {
    /// Adds one round's figure.
    pub(crate) fn add(&mut self, name: &str, value: f64) {
        match self.figures.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.figures.push((name.to_owned(), vec![value])),
        }
    }

    /// Says on standard error what is going on.
    pub(crate) fn progress(&self, text: &str) {
        // Progress that cannot be shown is no reason to stop measuring.
        let _shown = writeln!(std::io::stderr(), "… {text}");
    }

    /// Prints medians, least and greatest values, and whether each target is met.
    pub(crate) fn print(mut self, as_json: bool) {
        if !as_json {
            line(&format!("{:<44} {:>10} {:>22}  target", "figure", "median", "least – greatest"));
        }
        for (name, values) in &mut self.figures {
            let middle = median(values);
            let (least, greatest) = (values[0], values[values.len() - 1]);
            let target = TARGETS.iter().find(|target| target.name == name);
            if as_json {
                let met = target.map(|target| target.is_met(middle));
                line(
                    &json!({ "figure": name, "median": middle, "least": least,
                    "greatest": greatest, "rounds": values.len(), "met": met })
                    .to_string(),
                );
                continue;
            }
            let verdict = target.map_or(String::new(), |target| target.verdict(middle));
            let range = format!("{least:.3} – {greatest:.3}");
            line(&format!("{name:<44} {middle:>10.3} {range:>22}  {verdict}"));
        }
    }
}

/// The middle one; sorts them.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What a median has to stay above or below.
struct Target {
    name: &'static str,
    bound: Bound,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(&self, median: f64) -> bool {
        match self.bound {
            Bound::AtLeast(least) => median >= least,
            Bound::AtMost(most) => median <= most,
        }
    }

    fn verdict(&self, median: f64) -> String {
        let met = if self.is_met(median) { "met" } else { "NOT MET" };
        match self.bound {
            Bound::AtLeast(least) => format!("at least {least}: {met}"),
            Bound::AtMost(most) => format!("at most {most}: {met}"),
        }
    }
}

const TARGETS: &[Target] = &[
    Target { name: "refresh / bare answer, CPU", bound: Bound::AtMost(9.0) },
    Target { name: "me / bare answer, CPU", bound: Bound::AtMost(4.0) },
    Target { name: "login / Argon2id alone", bound: Bound::AtLeast(0.95) },
    Target { name: "refresh p99 beside sign-ins / idle", bound: Bound::AtMost(10.0) },
    Target { name: "login, p", bound: Bound::AtLeast(0.01) },
    Target { name: "forgot, p", bound: Bound::AtLeast(0.01) },
    Target { name: "register, p", bound: Bound::AtLeast(0.01) },
    Target { name: "resident, empty, MiB", bound: Bound::AtMost(30.0) },
    Target { name: "resident, filled / empty", bound: Bound::AtMost(1.2) },
    Target { name: "start until ready, empty, ms", bound: Bound::AtMost(150.0) },
    Target { name: "start until ready, filled / empty", bound: Bound::AtMost(1.5) },
    Target { name: "refresh / bare rotation", bound: Bound::AtLeast(0.8) },
    Target { name: "shared / own, 1 conn., p99", bound: Bound::AtMost(1.1) },
    Target { name: "shared / own, 256 conn., per second", bound: Bound::AtLeast(1.5) },
    Target { name: "refresh p50, many / few sessions", bound: Bound::AtMost(1.2) },
    Target { name: "table and indexes, after / before", bound: Bound::AtMost(1.3) },
    Target { name: "follower, with Valkey, p99 ms", bound: Bound::AtMost(100.0) },
    Target { name: "follower, without Valkey, p99 ms", bound: Bound::AtMost(1000.0) },
    Target { name: "/me, with Valkey, p99 ms", bound: Bound::AtMost(100.0) },
    Target { name: "/me, without Valkey, p99 ms", bound: Bound::AtMost(1000.0) },
    Target { name: "100 verifiers, the last one, p99 ms", bound: Bound::AtMost(100.0) },
];

/// Prints one line; a closed pipe is the reader's business.
pub(crate) fn line(text: &str) {
    let _shown = writeln!(std::io::stdout(), "{text}");
}
