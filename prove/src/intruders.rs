//! Who else acts: a thief of the cookie, a stranger who knows the session's id, the operator.

use keyward_core::session::RevocationReason;

use crate::checker::Next;
use crate::rules::Key;
use crate::state::{Party, Request, State, Step};
use crate::world::World;

impl World {
    /// The thief copies at any moment, and presents whatever it has with any key that it has.
    pub(crate) fn thief_steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        if state.spent.copies < self.scenario.copies {
            self.copy(state, next);
        }
        for token in state.thief.tokens.iter() {
            if token.generation >= self.scenario.rotations {
                continue;
            }
            let own = [Key::NONE, Key::THIEF].into_iter();
            for key in own.chain(state.thief.keys.iter()) {
                self.arrive(state, Party::Thief, Request { token, key }, next);
            }
        }
    }

    fn copy(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let Some(token) = state.browser.jar else { return };
        for key in [None, state.browser.pending] {
            let mut copied = self.next(state, Step::Copy(key.is_some()));
            let row = state.rows[usize::from(token.session)];
            let thief = &mut copied.state.thief;
            thief.tokens.insert(token);
            key.into_iter().for_each(|key| thief.keys.insert(key));
            thief.copied_at = row.map(|row| row.tip.generation);
            copied.state.spent.copies += 1;
            next.push(copied);
        }
    }

    /// The stranger presents what parses of the tokens that it makes up.
    pub(crate) fn stranger_steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        for token in &self.made_up {
            for key in [Key::NONE, Key::THIEF] {
                self.arrive(state, Party::Stranger, Request { token: *token, key }, next);
            }
        }
    }

    /// The operator ends the session.
    pub(crate) fn operator_steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let live = state.rows[0].is_some_and(|row| self.rules.is_live(row, state.clock));
        if live && state.spent.revocations < self.scenario.revocations {
            let mut revoked = self.next(state, Step::Revoke);
            self.revoke(&mut revoked, 0, RevocationReason::Admin);
            revoked.state.spent.revocations += 1;
            next.push(revoked);
        }
    }
}
