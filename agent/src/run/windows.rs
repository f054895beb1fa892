//! Families read slot by slot, where rubbish makes them larger than one reading may be.
//!
//! A writer uses a slot only once all lower ones are taken (PROTOCOL section 3). So whatever is
//! valid stands before the first empty slot, and what stands behind one is rubbish.

use std::collections::BTreeMap;

use lockstep_agent_core::Watched;
use lockstep_shared::{
    codec::Entry,
    subject::{Family, Slot},
};

/// How many slots of a family are asked for at first. An agent asks for about ten families, and
/// one reading holds 1,024 records.
const WIDTH: u32 = 64;

/// The slots of a family to ask for.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: u32,
    width: u32,
}

/// Where the slots to ask for begin, and how many they are, by family.
#[derive(Debug, Default)]
pub(super) struct Windows(BTreeMap<Family, Window>);

impl Windows {
    /// The slots to ask for.
    pub(super) fn slots(&self, family: &Family) -> impl Iterator<Item = Slot> {
        let Window { from, width } = self.window(family);
        (from..from.saturating_add(width)).map(|number| family.clone().slot(number))
    }

    /// Looks at an answer to the slots of these families, and asks for further ones where every
    /// slot was taken; whether there is such a family, so that the answer was not all of it.
    pub(super) fn grow(&mut self, asked: &[Watched], entries: &[Entry]) -> bool {
        let mut grown = false;
        for watched in asked {
            let Watched::Family(family) = watched else { continue };
            let window = self.window(family);
            let found: BTreeMap<u32, bool> = entries
                .iter()
                .filter(|entry| entry.slot.family == *family)
                .map(|entry| (entry.slot.number, entry.content.is_ok()))
                .collect();
            let all = window.from..window.from.saturating_add(window.width);
            if !all.clone().all(|number| found.contains_key(&number)) {
                continue;
            }
            grown = true;
            // Rubbish in front stays rubbish and need not be asked for again.
            let first_valid = all.clone().find(|number| found[number]);
            let next = match first_valid {
                None => Window { from: all.end, width: WIDTH },
                Some(from) => Window { from, width: (all.end - from).saturating_add(WIDTH) },
            };
            self.0.insert(family.clone(), next);
        }
        grown
    }

    fn window(&self, family: &Family) -> Window {
        self.0.get(family).copied().unwrap_or(Window { from: 1, width: WIDTH })
    }
}

#[cfg(test)]
mod tests {
    use lockstep_shared::{
        codec::{Rubbish, Stated},
        id::RunKey,
        record::Record,
        source::Source,
        time::Timestamp,
    };

    use super::*;

    fn entry(number: u32, is_valid: bool) -> Entry {
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
        let source = Source::Coordinator("c".to_owned());
        let stated = Stated { event: format!("e{number}"), source, record: Record::Admitted {} };
        let content = if is_valid { Ok(stated) } else { Err(Rubbish::Body("no".to_owned())) };
        let slot = Family::Verdict.slot(number);
        Entry { seq: number.into(), time: Timestamp(number.into()), key, slot, content }
    }

    fn asked() -> [Watched; 1] {
        [Watched::Family(Family::Verdict)]
    }

    #[test]
    fn a_window_with_an_empty_slot_holds_all_that_can_be_valid() {
        let mut windows = Windows::default();
        let entries: Vec<Entry> = (1..WIDTH).map(|number| entry(number, false)).collect();
        assert!(!windows.grow(&asked(), &entries));
        assert_eq!(windows.slots(&Family::Verdict).next(), Some(Family::Verdict.slot(1)));
    }

    #[test]
    fn a_window_full_of_rubbish_is_left_behind() {
        let mut windows = Windows::default();
        let entries: Vec<Entry> = (1..=WIDTH).map(|number| entry(number, false)).collect();
        assert!(windows.grow(&asked(), &entries));
        let slots: Vec<Slot> = windows.slots(&Family::Verdict).collect();
        assert_eq!(slots.first(), Some(&Family::Verdict.slot(WIDTH + 1)));
        assert_eq!(slots.len(), WIDTH as usize);
    }

    #[test]
    fn what_is_valid_stays_in_the_window() {
        let mut windows = Windows::default();
        let entries: Vec<Entry> = (1..=WIDTH).map(|number| entry(number, number == 60)).collect();
        assert!(windows.grow(&asked(), &entries));
        let slots: Vec<Slot> = windows.slots(&Family::Verdict).collect();
        assert_eq!(slots.first(), Some(&Family::Verdict.slot(60)));
        assert_eq!(slots.last(), Some(&Family::Verdict.slot(2 * WIDTH)));
    }
}
