//! The server: exchanges as the service carries them out, whole or interrupted between any two of
//! their steps.

use keyward_core::rotation::{Decision, OnReuse};
use keyward_core::session::RevocationReason;

use crate::checker::Next;
use crate::mutation::{Mutation, Property};
use crate::rules::{Attempt, Key, Row, Token};
use crate::set::Set;
use crate::state::{Answer, Event, Party, Request, Stage, State, Step, Work};
use crate::world::World;

impl World {
    /// Whatever the browser ever sent may arrive now, and again later.
    pub(crate) fn arrivals(&self, state: &State, next: &mut Vec<Next<Self>>) {
        for request in state.sent.iter() {
            if self.comes_in_time(state, request, state.clock) {
                self.arrive(state, Party::Browser, request, next);
            }
        }
    }

    /// The bound of the promise that honest clients stay signed in. Where there is a thief there is
    /// no such promise, and no bound.
    fn comes_in_time(&self, state: &State, request: Request, at: u8) -> bool {
        let row = state.rows[usize::from(request.token.session)];
        self.scenario.copies > 0
            || self.lacks(Mutation::LatenessIgnored)
            || row.is_none_or(|row| self.rules.is_in_time(row, request.token, at))
    }

    /// A request is answered at once, or an exchange is begun that others may overtake.
    pub(crate) fn arrive(
        &self,
        state: &State,
        party: Party,
        request: Request,
        next: &mut Vec<Next<Self>>,
    ) {
        if self.is_idle(state, party, request) {
            return;
        }
        let mut answered = self.next(state, Step::Exchange(party, request));
        self.exchange(&mut answered, party, request, state.clock);
        next.push(answered);
        if state.work.len() < self.scenario.work_max {
            self.begin(state, party, request, next);
        }
    }

    /// Whether a request is refused, changes nothing, and nobody waits for the answer.
    fn is_idle(&self, state: &State, party: Party, request: Request) -> bool {
        let unheard = match party {
            Party::Browser => !state.browser.awaited().contains(&request),
            Party::Thief => state.thief.acted,
            Party::Stranger => false,
        };
        let row = state.rows[usize::from(request.token.session)];
        unheard
            && self.merges
            && row.is_some_and(|row| {
                let decision = self.attempt(state, row, request, state.clock).decision;
                matches!(decision, Decision::Revoked(_) | Decision::Late)
            })
    }

    fn begin(&self, state: &State, party: Party, request: Request, next: &mut Vec<Next<Self>>) {
        let Some(row) = state.rows[usize::from(request.token.session)] else { return };
        let attempt = self.attempt(state, row, request, state.clock);
        let stage = match attempt.decision {
            Decision::Rotate => Stage::Swapping(row),
            Decision::Reuse | Decision::Rollback => Stage::Ending,
            // The others write nothing: to be slow with them is to be slow with their answers.
            Decision::Invalid
            | Decision::Revoked(_)
            | Decision::Expired { .. }
            | Decision::Retry
            | Decision::Late
            | Decision::Race => return,
        };
        let mut begun = self.next(state, Step::Begin(party, request));
        begun.state.thief.acted |= party == Party::Thief;
        begun.state.work.insert(Work { party, request, at: state.clock, stage });
        if self.lacks(Mutation::AnswerBeforeCommit) {
            self.reply(&mut begun, party, request, Answer::Tokens(attempt.successor));
        }
        next.push(begun);
    }

