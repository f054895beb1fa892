//! What workflows and barriers come to, worked out without the fold, by the plainest means: for
//! comparison only.

use std::collections::BTreeSet;

use crate::{chance::Chance, plans::Ways};

/// Workflows on their ways, meeting at barriers. Foreign parties come sooner or later, so they
/// hold nobody up for ever and do not appear here.
#[derive(Debug, Clone)]
pub struct Rendezvous {
    ways: Ways,
    /// How many barriers each workflow has behind it.
    passed: Vec<usize>,
    /// Who stands at the next barrier of its way.
    stands: Vec<bool>,
}

impl Rendezvous {
    /// Everybody at the beginning.
    pub fn new(ways: &Ways) -> Self {
        let count = ways.len();
        Self { ways: ways.clone(), passed: vec![0; count], stands: vec![false; count] }
    }

    /// The barrier that a workflow comes to next, or stands at.
    pub fn next(&self, workflow: usize) -> Option<usize> {
        self.ways[workflow].get(self.passed[workflow]).copied()
    }

    /// Who has a barrier before it and does not stand there.
    pub fn walkers(&self) -> Vec<usize> {
        let walks = |workflow: &usize| self.next(*workflow).is_some() && !self.stands[*workflow];
        (0..self.ways.len()).filter(walks).collect()
    }

    /// A workflow comes to its next barrier; if that completes it, all of its parties go on.
    pub fn arrive(&mut self, workflow: usize) {
        self.stands[workflow] = true;
        let Some(barrier) = self.next(workflow) else { return };
        let parties: Vec<usize> =
            (0..self.ways.len()).filter(|other| self.ways[*other].contains(&barrier)).collect();
        let here = |other: &usize| self.stands[*other] && self.next(*other) == Some(barrier);
        if parties.iter().all(here) {
            for party in parties {
                self.stands[party] = false;
                self.passed[party] += 1;
            }
        }
    }

    /// Whether from here on somebody never comes through, whatever happens: nobody chooses
    /// anything but the order, and the order changes nothing, so any one will do.
    pub fn gets_stuck(&self) -> bool {
        let mut ahead = self.clone();
        while let Some(workflow) = ahead.walkers().first() {
            ahead.arrive(*workflow);
        }
        (0..ahead.ways.len()).any(|workflow| ahead.next(workflow).is_some())
    }
}

/// Who is done and who is broken under `each-own`, by the definition, applied in any order.
#[derive(Debug, Clone)]
pub struct Own {
    ways: Ways,
    /// Barriers whose parties have all arrived.
    pub complete: BTreeSet<usize>,
    /// Barriers that will never be complete.
    pub aborted: BTreeSet<usize>,
    /// Workflows whose last step is over.
    pub done: BTreeSet<usize>,
    /// Workflows that go back.
    pub broken: BTreeSet<usize>,
}

impl Own {
    /// Nobody is done or broken.
    pub fn new(ways: &Ways) -> Self {
        let none = BTreeSet::new;
        let (complete, aborted, done, broken) = (none(), none(), none(), none());
        Self { ways: ways.clone(), complete, aborted, done, broken }
    }

    /// A workflow's last step is over.
    pub fn finish(&mut self, workflow: usize) {
        if !self.broken.contains(&workflow) {
            self.done.insert(workflow);
        }
    }

    /// A cause breaks these, and whoever cannot meet them any more; the two rules are applied in
    /// the order that chance gives.
    pub fn break_all(&mut self, hit: &[usize], chance: &mut Chance) {
        let open = |own: &Self, workflow: &usize| {
            !own.done.contains(workflow) && !own.broken.contains(workflow)
        };
        let hit: Vec<usize> = hit.iter().copied().filter(|hit| open(self, hit)).collect();
        self.broken.extend(hit);
        let mut meetings: Vec<(usize, usize)> = Vec::new();
        for (workflow, way) in self.ways.iter().enumerate() {
            meetings.extend(way.iter().map(|barrier| (workflow, *barrier)));
        }
        loop {
            let before = (self.aborted.len(), self.broken.len());
            chance.shuffle(&mut meetings);
            for (workflow, barrier) in &meetings {
                let incomplete = !self.complete.contains(barrier);
                if incomplete && self.broken.contains(workflow) {
                    self.aborted.insert(*barrier);
                }
                if self.aborted.contains(barrier) && open(self, workflow) {
                    self.broken.insert(*workflow);
                }
            }
            if before == (self.aborted.len(), self.broken.len()) {
                return;
            }
        }
    }
}
