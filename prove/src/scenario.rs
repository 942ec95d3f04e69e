//! What is explored: who acts, and within which bounds.

use std::time::Duration;

use keyward_core::rotation::{OnReuse, RotationPolicy};

use crate::state::Event;

/// One world to explore in full.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// The policy that the server runs under.
    pub policy: fn() -> RotationPolicy,
    /// The instants that the clock may move to in turn, in milliseconds after the sign-in.
    pub clock: &'static [i64],
    /// How often a token may be exchanged.
    pub rotations: u8,
    /// Requests that the browser may have under way at once.
    pub tabs: usize,
    /// Where its Idempotency-Keys come from.
    pub keys: Keys,
    /// Aborted requests whose answers reach the cookie jar all the same.
    pub leaks: u8,
    /// Whether the browser may sign in anew.
    pub sign_in: bool,
    /// Exchanges that the server may have begun and not finished.
    pub work_max: usize,
    /// How often a thief may copy what the browser holds.
    pub copies: u8,
    /// Whether a stranger makes tokens up.
    pub stranger: bool,
    /// Whether the session was opened under a MAC key that was stolen and marked so.
    pub stolen_mac_key: bool,
    /// Sessions that the operator may end.
    pub revocations: u8,
    /// Whether the user has a session elsewhere.
    pub other_session: bool,
    /// Whether the store may come back from a backup.
    pub restore: bool,
    /// What has to happen in some run, or the scenario shows nothing.
    pub expects: &'static [Event],
}

/// Where a client's Idempotency-Keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// A fresh one for each rotation, under a lock: the browser's client.
    Fresh,
    /// Derived from the token, without a lock: the workers of a server-rendered app.
    Derived,
}

impl Scenario {
    /// The scenario of this name.
    pub fn find(name: &str) -> Option<Self> {
        SCENARIOS.iter().copied().find(|scenario| scenario.name == name)
    }

    /// The scenario with bounds that a test has time for.
    #[must_use]
    pub fn small(mut self) -> Self {
        // What is about many rotations needs them, and is small.
        if self.rotations <= RETRY_PROOFS_MAX {
            let crowded = self.copies > 0 && (self.work_max > 0 || !self.keeps_proofs());
            self.rotations = self.rotations.min(if crowded { 2 } else { 3 });
        }
        self.copies = self.copies.min(1);
        self.leaks = self.leaks.min(1);
        self.work_max = self.work_max.min(1);
        self
    }

    /// The bounds, in words.
    pub fn bounds(&self) -> String {
        let mut bounds = Vec::new();
        let mut add = |what: &str, count: usize| {
            if count > 0 {
                bounds.push(format!("{what} {count}"));
            }
        };
        add("rotations", self.rotations.into());
        add("tabs or workers", self.tabs);
        add("exchanges at work", self.work_max);
        add("copies by a thief", self.copies.into());
        add("leaking aborts", self.leaks.into());
        add("revocations", self.revocations.into());
        add("sign-ins anew", self.sign_in.into());
        add("restores", self.restore.into());
        add("instants of the clock", self.clock.len());
        bounds.join(", ")
    }

    /// Whether a proof that was stored once counts in every state after it.
    pub(crate) fn keeps_proofs(&self) -> bool {
        self.clock.is_empty() && !self.restore && self.rotations <= RETRY_PROOFS_MAX
    }
}

/// One client and the network; the others say what is different.
const PLAIN: Scenario = Scenario {
    name: "network",
    about: "one client, a network that loses, repeats and delays, a server that crashes",
    policy: RotationPolicy::default,
    clock: &[],
    rotations: 8,
    tabs: 2,
    keys: Keys::Fresh,
    leaks: 0,
    sign_in: false,
    work_max: 2,
    copies: 0,
    stranger: false,
    stolen_mac_key: false,
    revocations: 1,
    other_session: false,
    restore: false,
    expects: &[Event::Rotate, Event::Retry, Event::Late, Event::RaceLost, Event::Interrupted],
};

