//! The search: every state that a model can reach, breadth first, so that the first run found
//! against a promise is among the shortest.
//!
//! Of a state that was visited only 64 bits remain, and those of the state before it, from which a
//! run is told again. Two states with the same 64 bits would be taken for one: among fifty million
//! the chance of any such pair is below one in ten thousand.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::mix::Mix;

/// Something that starts somewhere and moves by steps.
pub trait Model: Sync {
    /// All that a later step may depend on.
    type State: Clone + Hash + Send + Sync;
    /// What happened, for a person.
    type Step: fmt::Display + Send;
    /// What must hold.
    type Property: Copy + Send;

    /// Where every run begins.
    fn initial(&self) -> Self::State;

    /// Everything that can happen next.
    fn steps(&self, state: &Self::State, next: &mut Vec<Next<Self>>);
}

/// One thing that can happen.
pub struct Next<M: Model + ?Sized> {
    /// What it is.
    pub step: M::Step,
    /// Where it leads.
    pub state: M::State,
    /// What of interest happens in it: bits of the model's own meaning.
    pub events: u32,
    /// The promise that it breaks.
    pub broken: Option<M::Property>,
}

impl<M: Model + ?Sized> fmt::Debug for Next<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.step)
    }
}

/// What a search came to.
#[derive(Debug)]
pub struct Outcome<P> {
    /// Different states visited.
    pub states: usize,
    /// Steps of the longest of the shortest runs to a state.
    pub depth: usize,
    /// The events of all steps together.
    pub events: u32,
    /// What ended the search.
    pub end: End<P>,
}

/// What ended a search.
#[derive(Debug)]
pub enum End<P> {
    /// Every state was visited, and no promise was broken.
    Exhausted,
    /// A promise was broken.
    Broken {
        /// Which.
        property: P,
        /// The steps to it, in order.
        run: Vec<String>,
    },
    /// There are more states than were allowed for: nothing is proved.
    TooMany,
}

/// Visits every state, on `threads` threads. `progress` is told now and then how many there were.
pub fn search<M: Model>(
    model: &M,
    threads: usize,
    states_max: usize,
    progress: &dyn Fn(usize),
) -> Outcome<M::Property> {
    let initial = model.initial();
    let visited = Visited::new();
    visited.insert(fingerprint(&initial), ROOT);
    let mut outcome = Outcome { states: 1, depth: 0, events: 0, end: End::Exhausted };
    let mut frontier = vec![initial];
    while !frontier.is_empty() {
        let level = expand(model, &frontier, &visited, threads);
        outcome.events |= level.events;
        if let Some((property, from, step)) = level.broken {
            let mut run = retell(model, &visited, from);
            run.push(step);
            outcome.end = End::Broken { property, run };
            return outcome;
        }
        outcome.states += level.found.len();
        outcome.depth += usize::from(!level.found.is_empty());
        frontier = level.found;
        progress(outcome.states);
        if outcome.states > states_max {
            outcome.end = End::TooMany;
            return outcome;
        }
    }
    outcome
}

/// What lies one step beyond a frontier.
struct Level<M: Model> {
    found: Vec<M::State>,
    events: u32,
    broken: Option<(M::Property, u64, String)>,
}

fn expand<M: Model>(
    model: &M,
    frontier: &[M::State],
    visited: &Visited,
    threads: usize,
) -> Level<M> {
    let cursor = AtomicUsize::new(0);
    let work = || {
        let mut level = Level { found: Vec::new(), events: 0, broken: None };
        let mut next = Vec::new();
        loop {
            let start = cursor.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(rest) = frontier.get(start..) else { return level };
            for state in rest.iter().take(CHUNK) {
                visit(model, state, visited, &mut next, &mut level);
            }
        }
    };
    let levels: Vec<Level<M>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let joined = others.into_iter().map(|other| other.join().expect("a model does not panic"));
        std::iter::once(own).chain(joined).collect()
    });
    let mut whole = Level { found: Vec::new(), events: 0, broken: None };
    for level in levels {
        whole.events |= level.events;
        whole.broken = whole.broken.or(level.broken);
        whole.found.extend(level.found);
    }
    whole
}

