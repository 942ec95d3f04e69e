//! What befalls a history: time, thieves and strangers, operators, faults and crashes.

use std::time::Duration;

use keyward::store::{Revoke, RevokeScope};
use keyward_core::session::RevocationReason;

use crate::figures::Figure;
use crate::history::History;
use crate::message::{Act, Message, Party, short};
use crate::network::Stage;
use crate::planted::{Bug, is};
use crate::promise::{Breach, Promise};
use crate::stepped_store::{Fault, Point, Trouble, When, changes_sessions};

impl History<'_> {
    /// What the next step of a request meets.
    pub(crate) fn trouble(&mut self) -> Trouble {
        let fails = self.random.percent(self.plan.faults);
        let fault = fails.then(|| self.random.pick(&[Fault::Fails, Fault::AnswerLost]));
        Trouble {
            fault,
            snapshot: self.random.percent(self.plan.snapshots),
            power_cut: self.random.percent(self.plan.crashes),
            stuck: false,
        }
    }

    /// Time passes, mostly little; now and then the clock is set back.
    pub(crate) fn wait(&mut self) -> Result<(), Breach> {
        let spans = [
            (40, 50),
            (30, 5 * SECOND),
            (15, 20 * SECOND),
            (10, HOUR),
            (2, DAY),
            (2, 6 * DAY),
            (1, 40 * DAY),
        ];
        let span = self.random.weighted(&spans).expect("they weigh something");
        let millis = self.random.below(span) + 1;
        if self.random.percent(5) {
            let back = Duration::from_millis(millis.min(2 * SECOND));
            self.note(|_| format!("the clock is set back by {back:?}"));
            self.machine.set_back(back);
            return Ok(());
        }
        self.advance(Duration::from_millis(millis));
        self.miss_deadlines()
    }

    /// Some of the requests whose deadline has passed are cut off where they stand; the others at
    /// their next step, when the store has done what they asked for.
    fn miss_deadlines(&mut self) -> Result<(), Breach> {
        for index in 0..self.passages.len() {
            let waits = matches!(self.passages[index].stage, Stage::Arrived { at: Some(_), .. });
            if waits && self.random.percent(50) {
                self.step(index, Trouble { stuck: true, ..Trouble::default() })?;
            }
        }
        Ok(())
    }

    pub(crate) fn advance(&mut self, span: Duration) {
        self.note(|_| format!("{span:?} pass"));
        self.machine.advance(span);
    }

    /// The thief takes a copy of all cookies, sometimes of the pending key too.
    pub(crate) fn copy_jar(&mut self) {
        let browser = self.random.pick(&[0, self.browsers.len() - 1]);
        let with_key = self.random.percent(30);
        let Some(token) = self.browsers[browser].jar.usable_token() else { return };
        self.figures.count(Figure::TokensCopied);
        self.note(|_| format!("the thief copies {token} (key: {with_key})"));
        self.oracle.stolen(token.session);
        self.thief.copy(&self.browsers[browser], with_key);
    }

    /// The thief presents the token of the copy.
    pub(crate) fn steal(&mut self) {
        let id = self.next_id();
        let message = if self.random.percent(80) {
            self.thief.refresh(id)
        } else {
            self.thief.refresh_without_key(id)
        };
        self.note(|_| format!("sends {message}"));
        self.post(message);
    }

    /// A stranger presents a token that is like a real one but for a bit.
    pub(crate) fn guess(&mut self) -> Result<(), Breach> {
        let mut jar = self.browsers[0].jar.clone();
        let Some(token) = jar.usable_token() else { return Ok(()) };
        let at = self.random.below(73);
        jar.forge(token.altered(usize::try_from(at).expect("a place")));
        let message = Message::new(self.next_id(), Party::Stranger, Act::Refresh, &jar, None);
        let before = self.machine.session(token.session);
        self.call(message)?;
        self.figures.count(Figure::JunkRefused);
        let same = self.machine.session(token.session) == before;
        Promise::NoOracle.holds(same, || format!("junk has changed {}", short(token.session)))
    }

    /// The operator ends a session, or all of the user's.
    pub(crate) fn revoke(&mut self) -> Result<(), Breach> {
        let token = self.browsers[0].jar.usable_token();
        let Some(token) = token.filter(|_| self.random.percent(20)) else { return Ok(()) };
        let scope = match self.random.below(2) {
            0 => RevokeScope::Session(token.session),
            _ => RevokeScope::User(self.machine.user),
        };
        self.note(|_| format!("the operator revokes {scope:?}"));
        self.oracle.may_end_all(RevocationReason::Admin);
        self.machine.revoke(Revoke { scope, reason: RevocationReason::Admin, noticed: None });
        let is_live = self.is_live(token.session);
        Promise::Durable.holds(!is_live, || format!("{token} outlives its revocation"))?;
        self.oracle.check_rows(&self.machine, None)
    }

    /// The power fails between two steps.
    pub(crate) fn crash(&mut self) -> Result<(), Breach> {
        let is_between = self.passages.iter().any(|passage| {
            let after = |at: &Point| at.when == When::After && changes_sessions(at.call);
            matches!(&passage.stage, Stage::Arrived { at: Some(at), .. } if after(at))
        });
        if is_between {
            self.figures.count(Figure::CrashesBeforeAnswer);
        }
        let loses = is(self.bug, Bug::LostCommit).then_some(self.log_before);
        self.restart(loses.filter(|bytes| *bytes > 0))
    }

    /// The power fails while the store writes: the log ends somewhere in what was to be committed.
    pub(crate) fn crash_in_commit(&mut self) -> Result<(), Breach> {
        self.figures.count(Figure::CrashesInCommit);
        let grown = self.machine.log_bytes() - self.log_before;
        let bytes = self.log_before + self.random.below(grown);
        self.restart(Some(bytes))
    }

    fn restart(&mut self, log_bytes: Option<u64>) -> Result<(), Breach> {
        self.figures.count(Figure::Crashes);
        self.note(|_| format!("crash (log cut: {})", log_bytes.is_some()));
        self.passages.retain(|passage| !passage.is_at_service());
        self.machine.crash(log_bytes);
        self.log_before = self.machine.log_bytes();
        self.oracle.check_restart(&self.machine)
    }
}

const SECOND: u64 = 1000;
const HOUR: u64 = 60 * 60 * SECOND;
const DAY: u64 = 24 * HOUR;