/// Everything that is explored.
pub const SCENARIOS: &[Scenario] = &[
    PLAIN,
    Scenario {
        name: "leaking-aborts",
        about: "answers of aborted requests still reach the cookie jar, in order",
        rotations: 8,
        leaks: 2,
        work_max: 2,
        expects: &[Event::Rotate, Event::Retry, Event::Leaked],
        ..PLAIN
    },
    Scenario {
        name: "nine-rotations",
        about: "requests so late that other proofs have taken the place of theirs",
        rotations: 12,
        work_max: 1,
        revocations: 0,
        leaks: 1,
        expects: &[Event::Rotate, Event::Retry, Event::Late],
        ..PLAIN
    },
    Scenario {
        name: "sign-in-anew",
        about: "the browser signs in again while requests of the old session are under way",
        rotations: 5,
        sign_in: true,
        expects: &[Event::Rotate, Event::Retry, Event::Revoked, Event::SignedInAnew],
        ..PLAIN
    },
    Scenario {
        name: "server-rendered",
        about: "three workers of an app refresh for one browser, with derived keys and no lock",
        rotations: 6,
        tabs: 3,
        keys: Keys::Derived,
        expects: &[Event::Rotate, Event::Retry, Event::Late, Event::CookieKept],
        ..PLAIN
    },
    Scenario {
        name: "theft",
        about: "a thief copies the cookie again and again, with and without the pending key",
        rotations: 6,
        copies: 3,
        work_max: 0,
        revocations: 0,
        expects: &[Event::Rotate, Event::Retry, Event::Late, Event::Reuse, Event::TheftSeen],
        ..PLAIN
    },
    Scenario {
        name: "theft-in-a-race",
        about: "a thief copies once, and exchanges overtake each other in the server",
        rotations: 5,
        copies: 1,
        work_max: 2,
        expects: &[Event::Late, Event::Reuse, Event::TheftSeen, Event::RaceLost, Event::Revoked],
        ..PLAIN
    },
    Scenario {
        name: "theft-and-sign-in",
        about: "a thief copies from a browser that signs in again",
        rotations: 3,
        copies: 1,
        work_max: 1,
        sign_in: true,
        expects: &[Event::Late, Event::Reuse, Event::TheftSeen, Event::SignedInAnew],
        ..PLAIN
    },
    Scenario {
        name: "race-window",
        about: "a thief, and a race window of five seconds",
        policy: race_window,
        clock: &[0, 3_000, 6_000],
        rotations: 4,
        copies: 1,
        work_max: 0,
        revocations: 0,
        expects: &[Event::Race, Event::Reuse, Event::TheftSeen],
        ..PLAIN
    },
    Scenario {
        name: "timeouts",
        about: "the retry window, the idle and the absolute timeout pass",
        clock: &[0, 12 * HOUR, 25 * HOUR, 40 * HOUR, 8 * 24 * HOUR, 31 * 24 * HOUR],
        rotations: 6,
        work_max: 2,
        revocations: 0,
        expects: &[Event::Rotate, Event::Retry, Event::Late, Event::Expired],
        ..PLAIN
    },
    Scenario {
        name: "clock-steps-back",
        about: "the clock of the server is set back between exchanges",
        clock: &[HOUR, 0, 2 * HOUR, HOUR],
        rotations: 6,
        work_max: 2,
        revocations: 0,
        expects: &[Event::Rotate, Event::Retry, Event::Late],
        ..PLAIN
    },
    Scenario {
        name: "whole-user",
        about: "reuse ends every session of the user",
        policy: whole_user,
        rotations: 4,
        copies: 1,
        work_max: 1,
        other_session: true,
        expects: &[Event::Reuse, Event::TheftSeen, Event::UserEnded],
        ..PLAIN
    },
    Scenario {
        name: "stranger",
        about: "somebody knows the session's id and makes tokens up",
        rotations: 8,
        work_max: 1,
        stranger: true,
        expects: &[Event::Rotate, Event::Junk],
        ..PLAIN
    },
    Scenario {
        name: "stolen-mac-key",
        about: "the key that tagged the session's first token was stolen, and marked so",
        rotations: 8,
        work_max: 1,
        stranger: true,
        stolen_mac_key: true,
        expects: &[Event::Rotate, Event::Retry, Event::Junk],
        ..PLAIN
    },
    Scenario {
        name: "restored-backup",
        about: "the store loses committed writes, and a thief is there to use it",
        rotations: 3,
        copies: 1,
        work_max: 0,
        restore: true,
        expects: &[Event::Rotate, Event::Reuse, Event::Rollback],
        ..PLAIN
    },
];

fn race_window() -> RotationPolicy {
    RotationPolicy { race_window: Duration::from_secs(5), ..RotationPolicy::default() }
}

fn whole_user() -> RotationPolicy {
    RotationPolicy { on_reuse: OnReuse::User, ..RotationPolicy::default() }
}

/// Up to so many rotations, no proof has to make room for another one.
const RETRY_PROOFS_MAX: u8 = keyward_core::session::RETRY_PROOFS_MAX as u8;

const HOUR: i64 = 60 * 60 * 1000;
