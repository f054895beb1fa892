//! What is going to happen, in order of time and, at one instant, in the order it was planned.

use std::{cmp::Ordering, collections::BinaryHeap};

use lockstep_shared::time::Timestamp;

/// Things that are going to happen.
#[derive(Debug)]
pub(super) struct Queue<T> {
    heap: BinaryHeap<Planned<T>>,
    planned: u64,
}

#[derive(Debug)]
struct Planned<T> {
    at: Timestamp,
    order: u64,
    what: T,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), planned: 0 }
    }

    pub(super) fn plan(&mut self, at: Timestamp, what: T) {
        self.planned += 1;
        self.heap.push(Planned { at, order: self.planned, what });
    }

    pub(super) fn next(&mut self) -> Option<(Timestamp, T)> {
        self.heap.pop().map(|planned| (planned.at, planned.what))
    }
}

impl<T> Ord for Planned<T> {
    /// The heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Planned<T> {}
