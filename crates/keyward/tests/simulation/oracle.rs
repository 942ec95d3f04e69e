//! Judges from outside: what answers say against what other answers said, and against what the
//! store holds. It knows the promises and who did what, not the rows of the decision.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use keyward_core::id::SessionId;
use keyward_core::refresh_token::RefreshTokenHash;
use keyward_core::rotation::OnReuse;
use keyward_core::session::{RevocationReason, Session, SessionState};
use keyward_core::time::Timestamp;

use crate::figures::{Figure, Figures};
use crate::machine::Machine;
use crate::message::{Act, Message, Party, Said, Token, short};
use crate::plan::Plan;
use crate::promise::{Breach, Promise};

/// All that is known of a history so far.
#[derive(Debug)]
pub(crate) struct Oracle {
    on_reuse: OnReuse,
    retry_window: Duration,
    sessions: BTreeMap<SessionId, Known>,
    /// The token that was handed out for each that was exchanged, by text.
    successors: BTreeMap<String, Token>,
    /// Why sessions of the user may end from now on, whichever they are.
    reasons_of_user: BTreeSet<&'static str>,
}

/// What is known of a session.
#[derive(Debug, Default)]
struct Known {
    /// The row as it was committed last.
    row: Option<Session>,
    /// When each generation was issued.
    issued_at: BTreeMap<u64, Timestamp>,
    /// Why it may end: somebody has asked for that.
    reasons: BTreeSet<&'static str>,
    /// Whether anybody has copied a token of it.
    is_stolen: bool,
    /// Whether its client came back later than the promise allows for.
    came_too_late: bool,
}

