//! Every scenario within small bounds, and every rule taken away.

use keyward_prove::checker::{End, search};
use keyward_prove::mutation::{DEMONSTRATIONS, Demonstration, Mutation, Property};
use keyward_prove::run::{Finding, Shown};
use keyward_prove::scenario::{SCENARIOS, Scenario};
use keyward_prove::world::World;

#[test]
fn every_promise_holds_in_every_small_scenario() {
    for scenario in SCENARIOS {
        let finding = Finding::of(scenario.small(), THREADS, &|_| {});
        assert!(finding.holds(), "{}", finding.line());
    }
}

#[test]
fn a_rule_taken_away_breaks_the_promise_that_it_is_there_for() {
    for shown in Shown::all(THREADS) {
        assert!(shown.holds(), "{}", shown.line());
    }
}

#[test]
fn every_promise_is_shown_to_need_a_rule() {
    for property in Property::ALL {
        let shown = DEMONSTRATIONS.iter().any(|shown| shown.breaks == property);
        assert!(shown, "nothing shows what {property} needs");
    }
}

#[test]
fn a_run_that_breaks_a_promise_can_be_read() {
    let demonstration = Demonstration {
        mutation: Mutation::SecondTryMissing,
        scenario: "theft",
        breaks: Property::TheftIsSeen,
    };
    let (property, run) = Shown::of(demonstration, 1).broken.expect("theft goes unseen");
    assert_eq!(property, Property::TheftIsSeen);
    let last = run.last().expect("it has steps");
    assert!(last.starts_with("a tab gets 409, keeping the cookie"), "{last}");
}

/// Where a sign-in does not wait for the workers, the refusal of the old session's token can take
/// away the new session's cookie: such an app has to serialise the two, or to drop that answer.
#[test]
fn workers_that_refresh_beside_a_sign_in_do_harm() {
    let workers = Scenario::find("server-rendered").expect("a scenario").small();
    let scenario = Scenario { sign_in: true, ..workers };
    let outcome = search(&World::new(scenario, None), THREADS, STATES_MAX, &|_| {});
    let End::Broken { property, .. } = outcome.end else { panic!("it is out of bounds") };
    assert_eq!(property, Property::LosersDoNoHarm);
}

/// To merge states must hide nothing: without it the same happens, and the same holds.
#[test]
fn what_is_merged_makes_no_difference() {
    for name in ["network", "sign-in-anew", "server-rendered", "theft"] {
        let scenario = Scenario::find(name).expect("a scenario").small();
        let search = |world: World| search(&world, THREADS, STATES_MAX, &|_| {});
        let merged = search(World::new(scenario, None));
        let unmerged = search(World::new(scenario, None).unmerged());
        assert!(matches!(unmerged.end, End::Exhausted), "{name}");
        assert_eq!(merged.events, unmerged.events, "{name}");
        assert!(merged.states <= unmerged.states, "{name}");
    }
}

#[test]
fn the_number_of_states_does_not_depend_on_the_threads() {
    let scenario = Scenario::find("theft").expect("a scenario").small();
    let states = [1, 2, 3].map(|threads| {
        let outcome = search(&World::new(scenario, None), threads, STATES_MAX, &|_| {});
        assert!(matches!(outcome.end, End::Exhausted));
        outcome.states
    });
    assert_eq!(states, [states[0]; 3]);
}

const THREADS: usize = 2;
const STATES_MAX: usize = 1_000_000;
