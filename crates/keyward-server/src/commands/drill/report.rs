//! What a drill found, for people and for machines.

use std::time::Duration;

use serde_json::{Value, json};

use super::evidence::Evidence;
use super::rehearsals::{End, Rehearsal};
use super::stage::Trace;
use crate::output;

/// A rehearsal that was played.
pub(super) struct Performance {
    pub(super) rehearsal: &'static Rehearsal,
    pub(super) trace: Trace,
    pub(super) evidence: Vec<Evidence>,
}

/// What is to be said of a rehearsal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It went as it has to, and the theft is in the audit log.
    Noticed,
    /// It went as it has to, and there was nothing but the attempt to notice.
    Refused,
    /// An audit event that has to tell of it is missing.
    Unnoticed,
    /// Every event is there, but something else was answered than has to be.
    Differs,
}

impl Verdict {
    /// Whether the service did its part.
    pub(super) const fn is_good(self) -> bool {
        matches!(self, Self::Noticed | Self::Refused)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Noticed => "noticed",
            Self::Refused => "refused",
            Self::Unnoticed => "UNNOTICED",
            Self::Differs => "DIFFERS",
        }
    }
}

impl Performance {
    /// The types of the events that are expected and not found.
    pub(super) fn missing(&self) -> impl Iterator<Item = &'static str> {
        let found = |name: &str| self.evidence.iter().any(|evidence| evidence.name == name);
        self.rehearsal.events.iter().copied().filter(move |name| !found(name))
    }

    /// What is to be said of it.
    pub(super) fn verdict(&self) -> Verdict {
        if self.missing().next().is_some() {
            return Verdict::Unnoticed;
        }
        if self.trace.happened != self.expected() {
            return Verdict::Differs;
        }
        match self.rehearsal.end {
            End::SessionEnds | End::StaysEnded => Verdict::Noticed,
            End::Unharmed => Verdict::Refused,
        }
    }

    /// What has to be answered: that which was, where it is one of what may be.
    fn expected(&self) -> &'static [&'static str] {
        let expected = self.rehearsal.expected;
        let met = expected.iter().find(|answers| self.trace.happened == **answers);
        met.or(expected.first()).copied().unwrap_or_default()
    }

    /// What went wrong, in one sentence.
    pub(super) fn complaint(&self) -> String {
        let missing: Vec<&str> = self.missing().collect();
        let missing = match missing.as_slice() {
            [] => String::new(),
            missing => format!("; the audit log has no {}", missing.join(" and no ")),
        };
        format!(
            "{} {}: expected {}; happened {}{missing}.",
            self.rehearsal.name,
            self.verdict().as_str(),
            self.expected().join(", "),
            self.trace.happened.join(", "),
        )
    }

    /// The events that tell it, in the order of the table of rehearsals.
    fn events(&self) -> impl Iterator<Item = &Evidence> {
        let of = |name: &'static str| self.evidence.iter().filter(move |found| found.name == name);
        self.rehearsal.events.iter().flat_map(move |name| of(name))
    }

    /// What fits beside each other. The answers are in the JSON, and where they are not those that
    /// have to be, in the complaint.
    fn row(&self) -> [String; 5] {
        [
            self.rehearsal.name.to_owned(),
            self.rehearsal.end.as_str().to_owned(),
            self.verdict().as_str().to_owned(),
            output::cell(self.trace.refused_after.map(milliseconds)),
            output::cell(self.trace.access_refused_after.map(milliseconds)),
        ]
    }

    /// The events with their ids.
    fn note(&self) -> String {
        let events = self.events().map(|event| format!("{} {}", event.name, event.id));
        events.collect::<Vec<_>>().join(", ")
    }

    fn object(&self) -> Value {
        let events: Vec<Value> = self
            .events()
            .map(|event| json!({ "id": event.id, "type": event.name, "at": event.at }))
            .collect();
        let millis = |elapsed: Duration| elapsed.as_secs_f64() * 1000.0;
        json!({
            "name": self.rehearsal.name,
            "attack": self.rehearsal.attack,
            "end": self.rehearsal.end.as_str(),
            "verdict": self.verdict().as_str(),
            "expected": self.expected(),
            "happened": self.trace.happened,
            "refusedAfterMs": self.trace.refused_after.map(millis),
            "accessRefusedAfterMs": self.trace.access_refused_after.map(millis),
            "events": events,
            "missingEvents": self.missing().collect::<Vec<_>>(),
        })
    }
}

/// Writes the table, with the audit events below each row.
pub(super) fn table(performances: &[Performance]) -> std::io::Result<()> {
    let rows: Vec<[String; 5]> = performances.iter().map(Performance::row).collect();
    let notes: Vec<String> = performances.iter().map(Performance::note).collect();
    output::annotated_table(HEADINGS, &rows, &notes)
}

/// Writes the document.
pub(super) fn json(url: &str, email: &str, performances: &[Performance]) -> std::io::Result<()> {
    let passed = performances.iter().all(|performance| performance.verdict().is_good());
    let rehearsals: Vec<Value> = performances.iter().map(Performance::object).collect();
    output::json_lines([json!({
        "url": url,
        "account": email,
        "passed": passed,
        "rehearsals": rehearsals,
    })])
}

fn milliseconds(elapsed: Duration) -> String {
    format!("{:.1} ms", elapsed.as_secs_f64() * 1000.0)
}

const HEADINGS: [&str; 5] = ["REHEARSAL", "EXPECTED", "VERDICT", "REFUSED", "ACCESS ENDS"];