impl Oracle {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            on_reuse: plan.on_reuse,
            retry_window: plan.retry_window(),
            sessions: BTreeMap::new(),
            successors: BTreeMap::new(),
            reasons_of_user: BTreeSet::new(),
        }
    }

    /// Somebody sends this: it may end what it carries, as soon as it arrives and as often.
    pub(crate) fn sent(&mut self, message: &Message) {
        let reason = match message.act {
            Act::Login { .. } => RevocationReason::Superseded,
            Act::Logout => RevocationReason::Logout,
            Act::LogoutAll => return self.may_end_all(RevocationReason::LogoutAll),
            Act::ChangePassword { .. } => {
                return self.may_end_all(RevocationReason::PasswordChanged);
            }
            Act::Refresh | Act::Csrf | Act::Me => return,
        };
        for session in &message.carried {
            self.sessions.entry(*session).or_default().reasons.insert(reason.as_str());
        }
    }

    /// Sessions of the user may end for this reason.
    pub(crate) fn may_end_all(&mut self, reason: RevocationReason) {
        self.reasons_of_user.insert(reason.as_str());
    }

    /// A token of this session was copied.
    pub(crate) fn stolen(&mut self, session: SessionId) {
        self.sessions.entry(session).or_default().is_stolen = true;
    }

    /// The tokens of a session that were exchanged.
    pub(crate) fn spent(&self, session: SessionId) -> Vec<String> {
        let spent = self.successors.iter().filter(|(_, token)| token.session == session);
        spent.map(|(text, _)| text.clone()).collect()
    }

    /// Whether a token comes back within the bounds of the promise: before the proof of its
    /// exchange is eight rotations or the retry window old.
    pub(crate) fn is_in_bounds(&self, token: &Token, now: Timestamp) -> bool {
        let Some(known) = self.sessions.get(&token.session) else { return true };
        let Some(row) = &known.row else { return true };
        let Some(spent_at) = known.issued_at.get(&(token.generation + 1)) else { return true };
        row.generation - token.generation <= 8 && now.since(*spent_at) <= self.retry_window
    }

    /// An honest client comes with a token that is out of bounds.
    pub(crate) fn came_too_late(&mut self, session: SessionId) {
        self.sessions.entry(session).or_default().came_too_late = true;
    }

    /// Whether its client may expect the session to live for as long as nobody ends it.
    pub(crate) fn is_promised(&self, session: SessionId) -> bool {
        let is_touched = |known: &Known| known.is_stolen || known.came_too_late;
        match self.on_reuse {
            OnReuse::Session => !self.sessions.get(&session).is_some_and(is_touched),
            OnReuse::User => !self.sessions.values().any(is_touched),
        }
    }

    /// Compares rows with what they were before: after every call that may have changed them. A
    /// swap concerns its own session only.
    pub(crate) fn check_rows(
        &mut self,
        machine: &Machine<'_>,
        swapped: Option<&Token>,
    ) -> Result<(), Breach> {
        let all = || self.sessions.keys().copied().collect();
        let changed: Vec<SessionId> = swapped.map_or_else(all, |token| vec![token.session]);
        for id in changed {
            if let Some(row) = machine.session(id) {
                self.check_row(row)?;
            }
        }
        Ok(())
    }

    /// After a crash the rows are what they were.
    pub(crate) fn check_restart(&self, machine: &Machine<'_>) -> Result<(), Breach> {
        for (id, known) in &self.sessions {
            let row = machine.session(*id);
            let kept = known.row.is_none() || row == known.row;
            Promise::Durable.holds(kept, || format!("a crash changed session {}", short(*id)))?;
        }
        Ok(())
    }

    /// An answer leaves the service, whether it arrives anywhere or not.
    pub(crate) fn check_answer(
        &mut self,
        machine: &Machine<'_>,
        message: &Message,
        said: &Said,
        figures: &mut Figures,
    ) -> Result<(), Breach> {
        let told = || format!("{message} was answered {said}");
        let is_final = said.status.as_u16() == 401 && FINAL.contains(&said.code.as_str());
        let may_touch = said.status.is_success() || is_final;
        Promise::LosersDoNoHarm.holds(may_touch || !said.touches_cookies(), told)?;
        Promise::KnownAnswers.holds(is_known(message, said), told)?;
        match (message.act, said.status.as_u16()) {
            (Act::Refresh, 200) => self.check_successor(machine, message, said, figures),
            (Act::Refresh, 401) => self.check_refusal(machine, message, said),
            (Act::Login { .. } | Act::ChangePassword { .. }, 200) => {
                let token = said.token.as_ref().ok_or_else(|| {
                    Promise::KnownAnswers.broken(format!("no cookie in an answer: {}", told()))
                })?;
                self.sessions.entry(token.session).or_default();
                self.check_rows(machine, None)?;
                self.check_committed(machine, token)
            }
            (Act::Logout, 200) => self.check_ended(machine, message),
            _ => Ok(()),
        }
    }

    /// A token has one successor, however often it is presented; and it is the store's.
    fn check_successor(
        &mut self,
        machine: &Machine<'_>,
        message: &Message,
        said: &Said,
        figures: &mut Figures,
    ) -> Result<(), Breach> {
        let (Some(presented), Some(token)) = (&message.token, &said.token) else {
            return Err(Promise::KnownAnswers.broken(format!("{message}: {said}")));
        };
        match self.successors.insert(presented.text.clone(), token.clone()) {
            None => figures.count(Figure::Rotations),
            Some(first) => {
                figures.count(Figure::Retries);
                Promise::OneLine.holds(first.text == token.text, || {
                    format!("{presented} has two successors of generation {}", token.generation)
                })?;
            }
        }
        let follows =
            token.session == presented.session && token.generation == presented.generation + 1;
        Promise::OneLine.holds(follows, || format!("{token} follows {presented}"))?;
        self.check_committed(machine, token)
    }

    /// What a client is handed is what the store knows, or has replaced since.
    fn check_committed(&self, machine: &Machine<'_>, token: &Token) -> Result<(), Breach> {
        let row = machine.session(token.session);
        let kept = row.is_some_and(|row| {
            row.generation > token.generation
                || (row.generation == token.generation && row.refresh_token_hash == hash(token))
        });
        Promise::Durable.holds(kept, || format!("{token} left before it was committed"))
    }

    /// Whoever is told that a session is over has a reason to be told so, and the session is over.
    fn check_refusal(
        &self,
        machine: &Machine<'_>,
        message: &Message,
        said: &Said,
    ) -> Result<(), Breach> {
        let told = || format!("{message} was answered {said}");
        if message.from == Party::Stranger {
            return Promise::NoOracle.holds(said.code == "INVALID_REFRESH_TOKEN", told);
        }
        let Some(token) = &message.token else { return Ok(()) };
        let row = machine.session(token.session);
        let is_live = row.is_some_and(|row| row.state(machine.now()) == SessionState::Live);
        let promise = match said.code.as_str() {
            "REFRESH_TOKEN_REUSED" => Promise::TheftIsSeen,
            _ => Promise::LosersDoNoHarm,
        };
        promise.holds(!is_live, || format!("{} and its session lives", told()))?;
        let is_earned = match said.code.as_str() {
            "SESSION_EXPIRED" => true,
            "SESSION_REVOKED" => self.may_have_ended(token.session, &said.reason),
            "REFRESH_TOKEN_REUSED" => !self.is_promised(token.session),
            _ => false,
        };
        Promise::NoHonestLogout.holds(is_earned, told)
    }

    /// Who has signed out is signed out.
    fn check_ended(&self, machine: &Machine<'_>, message: &Message) -> Result<(), Breach> {
        let Some(token) = &message.token else { return Ok(()) };
        let row = machine.session(token.session);
        let has_ended = row.is_none_or(|row| row.state(machine.now()) != SessionState::Live);
        Promise::Durable.holds(has_ended, || format!("{message} was granted and not done"))
    }

    fn check_row(&mut self, row: Session) -> Result<(), Breach> {
        let (id, name) = (row.id, short(row.id));
        let reason = row.revoked.map(|revocation| revocation.reason.as_str());
        let may_have_ended = reason.is_none_or(|reason| self.may_have_ended(id, reason));
        let known = self.sessions.entry(id).or_default();
        if let Some(before) = &known.row {
            Promise::Monotone.holds(row.generation >= before.generation, || {
                format!("{name} went back from {} to {}", before.generation, row.generation)
            })?;
            let stays = before.revoked.is_none() || before.revoked == row.revoked;
            Promise::Monotone.holds(stays, || format!("{name} was revoked, and lives again"))?;
        }
        Promise::NoHonestLogout.holds(may_have_ended, || {
            format!("{name} has ended and nobody asked for it: {}", reason.unwrap_or_default())
        })?;
        let expires_at = row.created_at.plus(ABSOLUTE_TTL);
        let idle_expires_at = row.rotated_at.plus(IDLE_TTL).min(expires_at);
        let lives_on = (row.expires_at, row.idle_expires_at) == (expires_at, idle_expires_at);
        Promise::NoHonestLogout.holds(lives_on, || format!("{name} expires at another time"))?;
        known.issued_at.entry(row.generation).or_insert(row.rotated_at);
        known.row = Some(row);
        Ok(())
    }

    fn may_have_ended(&self, session: SessionId, reason: &str) -> bool {
        let known = self.sessions.get(&session);
        self.reasons_of_user.contains(reason)
            || known.is_some_and(|known| known.reasons.contains(reason))
            || (reason == RevocationReason::ReuseDetected.as_str() && !self.is_promised(session))
    }
}

/// Whether the contract has this answer for this request. A failing store is answered 503; a
/// failure of our own, 500, is never in order.
fn is_known(message: &Message, said: &Said) -> bool {
    let known: &[u16] = match (message.from, message.act) {
        (Party::Stranger, _) => &[401, 429, 503],
        (Party::Browser(_) | Party::Thief, Act::Refresh) => &[200, 401, 409, 429, 503],
        (Party::Browser(_) | Party::Thief, _) => &[200, 401, 503],
    };
    known.contains(&said.status.as_u16())
}

fn hash(token: &Token) -> RefreshTokenHash {
    let digest = digest(&SHA256, token.text.as_bytes());
    RefreshTokenHash::from_bytes(digest.as_ref().try_into().expect("32 bytes"))
}

/// The refusals after which a token can never be exchanged again.
const FINAL: [&str; 4] =
    ["INVALID_REFRESH_TOKEN", "REFRESH_TOKEN_REUSED", "SESSION_EXPIRED", "SESSION_REVOKED"];

/// How long a session lives, by the policy's defaults.
const IDLE_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const ABSOLUTE_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
