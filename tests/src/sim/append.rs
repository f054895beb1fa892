//! Publishing a record until it is known what its slot holds, as the bus does it: the same bytes
//! and the same id again and again, whose copies may be late, lost, doubled or out of order.

use lockstep_agent_core::{Appended, Event};
use lockstep_shared::{
    codec::Draft,
    id::RunKey,
    record::Record,
    source::Source,
    subject::{Family, Slot},
};

use super::{
    judge::Judged,
    process::{Life, Process},
    world::{Happening, Message, World},
};
use crate::log::Published;

/// A record on its way.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) life: Life,
    pub(super) key: RunKey,
    pub(super) slot: Slot,
    draft: Draft,
    /// Whether its writer knows what became of it, or has given up.
    pub(super) is_over: bool,
}

/// What a writer learns in the end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Learned {
    Stored(lockstep_shared::id::Sequence),
    Taken(lockstep_shared::id::Sequence),
    InDoubt,
}

impl World {
    /// A process appends a record.
    pub(super) fn append(
        &mut self,
        process: Process,
        key: &RunKey,
        slot: &Slot,
        record: &Record,
        source: &Source,
    ) -> Judged {
        let life = self.life(process);
        let draft = self.draft(key, slot, record, source)?;
        let number = self.publishes.len() as u64;
        let (key, slot) = (key.clone(), slot.clone());
        self.publishes.insert(number, Publish { life, key, slot, draft, is_over: false });
        self.attempt(number);
        Ok(())
    }

    fn attempt(&mut self, number: u64) {
        let Some(publish) = self.publishes.get(&number) else { return };
        let life = publish.life;
        if self.vitals(life.process).linked {
            for delay in self.weather().delays(&mut self.chance) {
                self.after(delay, Happening::Publish(number));
            }
        }
        let patience = self.chance.between(300, 1_500);
        self.after(patience, Happening::To(life, Message::Unanswered(number)));
    }

    /// A copy reaches the log, whoever has forgotten it meanwhile.
    pub(super) fn publish_arrives(&mut self, number: u64) -> Judged {
        let Some(publish) = self.publishes.get(&number) else { return Ok(()) };
        let (life, draft) = (publish.life, publish.draft.clone());
        let published = self.log.publish(&draft, self.now);
        if let Published::Stored(seq) = published {
            let entry = self.log.above(seq - 1)[0].clone();
            self.stored(&entry)?;
        }
        if self.vitals(life.process).linked {
            for delay in self.weather().delays(&mut self.chance) {
                self.after(delay, Happening::To(life, Message::Answer(number, published)));
            }
        }
        Ok(())
    }

    pub(super) fn answered(&mut self, number: u64, published: Published) -> Judged {
        match published {
            Published::Stored(seq) | Published::Again(seq) => {
                self.learned(number, Learned::Stored(seq))
            }
            Published::Taken(seq) => self.learned(number, Learned::Taken(seq)),
        }
    }

    /// Most writers go on for ever; now and then one gives up, and the record may still come.
    pub(super) fn unanswered(&mut self, number: u64) -> Judged {
        if self.publishes.get(&number).is_none_or(|publish| publish.is_over) {
            return Ok(());
        }
        if !self.is_calm && self.chance.percent(10) {
            return self.learned(number, Learned::InDoubt);
        }
        self.attempt(number);
        Ok(())
    }

    /// An agent publishes nothing of a run any more that is under way.
    pub(super) fn recall(&mut self, index: usize, key: &RunKey) {
        let life = self.life(Process::Agent(index));
        let own = |publish: &Publish| publish.life == life && publish.key == *key;
        let under_way: Vec<u64> = self
            .publishes
            .iter()
            .filter(|(_, publish)| own(publish) && !publish.is_over)
            .map(|(number, _)| *number)
            .collect();
        for number in under_way {
            let Some(publish) = self.publishes.get_mut(&number) else { continue };
            publish.is_over = true;
            let (slot, outcome) = (publish.slot.clone(), Appended::InDoubt);
            self.at_once(index, key, Event::Appended { slot, outcome });
        }
    }

    fn learned(&mut self, number: u64, learned: Learned) -> Judged {
        let Some(publish) = self.publishes.get_mut(&number).filter(|publish| !publish.is_over)
        else {
            return Ok(());
        };
        publish.is_over = true;
        let (life, key, slot) = (publish.life, publish.key.clone(), publish.slot.clone());
        match life.process {
            Process::Agent(index) => self.agent_learned(index, &key, slot, learned),
            Process::Coordinator(index) => self.coordinator_learned(index, key, slot, learned),
        }
    }

    /// Somebody outside states something: it goes to the next free slot, at once.
    pub(super) fn state(
        &mut self,
        key: &RunKey,
        family: &Family,
        record: &Record,
        source: &Source,
    ) -> Judged {
        let slot = match family {
            Family::Plan => Family::Plan.slot(1),
            family => self.log.next_free(key, family.clone().slot(1)),
        };
        let draft = self.draft(key, &slot, record, source)?;
        self.publish_now(&draft)
    }

    pub(super) fn publish_now(&mut self, draft: &Draft) -> Judged {
        if let Published::Stored(seq) = self.log.publish(draft, self.now) {
            let entry = self.log.above(seq - 1)[0].clone();
            self.stored(&entry)?;
        }
        Ok(())
    }

    fn draft(
        &self,
        key: &RunKey,
        slot: &Slot,
        record: &Record,
        source: &Source,
    ) -> Result<Draft, super::Violation> {
        self.log.draft(key, slot, record, source, self.now).map_err(|error| {
            super::Violation::of(super::Invariant::EveryRecordFits, format!("{slot}: {error}"))
        })
    }
}