fn visit<M: Model>(
    model: &M,
    state: &M::State,
    visited: &Visited,
    next: &mut Vec<Next<M>>,
    level: &mut Level<M>,
) {
    let from = fingerprint(state);
    model.steps(state, next);
    for Next { step, state, events, broken } in next.drain(..) {
        level.events |= events;
        if let Some(property) = broken {
            level.broken.get_or_insert_with(|| (property, from, step.to_string()));
        } else if visited.insert(fingerprint(&state), from) {
            level.found.push(state);
        }
    }
}

/// The steps from the start to the state with this fingerprint.
fn retell<M: Model>(model: &M, visited: &Visited, to: u64) -> Vec<String> {
    let mut path = vec![to];
    let mut at = to;
    while let Some(before) = visited.before(at) {
        path.push(before);
        at = before;
    }
    let mut state = model.initial();
    let mut run = Vec::new();
    let mut next = Vec::new();
    for wanted in path.into_iter().rev().skip(1) {
        model.steps(&state, &mut next);
        let taken = next.drain(..).find(|next| fingerprint(&next.state) == wanted);
        let taken = taken.expect("each fingerprint was reached from the one before it");
        run.push(taken.step.to_string());
        state = taken.state;
    }
    run
}

/// Fingerprints of states, each with the one that it was first reached from.
struct Visited(Vec<Mutex<Shard>>);

type Shard = HashMap<u64, u64, BuildHasherDefault<Spread>>;

impl Visited {
    fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    /// Whether the state is new.
    fn insert(&self, state: u64, from: u64) -> bool {
        match self.shard(state).entry(state) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(from);
                true
            }
        }
    }

    fn before(&self, state: u64) -> Option<u64> {
        self.shard(state).get(&state).copied().filter(|from| *from != ROOT)
    }

    fn shard(&self, state: u64) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(state % SHARDS).expect("a small number");
        self.0[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fingerprints are spread already.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only fingerprints are hashed with this");
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint.rotate_left(32);
    }
}

fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = Mix::default();
    state.hash(&mut hasher);
    hasher.finish().max(ROOT + 1)
}

/// What comes before the start.
const ROOT: u64 = 0;

const CHUNK: usize = 256;
const SHARDS: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// A knight's moves on a board whose last square is forbidden.
    struct Board {
        size: i8,
        forbidden: Option<(i8, i8)>,
    }

    impl Model for Board {
        type State = (i8, i8);
        type Step = String;
        type Property = &'static str;

        fn initial(&self) -> (i8, i8) {
            (0, 0)
        }

        fn steps(&self, state: &(i8, i8), next: &mut Vec<Next<Self>>) {
            let moves = [(1, 2), (2, 1), (-1, 2), (-2, 1), (1, -2), (2, -1), (-1, -2), (-2, -1)];
            for (dx, dy) in moves {
                let to = (state.0 + dx, state.1 + dy);
                if (0..self.size).contains(&to.0) && (0..self.size).contains(&to.1) {
                    let broken = (Some(to) == self.forbidden).then_some("forbidden");
                    next.push(Next { step: format!("{to:?}"), state: to, events: 1, broken });
                }
            }
        }
    }

    #[test]
    fn every_state_is_visited_once_on_any_number_of_threads() {
        for threads in [1, 2, 3] {
            let board = Board { size: 30, forbidden: None };
            let outcome = search(&board, threads, 1000, &|_| {});
            assert!(matches!(outcome.end, End::Exhausted));
            assert_eq!((outcome.states, outcome.events), (900, 1));
        }
    }

    #[test]
    fn the_run_that_breaks_a_promise_is_a_shortest_one() {
        let board = Board { size: 8, forbidden: Some((7, 7)) };
        let outcome = search(&board, 2, 1000, &|_| {});
        let End::Broken { property, run } = outcome.end else { panic!("it can be reached") };
        assert_eq!((property, run.len()), ("forbidden", 6));
        assert_eq!(run.last().map(String::as_str), Some("(7, 7)"));
    }

    #[test]
    fn too_many_states_prove_nothing() {
        let outcome = search(&Board { size: 30, forbidden: None }, 1, 100, &|_| {});
        assert!(matches!(outcome.end, End::TooMany));
    }
}
