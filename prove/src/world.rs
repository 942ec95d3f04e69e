//! The model: parties, network and server around the real rules.

use crate::checker::{Model, Next};
use crate::mutation::{Mutation, Property};
use crate::rules::{Rules, Token};
use crate::scenario::Scenario;
use crate::set::Set;
use crate::state::{Browser, Event, Shared, Spent, State, Step, Tab, Thief};

/// One scenario, with or without a rule taken away.
#[derive(Debug)]
pub struct World {
    pub(crate) scenario: Scenario,
    pub(crate) rules: Rules,
    pub(crate) mutation: Option<Mutation>,
    /// Whether states that differ only in what has no effect any more are taken for one.
    pub(crate) merges: bool,
    /// What a stranger's inventions parse to.
    pub(crate) made_up: Vec<Token>,
}

impl World {
    /// The scenario as it is, or without the rule that the mutation takes away.
    pub fn new(scenario: Scenario, mutation: Option<Mutation>) -> Self {
        let rules = Rules::new((scenario.policy)(), scenario.clock, mutation);
        let made_up =
            if scenario.stranger { rules.made_up(scenario.rotations) } else { Vec::new() };
        // What has no effect under the rules may have one without them.
        let merges = mutation.is_none();
        Self { scenario, rules, mutation, merges, made_up }
    }

    /// The same, with every state told apart from every other.
    #[must_use]
    pub fn unmerged(self) -> Self {
        Self { merges: false, ..self }
    }

    pub(crate) fn lacks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(crate) fn next(&self, state: &State, step: Step) -> Next<Self> {
        Next { step, state: state.clone(), events: 0, broken: None }
    }

    /// Drops what can have no effect any more, so that states that differ in nothing else are one.
    fn settle(&self, state: &mut State) {
        state.browser.tabs.sort_unstable();
        let awaited = state.browser.awaited();
        state.answers.retain(|(request, _)| awaited.contains(request));
        if self.merges && self.scenario.keeps_proofs() {
            let (rows, at) = (state.rows, state.clock);
            state.sent.retain(|request| {
                let row = rows[usize::from(request.token.session)];
                // Late, retried or revoked once, it is so for ever, and changes nothing.
                awaited.contains(request)
                    || row.is_none_or(|row| {
                        let attempt =
                            self.rules.attempt(row, request.token, request.key, at, false);
                        !attempt.is_idle()
                    })
            });
        }
    }

    fn tick(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let instant = state.clock + 1;
        if usize::from(instant) < self.scenario.clock.len() {
            let mut ticked = self.next(state, Step::Tick(instant));
            ticked.state.clock = instant;
            next.push(ticked);
        }
    }

    fn restore(&self, state: &State, next: &mut Vec<Next<Self>>) {
        if !self.scenario.restore || state.restored {
            return;
        }
        if let Some(rows) = state.backup {
            let mut restored = self.next(state, Step::Restore);
            restored.state.rows = rows;
            restored.state.restored = true;
            restored.state.work = Set::new();
            restored.state.shared = Shared::default();
            next.push(restored);
        } else {
            let mut backed_up = self.next(state, Step::Backup);
            backed_up.state.backup = Some(state.rows);
            next.push(backed_up);
        }
    }
}

impl Model for World {
    type State = State;
    type Step = Step;
    type Property = Property;

    fn initial(&self) -> State {
        let row = self.rules.open_session(0, 0, self.scenario.stolen_mac_key);
        let other = self.scenario.other_session.then(|| self.rules.open_session(1, 0, false));
        State {
            rows: [Some(row), other],
            backup: None,
            restored: false,
            clock: 0,
            work: Set::new(),
            sent: Set::new(),
            answers: Set::new(),
            browser: Browser {
                jar: Some(row.tip),
                pending: None,
                keys_made: 0,
                tabs: [Tab::Idle; 3],
                leaking: Set::new(),
            },
            thief: Thief { tokens: Set::new(), keys: Set::new(), copied_at: None, acted: false },
            shared: Shared::default(),
            spent: Spent::default(),
        }
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        self.browser_steps(state, next);
        self.arrivals(state, next);
        self.server_steps(state, next);
        self.thief_steps(state, next);
        self.stranger_steps(state, next);
        self.operator_steps(state, next);
        self.restore(state, next);
        self.tick(state, next);
        for next in next {
            self.settle(&mut next.state);
        }
    }
}

impl Next<World> {
    pub(crate) fn note(&mut self, event: Event) {
        self.events |= event.bit();
    }

    /// The first promise that a step breaks is the one that is told.
    pub(crate) fn require(&mut self, holds: bool, property: Property) {
        if !holds {
            self.broken.get_or_insert(property);
        }
    }
}
