//! Which slots of a family are taken, by records and rubbish alike.

use std::collections::BTreeSet;

/// The taken slots of one family.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Taken {
    /// All slots up to this one.
    through: u32,
    /// Further ones that somebody wrote out of turn.
    beyond: BTreeSet<u32>,
}

impl Taken {
    pub(crate) fn take(&mut self, number: u32) {
        if number > self.through {
            self.beyond.insert(number);
        }
        while self.beyond.remove(&(self.through + 1)) {
            self.through += 1;
        }
    }

    pub(crate) fn has(&self, number: u32) -> bool {
        number <= self.through || self.beyond.contains(&number)
    }

    /// The lowest slot that is known to be empty, or not known at all.
    pub(crate) fn next(&self) -> u32 {
        self.through + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_written_out_of_turn_does_not_hide_the_empty_ones_below() {
        let mut taken = Taken::default();
        taken.take(3);
        assert_eq!((taken.next(), taken.has(3), taken.has(2)), (1, true, false));
        taken.take(1);
        taken.take(2);
        assert_eq!(taken.next(), 4);
        taken.take(2);
        assert_eq!(taken.next(), 4);
    }
}
