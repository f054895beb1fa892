//! A process as the world sees it: alive, frozen or gone, with a link to the log.

use std::collections::VecDeque;

use lockstep_shared::time::Timestamp;

use crate::chance::Chance;

/// A process of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Process {
    /// An agent, by its place in the story.
    Agent(usize),
    /// A coordinator, by its place in the story.
    Coordinator(usize),
}

/// One life of a process: what was meant for an earlier one is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) process: Process,
    pub(super) number: u32,
}

/// What happens to a process from outside.
#[derive(Debug)]
pub(super) struct Vitals<T> {
    /// Which life it leads; even numbers are the times between two lives.
    pub(super) life: u32,
    /// Whether it is frozen (SIGSTOP).
    pub(super) frozen: bool,
    /// What happened meanwhile, for when it goes on.
    pub(super) missed: VecDeque<T>,
    /// Whether it reaches the log.
    pub(super) linked: bool,
    /// How far its clock is ahead of the server's, in milliseconds.
    pub(super) ahead: i64,
}

impl<T> Vitals<T> {
    pub(super) fn new(ahead: i64) -> Self {
        Self { life: 0, frozen: false, missed: VecDeque::new(), linked: true, ahead }
    }

    pub(super) fn is_up(&self) -> bool {
        self.life % 2 == 1
    }

    /// The time by its own clock.
    pub(super) fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add_signed(self.ahead))
    }

    /// When something by its own clock is, by the server's.
    pub(super) fn instant(&self, own: Timestamp) -> Timestamp {
        Timestamp(own.0.saturating_add_signed(-self.ahead))
    }
}

/// How the network behaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// Of a hundred messages so many are lost.
    pub(super) loss: u64,
    /// Of a hundred so many are late.
    pub(super) late: u64,
    /// Of a hundred so many come twice.
    pub(super) twice: u64,
}

impl Weather {
    pub(super) const CALM: Self = Self { loss: 0, late: 0, twice: 0 };

    /// How long each copy of a message is under way; no copy at all if it is lost.
    pub(super) fn delays(self, chance: &mut Chance) -> Vec<u64> {
        if self.loss > 0 && chance.percent(self.loss) {
            return Vec::new();
        }
        let copies = if self.twice > 0 && chance.percent(self.twice) { 2 } else { 1 };
        (0..copies).map(|_| self.delay(chance)).collect()
    }

    /// How long a message is under way.
    pub(super) fn delay(self, chance: &mut Chance) -> u64 {
        if self.late > 0 && chance.percent(self.late) {
            let long = chance.percent(20);
            chance.between(30, if long { 20_000 } else { 2_000 })
        } else {
            chance.between(1, 20)
        }
    }
}
