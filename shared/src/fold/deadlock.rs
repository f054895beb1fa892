//! When workflows wait for each other in a circle (PROTOCOL section 1, "Deadlock").
//!
//! Only workflows that stand at an incomplete barrier draw edges, so it is never a guess: whoever
//! still runs a step, and every foreign party, may yet arrive.

use std::collections::{BTreeMap, BTreeSet};

use super::state::BarrierState;
use crate::id::{BarrierId, PartyName};

/// One edge of a circular wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wait {
    /// Who waits.
    pub(super) waiter: PartyName,
    /// Where.
    pub(super) barrier: BarrierId,
    /// For whom.
    pub(super) missing: PartyName,
}

/// The circular wait that `start` is part of, if its arrival closed one.
pub(super) fn circle(
    barriers: &BTreeMap<BarrierId, BarrierState>,
    workflows: &BTreeSet<PartyName>,
    start: &PartyName,
) -> Option<Vec<Wait>> {
    let open = || barriers.iter().filter(|(_, state)| state.is_open());
    let stands_elsewhere = |party: &PartyName, here: &BarrierId| {
        open().any(|(id, state)| id != here && state.arrivals.contains_key(party))
    };
    let edges = |waiter: &PartyName| -> Vec<Wait> {
        open()
            .filter(|(_, state)| state.arrivals.contains_key(waiter))
            .flat_map(|(id, state)| {
                state
                    .missing()
                    .filter(|party| workflows.contains(party) && stands_elsewhere(party, id))
                    .map(|party| Wait {
                        waiter: waiter.clone(),
                        barrier: id.clone(),
                        missing: party.clone(),
                    })
            })
            .collect()
    };
    // Breadth first, so that the circle printed is a shortest one.
    let mut reached: BTreeMap<PartyName, Wait> = BTreeMap::new();
    let mut frontier = vec![start.clone()];
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for waiter in frontier {
            for edge in edges(&waiter) {
                let missing = edge.missing.clone();
                if missing == *start {
                    return Some(trace(&reached, start, edge));
                }
                if !reached.contains_key(&missing) {
                    reached.insert(missing.clone(), edge);
                    next.push(missing);
                }
            }
        }
        frontier = next;
    }
    None
}

fn trace(reached: &BTreeMap<PartyName, Wait>, start: &PartyName, last: Wait) -> Vec<Wait> {
    let mut path = vec![last];
    while let Some(first) = path.last().filter(|wait| wait.waiter != *start) {
        let Some(before) = reached.get(&first.waiter) else { break };
        path.push(before.clone());
    }
    path.reverse();
    path
}

/// The circle as a sentence without a full stop.
pub(super) fn describe(circle: &[Wait]) -> String {
    let parts: Vec<String> = circle
        .iter()
        .map(|wait| format!("{} waits at {} for {}", wait.waiter, wait.barrier, wait.missing))
        .collect();
    format!("circular wait: {}", parts.join(", "))
}
