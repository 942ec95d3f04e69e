//! The tree keeps its shape, its borders and its records; a breach is named with its file, its line
//! and what to do. Style is settled here, not in review.

mod shape;

mod borders;
mod documents;
mod leftovers;
mod names;
mod records;

mod source;
mod tree;

use tree::{Tree, Violation};

#[test]
fn the_tree_is_tidy() {
    let tree = Tree::read();
    let violations: Vec<_> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    let list: String = violations.iter().map(|violation| format!("\n{violation}")).collect();
    assert!(violations.is_empty(), "{} breaches of the house rules:{list}", violations.len());
}

/// What a rule is: it sees the whole tree and names every breach.
type Rule = fn(&Tree) -> Vec<Violation>;

const RULES: &[Rule] = &[
    shape::lines_are_short,
    shape::files_are_short,
    shape::functions_are_short,
    shape::nine_of_ten_functions_fit_a_screen,
    shape::handlers_are_thin,
    borders::sql_drivers_stay_in_the_store,
    borders::web_types_stay_in_http,
    borders::layers_look_down,
    borders::verifiers_need_the_core_alone,
    borders::the_core_touches_nothing,
    leftovers::nothing_is_left_for_later,
    leftovers::no_test_is_ignored,
    names::names_say_what_a_thing_is,
    records::migrations_do_not_change,
    records::audit_events_are_documented,
    records::error_codes_are_documented,
    documents::links_lead_somewhere,
    documents::named_tests_are_there,
    documents::the_map_has_every_module,
];
