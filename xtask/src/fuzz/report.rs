//! What libFuzzer says of a run, and how it is told.

use serde_json::json;

/// What came of one target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) target: String,
    /// How many inputs were run.
    executions: u64,
    /// Edges of the program that were taken.
    edges: u64,
    /// Inputs that each reach something of their own.
    inputs: u64,
    /// The most memory that was held, in MiB.
    resident_mib: u64,
    /// The slowest input, in seconds.
    slowest_secs: u64,
    /// The file with the input that broke a promise.
    pub(crate) finding: Option<String>,
}

impl Outcome {
    pub(crate) fn new(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            executions: 0,
            edges: 0,
            inputs: 0,
            resident_mib: 0,
            slowest_secs: 0,
            finding: None,
        }
    }

    /// Takes in a line of libFuzzer's.
    pub(crate) fn add(&mut self, line: &str) {
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.finding = Some(path.to_owned());
        }
        if let Some(edges) = number_after(line, "cov: ") {
            self.edges = edges;
            self.inputs = number_after(line, "corp: ").unwrap_or(self.inputs);
            self.executions = number_after(line, "#").unwrap_or(self.executions);
        }
        for (name, count) in [
            ("stat::number_of_executed_units:", &mut self.executions),
            ("stat::slowest_unit_time_sec:", &mut self.slowest_secs),
            ("stat::peak_rss_mb:", &mut self.resident_mib),
        ] {
            *count = number_after(line, name).unwrap_or(*count);
        }
    }
}

/// For people.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:<16} {:>12} {:>8} {:>8} {:>8} {:>10}  finding",
        "target", "executions", "edges", "inputs", "MiB", "slowest, s"
    );
    for outcome in outcomes {
        let Outcome { target, executions, edges, inputs, resident_mib, .. } = outcome;
        let (slowest, finding) = (outcome.slowest_secs, outcome.finding.as_deref());
        text.push_str(&format!(
            "\n{target:<16} {executions:>12} {edges:>8} {inputs:>8} {resident_mib:>8} \
             {slowest:>10}  {}",
            finding.unwrap_or("none")
        ));
    }
    text
}

/// For machines, one object a line.
pub(crate) fn json(outcomes: &[Outcome]) -> String {
    let line = |outcome: &Outcome| {
        let Outcome { target, executions, edges, inputs, resident_mib, slowest_secs, finding } =
            outcome;
        json!({
            "target": target, "executions": executions, "edges": edges, "inputs": inputs,
            "residentMib": resident_mib, "slowestSecs": slowest_secs, "finding": finding,
        })
        .to_string()
    };
    outcomes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The number that follows a word.
fn number_after(line: &str, word: &str) -> Option<u64> {
    let rest = line.split_once(word)?.1.trim_start();
    let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..length].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: &[&str]) -> Outcome {
        let mut outcome = Outcome::new("email");
        for line in lines {
            outcome.add(line);
        }
        outcome
    }

    #[test]
    fn the_last_line_counts() {
        let outcome = outcome(&[
            "#512\tpulse  cov: 50 ft: 53 corp: 9/286b lim: 17 exec/s: 256 rss: 36Mb",
            "#4096\tDONE   cov: 87 ft: 129 corp: 23/866b lim: 128 exec/s: 4513 rss: 36Mb",
            "stat::number_of_executed_units: 4097",
            "stat::slowest_unit_time_sec:    2",
            "stat::peak_rss_mb:              37",
        ]);
        let expected = json!({
            "target": "email", "executions": 4097, "edges": 87, "inputs": 23, "residentMib": 37,
            "slowestSecs": 2, "finding": null,
        });
        assert_eq!(json(&[outcome]), expected.to_string());
    }

    #[test]
    fn a_finding_is_named() {
        let outcome = outcome(&[
            "#512\tNEW    cov: 50 ft: 53 corp: 9/286b lim: 17 exec/s: 256 rss: 36Mb L: 1/2",
            "artifact_prefix='x/email-'; Test unit written to x/email-crash-da39a3ee",
        ]);
        let table = table(&[outcome]);
        let expected = ["email", "512", "50", "9", "0", "0", "x/email-crash-da39a3ee"];
        let row: Vec<_> = table.lines().nth(1).expect("a row").split_whitespace().collect();
        assert_eq!(row, expected);
    }
}
