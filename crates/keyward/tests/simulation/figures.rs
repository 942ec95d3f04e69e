//! What happened, counted: a run in which nothing went wrong has proved nothing.

use std::fmt;

/// How often each thing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures([u64; ALL.len()]);

/// Something worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Histories,
    Requests,
    Rotations,
    Retries,
    Conflicts,
    ReusesDetected,
    RevokedAnswers,
    ExpiredAnswers,
    LimitedAnswers,
    UnavailableAnswers,
    MessagesLost,
    RequestsDoubled,
    RequestsAborted,
    ArrivedAfterAbort,
    DeadlinesMissed,
    SnapshotsRead,
    Crashes,
    CrashesBeforeAnswer,
    CrashesInCommit,
    TokensCopied,
    TheftsSeen,
    JunkRefused,
    SignIns,
    SignOuts,
    PasswordChanges,
    CameTooLate,
    ProvedSignedIn,
}

impl Figures {
    pub(crate) fn count(&mut self, figure: Figure) {
        self.0[figure as usize] += 1;
    }

    pub(crate) fn of(&self, figure: Figure) -> u64 {
        self.0[figure as usize]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    /// What happened less than once in `histories_each` histories.
    pub(crate) fn too_rare(&self, histories_each: u64) -> Vec<Figure> {
        let enough = self.of(Figure::Histories) / histories_each;
        ALL.iter().map(|(figure, _)| *figure).filter(|figure| self.of(*figure) < enough).collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (figure, name) in ALL {
            writeln!(f, "{name:<44}{:>10}", self.of(figure))?;
        }
        Ok(())
    }
}

const ALL: [(Figure, &str); 27] = [
    (Figure::Histories, "histories"),
    (Figure::Requests, "requests that arrived"),
    (Figure::Rotations, "tokens exchanged"),
    (Figure::Retries, "retries answered with the same successor"),
    (Figure::Conflicts, "presented late: 409"),
    (Figure::ReusesDetected, "presented again without proof: session ended"),
    (Figure::RevokedAnswers, "told that the session was revoked"),
    (Figure::ExpiredAnswers, "told that the session has expired"),
    (Figure::LimitedAnswers, "told to wait: 429"),
    (Figure::UnavailableAnswers, "told that the store failed: 503"),
    (Figure::MessagesLost, "requests, connections and answers lost"),
    (Figure::RequestsDoubled, "requests that came twice"),
    (Figure::RequestsAborted, "requests given up"),
    (Figure::ArrivedAfterAbort, "requests that arrived after that"),
    (Figure::DeadlinesMissed, "requests cut off by their deadline"),
    (Figure::SnapshotsRead, "swaps on a snapshot"),
    (Figure::Crashes, "crashes"),
    (Figure::CrashesBeforeAnswer, "crashes between commit and answer"),
    (Figure::CrashesInCommit, "crashes in the middle of a commit"),
    (Figure::TokensCopied, "cookie jars copied"),
    (Figure::TheftsSeen, "thefts that ended for both"),
    (Figure::JunkRefused, "altered tokens refused"),
    (Figure::SignIns, "sign-ins"),
    (Figure::SignOuts, "sign-outs"),
    (Figure::PasswordChanges, "password changes"),
    (Figure::CameTooLate, "clients that came back too late"),
    (Figure::ProvedSignedIn, "clients still signed in at the end"),
];
