//! The end of a history: everybody comes back once more, and what was promised must show.

use std::time::Duration;

use keyward_core::id::SessionId;
use keyward_core::rotation::OnReuse;
use keyward_core::session::{RevocationReason, SessionState};

use crate::figures::Figure;
use crate::history::History;
use crate::message::{Act, Jar, Message, Party, Said, short};
use crate::promise::{Breach, Promise};

impl History<'_> {
    /// Honest clients get on, thieves and victims lose what they share, spent tokens are dead.
    pub(crate) fn settle(&mut self) -> Result<(), Breach> {
        self.oracle.check_rows(&self.machine, None)?;
        for browser in 0..self.browsers.len() {
            self.expect_signed_in(browser)?;
        }
        self.expect_theft_seen()?;
        for browser in 0..self.browsers.len() {
            self.expect_spent_tokens_dead(browser)?;
        }
        self.oracle.check_rows(&self.machine, None)
    }

    /// Whoever was signed in, and has not been signed out by time or decision, is still.
    fn expect_signed_in(&mut self, browser: usize) -> Result<(), Breach> {
        self.expire(browser);
        let Some(session) = self.browsers[browser].signed_in else { return Ok(()) };
        if !self.oracle.is_promised(session) || !self.is_live(session) {
            return Ok(());
        }
        for _ in 0..2 {
            let before = self.browsers[browser].jar.usable_token().ok_or_else(|| {
                let lost = format!("browser {browser} has lost the cookie of {}", short(session));
                Promise::LosersDoNoHarm.broken(lost)
            })?;
            let said = self.refresh(browser)?;
            if !self.oracle.is_promised(session) {
                return Ok(());
            }
            let got_on = said.token.is_some_and(|token| {
                token.session == before.session && token.generation > before.generation
            });
            Promise::NoHonestLogout
                .holds(got_on, || format!("browser {browser} got {} {}", said.status, said.code))?;
        }
        self.figures.count(Figure::ProvedSignedIn);
        Ok(())
    }

    /// Owner and thief take turns; neither keeps anything of a line that both have used.
    fn expect_theft_seen(&mut self) -> Result<(), Breach> {
        let Some(stolen) = self.thief.jar.usable_token() else { return Ok(()) };
        let session = stolen.session;
        let owner = (0..self.browsers.len()).find(|browser| {
            let token = self.browsers[*browser].jar.usable_token();
            token.is_some_and(|token| token.session == session)
        });
        let Some(owner) = owner else { return Ok(()) };
        for _ in 0..2 {
            self.pass_race_window();
            if self.browsers[owner].jar.usable_token().is_some() {
                self.refresh(owner)?;
            }
            self.pass_race_window();
            self.refresh_as_thief()?;
        }
        let Some(row) = self.machine.session(session) else { return Ok(()) };
        if row.state(self.machine.now()) == SessionState::Expired {
            return Ok(());
        }
        let seen = row.revoked.is_some();
        Promise::TheftIsSeen.holds(seen, || format!("{} goes on for two", short(session)))?;
        let id = self.next_id();
        let asked = self.browsers[owner].ask_who_i_am(id);
        self.expect_refused(asked)?;
        let id = self.next_id();
        let asked = self.thief.ask_who_i_am(id);
        self.expect_refused(asked)?;
        let reason = row.revoked.map(|revocation| revocation.reason);
        if reason != Some(RevocationReason::ReuseDetected) {
            return Ok(());
        }
        self.figures.count(Figure::TheftsSeen);
        // Where reuse ends all sessions of the user, another of them may have been the reused one.
        let is_told = self.plan.on_reuse == OnReuse::User
            || self.machine.has_recorded("session.reuse_detected", session);
        Promise::TheftIsSeen.holds(is_told, || "the audit log knows nothing of it".to_owned())
    }

    /// A token that was exchanged comes back without a key: it is not exchanged again, and nothing
    /// of its line works any more.
    fn expect_spent_tokens_dead(&mut self, browser: usize) -> Result<(), Breach> {
        let Some(token) = self.browsers[browser].jar.usable_token() else { return Ok(()) };
        let spent = self.oracle.spent(token.session);
        if spent.is_empty() || !self.is_live(token.session) {
            return Ok(());
        }
        self.pass_race_window();
        self.pass_limits();
        if !self.is_live(token.session) {
            return Ok(());
        }
        let mut jar = self.browsers[browser].jar.clone();
        let index = self.random.below(u64::try_from(spent.len()).expect("a length"));
        jar.forge(spent[usize::try_from(index).expect("a length")].clone());
        let said = self.present(&jar)?;
        let is_seen = said.code == "REFRESH_TOKEN_REUSED";
        Promise::TheftIsSeen.holds(is_seen, || format!("a spent token was answered {said}"))?;
        let said = self.present(&self.browsers[browser].jar.clone())?;
        let is_over = said.code == "SESSION_REVOKED" && said.reason == "reuse_detected";
        Promise::TheftIsSeen.holds(is_over, || format!("the current token was answered {said}"))?;
        let id = self.next_id();
        let asked = self.browsers[browser].ask_who_i_am(id);
        self.expect_refused(asked)?;
        let is_told = self.machine.has_recorded("session.reuse_detected", token.session);
        Promise::TheftIsSeen.holds(is_told, || "the audit log knows nothing of it".to_owned())
    }

    /// Somebody else presents what is in this jar.
    fn present(&mut self, jar: &Jar) -> Result<Said, Breach> {
        let token = jar.usable_token().expect("a token");
        self.oracle.stolen(token.session);
        let id = self.next_id();
        let answer = self.call(Message::new(id, Party::Thief, Act::Refresh, jar, None))?;
        Ok(Said::in_answer(&answer))
    }

    /// A refresh as the client's part has it: after a 429 it waits, after a 409 it tries once more.
    fn refresh(&mut self, browser: usize) -> Result<Said, Breach> {
        let mut tries_left = 2;
        loop {
            let id = self.next_id();
            let message = self.browsers[browser].send(id, 0, Act::Refresh, false);
            let answer = self.call(message)?;
            match answer.status.as_u16() {
                409 | 429 if tries_left > 0 => self.pass_limits(),
                _ => return Ok(Said::in_answer(&answer)),
            }
            tries_left -= 1;
        }
    }

    fn refresh_as_thief(&mut self) -> Result<(), Breach> {
        for _ in 0..3 {
            if self.thief.jar.usable_token().is_none() {
                break;
            }
            let id = self.next_id();
            let message = self.thief.refresh(id);
            match self.call(message)?.status.as_u16() {
                409 | 429 => self.pass_limits(),
                _ => break,
            }
        }
        Ok(())
    }

    fn expect_refused(&mut self, asked: Message) -> Result<(), Breach> {
        let answer = self.call(asked)?;
        let refused = answer.status.as_u16() == 401;
        Promise::TheftIsSeen.holds(refused, || "an access token outlives its session".to_owned())
    }

    fn pass_race_window(&mut self) {
        let span = self.plan.race_window;
        if !span.is_zero() {
            self.advance(span);
        }
    }

    /// A minute gives every quota back.
    fn pass_limits(&mut self) {
        self.advance(Duration::from_secs(60));
    }

    fn expire(&mut self, browser: usize) {
        let now = self.machine.now();
        self.browsers[browser].expire(now);
    }

    /// Whether the session is committed, and neither revoked nor expired.
    pub(crate) fn is_live(&self, session: SessionId) -> bool {
        let row = self.machine.session(session);
        row.is_some_and(|row| row.state(self.machine.now()) == SessionState::Live)
    }
}