    /// What is at work goes on, or dies with the server.
    pub(crate) fn server_steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        for work in state.work.iter() {
            if self.comes_in_time(state, work.request, work.at) {
                self.finish(state, work, next);
            }
        }
        let forgets = self.lacks(Mutation::RevocationForgotten);
        if state.work.is_empty() && !forgets {
            return;
        }
        let mut crashed = self.next(state, Step::Crash);
        crashed.note(Event::Interrupted);
        crashed.state.work = Set::new();
        if forgets {
            for row in crashed.state.rows.iter_mut().flatten() {
                let restarted = self.rules.forget_revocation(*row);
                crashed.broken = (*row != restarted).then_some(Property::Monotone);
                *row = restarted;
            }
        }
        next.push(crashed);
    }

    fn finish(&self, state: &State, work: Work, next: &mut Vec<Next<Self>>) {
        let Work { party, request, at, stage } = work;
        let Some(row) = state.rows[usize::from(request.token.session)] else { return };
        let begin = |stale| {
            let mut finished = self.next(state, Step::Finish(work, stale));
            finished.state.work.remove(&work);
            finished
        };
        let mut finished = begin(false);
        match stage {
            Stage::Ending if self.rules.is_live(row, state.clock) => {
                let attempt = self.attempt(state, row, request, at);
                let rollback = attempt.decision == Decision::Rollback;
                let decision = if rollback { Decision::Rollback } else { Decision::Reuse };
                self.end(&mut finished, party, request, decision);
            }
            Stage::Ending => self.exchange(&mut finished, party, request, at),
            Stage::Swapping(seen) => {
                let attempt = self.attempt(state, row, request, at);
                if attempt.swapped.is_none() {
                    finished.note(Event::RaceLost);
                    // The database may show the loser the row as it was before the race.
                    let mut stale = begin(true);
                    let old = self.attempt(state, seen, request, at);
                    self.act_on_snapshot(&mut stale, party, request, at, old);
                    next.push(stale);
                }
                self.exchange(&mut finished, party, request, at);
            }
        }
        next.push(finished);
    }

    /// What says that the token is current has been overtaken: the service reads again.
    fn act_on_snapshot(
        &self,
        next: &mut Next<Self>,
        party: Party,
        request: Request,
        at: u8,
        old: Attempt,
    ) {
        match old.decision {
            Decision::Rotate if self.lacks(Mutation::StaleReadIssues) => {
                self.reply(next, party, request, Answer::Tokens(old.successor));
            }
            Decision::Rotate if self.lacks(Mutation::StaleReadRevokes) => {
                self.end(next, party, request, Decision::Reuse);
            }
            Decision::Rotate => self.exchange(next, party, request, at),
            _ => self.act(next, party, request, old),
        }
    }

    /// A whole exchange on the row as it is.
    fn exchange(&self, next: &mut Next<Self>, party: Party, request: Request, at: u8) {
        next.state.thief.acted |= party == Party::Thief;
        let Some(row) = next.state.rows[usize::from(request.token.session)] else { return };
        let attempt = self.attempt(&next.state, row, request, at);
        match attempt.swapped {
            Some(swapped) => self.commit(next, party, request, row, swapped),
            None => self.act(next, party, request, attempt),
        }
    }

    fn attempt(&self, state: &State, row: Row, request: Request, at: u8) -> Attempt {
        self.rules.attempt(row, request.token, request.key, at, state.restored)
    }

    /// The swap happens; the answer may leave.
    fn commit(&self, next: &mut Next<Self>, party: Party, request: Request, old: Row, new: Row) {
        next.note(Event::Rotate);
        next.require(old.tip == request.token, Property::OneLine);
        next.require(!old.revoked && new.tip.generation > old.tip.generation, Property::Monotone);
        next.require(party != Party::Stranger, Property::NoOracle);
        self.require_line_of_holder(next, party, request);
        let own = self.is_own_exchange(&next.state, party, request);
        let shared = &mut next.state.shared;
        if request.token.session == 0 {
            shared.browser |= own && party == Party::Browser;
            shared.thief |= own && party == Party::Thief;
            shared.thief_was_last = party == Party::Thief;
        }
        next.state.rows[usize::from(request.token.session)] = Some(new);
        next.require(self.exchangeable(&next.state) <= 1, Property::OneLine);
        self.reply(next, party, request, Answer::Tokens(new.tip));
    }

    /// Acts on what was decided about a token that was not swapped.
    fn act(&self, next: &mut Next<Self>, party: Party, request: Request, attempt: Attempt) {
        let decision = match attempt.decision {
            Decision::Reuse if self.lacks(Mutation::ReuseAsRace) => Decision::Race,
            Decision::Retry | Decision::Late if self.lacks(Mutation::ProofIgnored) => {
                Decision::Reuse
            }
            decision => decision,
        };
        if decision == Decision::Reuse && self.lacks(Mutation::RetryUnproved) {
            let row = next.state.rows[usize::from(request.token.session)];
            let tip =
                row.map(|row| row.tip).filter(|tip| tip.generation == request.token.generation + 1);
            if let Some(tip) = tip {
                self.require_line_of_holder(next, party, request);
                self.reply(next, party, request, Answer::Tokens(tip));
                return;
            }
        }
        next.note(Event::of(decision));
        match (decision, attempt.opened) {
            (Decision::Reuse | Decision::Rollback, _) => self.end(next, party, request, decision),
            (Decision::Retry, Some(successor)) => {
                self.require_line_of_holder(next, party, request);
                self.reply(next, party, request, Answer::Tokens(successor));
            }
            _ => self.refuse(next, party, request, decision),
        }
    }

    /// Rows 9 and 10: the session ends, or every session of the user.
    fn end(&self, next: &mut Next<Self>, party: Party, request: Request, decision: Decision) {
        next.note(Event::of(decision));
        next.require(party != Party::Stranger, Property::NoOracle);
        let stolen = next.state.thief.acted || next.state.restored;
        next.require(stolen || party == Party::Stranger, Property::NoHonestLogout);
        if next.state.shared.by_both() {
            next.note(Event::TheftSeen);
        }
        let whole_user = decision == Decision::Reuse
            && self.rules.policy().on_reuse == OnReuse::User
            && !self.lacks(Mutation::UserSpared);
        let reason = match decision {
            Decision::Rollback => RevocationReason::StoreRollback,
            _ => RevocationReason::ReuseDetected,
        };
        for session in 0..next.state.rows.len() {
            if whole_user || session == usize::from(request.token.session) {
                self.revoke(next, session, reason);
            }
        }
        self.require_user_ended(next, decision);
        self.refuse(next, party, request, decision);
    }

    /// Where the policy says so, a session that was shared with a thief takes the others along.
    fn require_user_ended(&self, next: &mut Next<Self>, decision: Decision) {
        if decision == Decision::Reuse && self.rules.policy().on_reuse == OnReuse::User {
            let all = next.state.rows.iter().flatten().all(|row| row.revoked);
            next.require(all, Property::TheftIsSeen);
            next.note(Event::UserEnded);
        }
    }

    pub(crate) fn revoke(&self, next: &mut Next<Self>, session: usize, reason: RevocationReason) {
        let at = next.state.clock;
        if let Some(row) = next.state.rows[session].filter(|row| self.rules.is_live(*row, at)) {
            next.state.rows[session] = Some(self.rules.revoke(row, reason, at));
        }
    }

    fn refuse(&self, next: &mut Next<Self>, party: Party, request: Request, decision: Decision) {
        let conflict = matches!(decision, Decision::Late | Decision::Race);
        let clears = decision.is_final() || self.lacks(Mutation::ConflictClears);
        self.reply(next, party, request, Answer::Refused { conflict, clears });
    }

    fn reply(&self, next: &mut Next<Self>, party: Party, request: Request, answer: Answer) {
        match (party, answer) {
            (Party::Browser, _) if next.state.browser.awaited().contains(&request) => {
                next.state.answers.insert((request, answer));
            }
            (Party::Thief, Answer::Tokens(token)) => {
                self.require_committed(next, token);
                next.state.thief.tokens.insert(token);
            }
            _ => {}
        }
    }

    /// What anybody is handed, a backup that came back excepted, the store holds.
    pub(crate) fn require_committed(&self, next: &mut Next<Self>, token: Token) {
        let row = next.state.rows[usize::from(token.session)];
        let committed = row.is_some_and(|row| self.rules.is_committed(row, token));
        next.require(committed || next.state.restored, Property::Durable);
    }

    /// Once both have exchanged, only the one that did so last may be handed a token.
    fn require_line_of_holder(&self, next: &mut Next<Self>, party: Party, request: Request) {
        let shared = next.state.shared;
        let holds = shared.thief_was_last == (party == Party::Thief);
        let unseen = request.token.session == 0 && shared.by_both() && !holds;
        next.require(!unseen, Property::TheftIsSeen);
    }

    /// Whether the exchange is under a key that the other party never had. That includes a token
    /// that was issued after the last copy: a client that keeps its part has made a new key since.
    fn is_own_exchange(&self, state: &State, party: Party, request: Request) -> bool {
        let thief = &state.thief;
        let shared_key = match party {
            Party::Browser => thief.keys.contains(&request.key),
            Party::Thief => thief.keys.contains(&request.key) && request.key != Key::NONE,
            Party::Stranger => return false,
        };
        let copied_at = thief.copied_at.unwrap_or(u8::MAX);
        !shared_key || request.token.generation > copied_at
    }

    /// How many of the tokens that anybody has could be exchanged now.
    fn exchangeable(&self, state: &State) -> usize {
        let mut tokens = Set::<Token, 48>::new();
        state.browser.jar.into_iter().for_each(|token| tokens.insert(token));
        state.thief.tokens.iter().for_each(|token| tokens.insert(token));
        state.sent.iter().for_each(|request| tokens.insert(request.token));
        for (_, answer) in state.answers.iter() {
            if let Answer::Tokens(token) = answer {
                tokens.insert(token);
            }
        }
        let rows = state.rows.iter().flatten();
        let session_0 = rows.filter(|row| row.tip.session == 0);
        session_0
            .flat_map(|row| tokens.iter().map(|token| (*row, token)))
            .filter(|(row, token)| {
                let request = Request { token: *token, key: Key::NONE };
                self.attempt(state, *row, request, state.clock).decision == Decision::Rotate
            })
            .count()
    }
}
