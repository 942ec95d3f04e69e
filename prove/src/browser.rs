//! The honest client: tabs over one cookie jar, a key for each rotation, and a lock.

use keyward_core::session::RevocationReason;

use crate::checker::Next;
use crate::mutation::{Mutation, Property};
use crate::rules::{Key, Token};
use crate::scenario::{Keys, Scenario};
use crate::set::Set;
use crate::state::{Answer, Browser, Event, Request, State, Step, Tab};
use crate::world::World;

impl World {
    pub(crate) fn browser_steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let tabs = state.browser.tabs;
        for (index, tab) in tabs.iter().enumerate() {
            if let Tab::Waiting { request, .. } = *tab {
                self.give_up(state, index, request, next);
                self.receive(state, index, next);
            }
        }
        // Idle tabs are alike: one of them stands for all.
        let idle = tabs.iter().position(|tab| *tab == Tab::Idle);
        let waiting = tabs.iter().filter(|tab| **tab != Tab::Idle).count();
        if let Some(idle) = idle.filter(|_| waiting < self.scenario.tabs) {
            self.send(state, idle, next);
        }
        self.leak(state, next);
        self.sign_in(state, next);
    }

    /// Whether a request that may touch the cookies can leave now.
    fn holds_lock(&self, state: &State) -> bool {
        let locks = self.scenario.keys == Keys::Fresh && !self.lacks(Mutation::LockMissing);
        !locks || state.browser.tabs.iter().all(|tab| *tab == Tab::Idle)
    }

    /// With the lock in hand: reads the pending key, or makes one and stores it, and sends.
    fn send(&self, state: &State, tab: usize, next: &mut Vec<Next<Self>>) {
        if !self.holds_lock(state) {
            return;
        }
        let mut after = state.clone();
        if let Some(request) = self.leave(&mut after, tab, false) {
            next.push(Next { step: Step::Send(request), state: after, events: 0, broken: None });
        }
    }

    /// The request that leaves; none where there is nothing to present, or the bounds end.
    fn leave(&self, state: &mut State, tab: usize, second: bool) -> Option<Request> {
        let browser = &mut state.browser;
        let token = browser.jar.filter(|token| token.generation < self.scenario.rotations)?;
        let key = match (self.scenario.keys, browser.pending) {
            (Keys::Derived, _) => Key::derived(token),
            (Keys::Fresh, Some(key)) if !self.lacks(Mutation::KeyRenewed) => key,
            (Keys::Fresh, _) if browser.keys_made < self.scenario.keys_max() => {
                browser.keys_made += 1;
                Key::fresh(browser.keys_made)
            }
            (Keys::Fresh, _) => return None,
        };
        if self.scenario.keys == Keys::Fresh {
            browser.pending = Some(key);
        }
        let request = Request { token, key };
        let owed = self.is_owed(state, token);
        state.browser.tabs[tab] = Tab::Waiting { request, second, owed };
        state.sent.insert(request);
        Some(request)
    }

    /// Whether this refresh has to end the session: both have exchanged, and the thief was last.
    fn is_owed(&self, state: &State, token: Token) -> bool {
        let Some(row) = state.rows[usize::from(token.session)] else { return false };
        token.session == 0
            && state.shared.by_both()
            && state.shared.thief_was_last
            && self.rules.is_live(row, state.clock)
            && self.rules.is_past_race_window(row, state.clock)
    }

    /// A loss, a deadline, a 503, a closed tab: the request is aborted and the key is kept.
    fn give_up(&self, state: &State, tab: usize, request: Request, next: &mut Vec<Next<Self>>) {
        let mut given_up = self.next(state, Step::GiveUp(request));
        let browser = &mut given_up.state.browser;
        browser.tabs[tab] = Tab::Idle;
        if self.lacks(Mutation::KeyForgottenOnFailure) {
            browser.pending = None;
        }
        let leaks = self.scenario.leaks > state.spent.leaks
            || (self.lacks(Mutation::AbortLeaks) && state.spent.leaks == 0);
        if leaks {
            let mut leaking = self.next(state, Step::GiveUp(request));
            leaking.state.browser = given_up.state.browser.clone();
            leaking.state.browser.leaking.insert(request);
            leaking.state.spent.leaks += 1;
            next.push(leaking);
        }
        next.push(given_up);
    }

    /// An answer reaches the tab that waits for it.
    fn receive(&self, state: &State, tab: usize, next: &mut Vec<Next<Self>>) {
        let Tab::Waiting { request, second, owed } = state.browser.tabs[tab] else { return };
        for (_, answer) in state.answers.iter().filter(|(to, _)| *to == request) {
            if !self.comes_in_order(state, answer) {
                continue;
            }
            let mut received = self.next(state, Step::Receive(request, answer, None));
            self.apply(&mut received, request, answer);
            received.state.browser.tabs[tab] = Tab::Idle;
            if !self.lacks(Mutation::KeyKept) {
                received.state.browser.pending = None;
            }
            let conflict = matches!(answer, Answer::Refused { conflict: true, .. });
            let again = conflict && !second && !self.lacks(Mutation::SecondTryMissing);
            self.require_theft_seen(&mut received, request, owed && !again);
            self.require_signed_in(&mut received, request, answer);
            if again {
                // It keeps the lock, and presents what the jar holds by now.
                let again = self.leave(&mut received.state, tab, true);
                received.step = Step::Receive(request, answer, again);
            }
            next.push(received);
        }
    }

    /// The answer of a request that was given up still reaches the cookie jar, and nobody else.
    fn leak(&self, state: &State, next: &mut Vec<Next<Self>>) {
        for request in state.browser.leaking.iter() {
            for (_, answer) in state.answers.iter().filter(|(to, _)| *to == request) {
                if self.comes_in_order(state, answer) {
                    let mut leaked = self.next(state, Step::Leak(request, answer));
                    leaked.note(Event::Leaked);
                    self.apply(&mut leaked, request, answer);
                    leaked.state.browser.leaking.remove(&request);
                    next.push(leaked);
                }
            }
        }
    }

    /// What the promises assume of the network: an answer that carries a token is applied before
    /// one that carries its successor.
    fn comes_in_order(&self, state: &State, answer: Answer) -> bool {
        let free = self.lacks(Mutation::OrderIgnored) || self.lacks(Mutation::LockMissing);
        match (answer, state.browser.jar) {
            (Answer::Tokens(token), Some(jar)) => free || !is_older(token, jar),
            _ => true,
        }
    }

    /// Sets or clears the cookie, as the answer says.
    fn apply(&self, next: &mut Next<Self>, request: Request, answer: Answer) {
        let jar = next.state.browser.jar;
        // A cookie that was set later, and is still worth something.
        let later = jar.filter(|jar| is_older(request.token, *jar) && self.is_alive(next, *jar));
        match answer {
            Answer::Tokens(token) => {
                self.require_committed(next, token);
                let harm = later.is_some_and(|later| is_older(token, later));
                next.require(!harm || self.breaks_order(), Property::LosersDoNoHarm);
                next.state.browser.jar = Some(token);
            }
            Answer::Refused { clears: true, .. } => {
                next.require(later.is_none(), Property::LosersDoNoHarm);
                next.state.browser.jar = None;
            }
            Answer::Refused { .. } if later.is_some() => next.note(Event::CookieKept),
            Answer::Refused { .. } => {}
        }
    }

    /// Whether the run is one in which an older token may come last, to see where that leads.
    fn breaks_order(&self) -> bool {
        self.lacks(Mutation::OrderIgnored) || self.lacks(Mutation::LockMissing)
    }

    /// The refresh is over, and the session that the thief shares has to be.
    fn require_theft_seen(&self, next: &mut Next<Self>, request: Request, owed: bool) {
        let unseen = owed && !next.state.restored && self.is_alive(next, request.token);
        next.require(!unseen, Property::TheftIsSeen);
    }

    /// Nobody is told that a session is over which is not. Where the clock moves, an exchange that
    /// was begun before a timeout may be committed after another one was refused for it.
    fn require_signed_in(&self, next: &mut Next<Self>, request: Request, answer: Answer) {
        let told = matches!(answer, Answer::Refused { conflict: false, .. });
        let wrong = told && self.scenario.clock.is_empty() && !next.state.restored;
        let wrong = wrong && self.is_alive(next, request.token);
        next.require(!wrong, Property::NoHonestLogout);
    }

    fn is_alive(&self, next: &Next<Self>, token: Token) -> bool {
        let row = next.state.rows[usize::from(token.session)];
        row.is_some_and(|row| self.rules.is_live(row, next.state.clock))
    }

    /// A new sign-in in the same browser, which ends the session of the cookie that it carries.
    fn sign_in(&self, state: &State, next: &mut Vec<Next<Self>>) {
        if !self.scenario.sign_in || state.rows[1].is_some() || !self.holds_lock(state) {
            return;
        }
        for arrives in [true, false] {
            let mut signed_in = self.next(state, Step::SignIn(arrives));
            signed_in.note(Event::SignedInAnew);
            if let Some(token) = state.browser.jar {
                let session = usize::from(token.session);
                self.revoke(&mut signed_in, session, RevocationReason::Superseded);
            }
            let row = self.rules.open_session(1, state.clock, false);
            signed_in.state.rows[1] = Some(row);
            if arrives {
                signed_in.state.browser.jar = Some(row.tip);
            }
            next.push(signed_in);
        }
    }
}

impl Browser {
    /// The requests that an answer can still reach.
    pub(crate) fn awaited(&self) -> Set<Request, 6> {
        let mut awaited = Set::new();
        for tab in self.tabs {
            if let Tab::Waiting { request, .. } = tab {
                awaited.insert(request);
            }
        }
        self.leaking.iter().for_each(|request| awaited.insert(request));
        awaited
    }
}

impl Scenario {
    /// One key for each rotation of each session, and some for the tries after a 409.
    fn keys_max(&self) -> u8 {
        self.rotations * (1 + u8::from(self.sign_in)) + 3
    }
}

fn is_older(token: Token, than: Token) -> bool {
    (token.session, token.generation) < (than.session, than.generation)
}
