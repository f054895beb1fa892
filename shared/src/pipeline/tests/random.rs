//! Files that nobody would write, and plans that nobody thought of.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Inputs, codes, pipeline, plan, plan_with};

const SHOP: &str = include_str!("../../../testdata/good/shop.yaml");

/// Pieces that break YAML, or mean something to it or to us.
const PIECES: &[&str] = &[
    "\t",
    "\n",
    "  ",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<: ",
    "|",
    ">",
    "---\n",
    "#",
    "!x ",
    "${{ ",
    " }}",
    "${{ params.version }}",
    "${{ matrix.x }}",
    "null",
    "~",
    "true",
    "9999999999999999999999",
    "-1",
    ".nan",
    "ä",
    "\u{0}",
    "\u{feff}",
    "\u{1f600}",
    "barrier: BE",
    "matrix: { x: [1] }",
    "when: false",
];

/// A change of a text: at some place, some characters go and a piece comes.
fn mutation() -> impl Strategy<Value = (usize, usize, usize)> {
    (0..4096_usize, 0..12_usize, 0..PIECES.len())
}

fn mutated(text: &str, changes: &[(usize, usize, usize)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (place, gone, piece) in changes {
        let start = place % (letters.len() + 1);
        let end = (start + gone).min(letters.len());
        letters.splice(start..end, PIECES[*piece].chars());
    }
    letters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_500) })]

    #[test]
    fn no_change_of_a_file_makes_the_reader_panic(changes in prop::collection::vec(mutation(), 1..6)) {
        let text = mutated(SHOP, &changes);
        if let Err(refused) = plan(&text) {
            prop_assert!(refused.findings().iter().any(|finding| finding.is_error()));
            for label in refused.findings().iter().flat_map(|finding| &finding.labels) {
                let known = text.strip_prefix('\u{feff}').unwrap_or(&text);
                prop_assert!(known.get(label.place.range()).is_some(), "{:?}", label);
            }
            prop_assert!(!refused.to_plain_text().is_empty());
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}") {
        if let Err(refused) = plan(&text) {
            prop_assert!(!refused.to_plain_text().is_empty());
        }
    }

    #[test]
    fn barrier_order_is_refused_exactly_when_the_run_would_get_stuck(ways in ways()) {
        let text = ways_as_pipeline(&ways);
        let skip_checks = ["single-party", "unused-barrier"].map(str::to_owned).into();
        let inputs = Inputs { skip_checks, ..Inputs::default() };
        let refused = plan_with(&text, &inputs).is_err();
        prop_assert_eq!(refused, gets_stuck(&ways), "{}", text);
        if refused {
            let found = codes(&text);
            prop_assert!(found.contains(&"barrier-order"), "{:?}", found);
        }
    }
}

/// For each workflow the barriers that it meets, in order, none of them twice.
fn ways() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let way = Just((0..6).collect::<Vec<usize>>())
        .prop_shuffle()
        .prop_flat_map(|all| (0..=all.len()).prop_map(move |length| all[..length].to_vec()));
    prop::collection::vec(way, 1..5)
}

fn ways_as_pipeline(ways: &[Vec<usize>]) -> String {
    let workflows: Vec<(String, String)> = ways
        .iter()
        .enumerate()
        .map(|(index, way)| {
            let meetings = way.iter().map(|barrier| format!(", {{ barrier: B{barrier} }}"));
            (format!("w{index}"), format!("{{ run: x }}{}", meetings.collect::<String>()))
        })
        .collect();
    let listed: Vec<(&str, &str)> =
        workflows.iter().map(|(name, steps)| (name.as_str(), steps.as_str())).collect();
    pipeline("  barriers: { B0: {}, B1: {}, B2: {}, B3: {}, B4: {}, B5: {} }\n", &listed)
}

/// Plays the run: whoever can go on does, until nobody can.
fn gets_stuck(ways: &[Vec<usize>]) -> bool {
    let mut at = vec![0; ways.len()];
    let mut parties: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (workflow, way) in ways.iter().enumerate() {
        for barrier in way {
            parties.entry(*barrier).or_default().insert(workflow);
        }
    }
    loop {
        let ready = parties.iter().find(|(barrier, parties)| {
            parties.iter().all(|workflow| ways[*workflow].get(at[*workflow]) == Some(*barrier))
        });
        let Some((barrier, _)) = ready else { break };
        let barrier = *barrier;
        for workflow in parties.remove(&barrier).unwrap_or_default() {
            at[workflow] += 1;
        }
    }
    !parties.is_empty()
}
