//! A write-once log in memory: what the stream promises, and no more.
//!
//! Of several writers to a slot exactly one wins; a publish that is repeated with its event id is
//! found again; every stored message has the next sequence and the server's time. What is stored
//! goes through the codec, as bytes, so that a record which cannot be read back is found here.

use std::collections::BTreeMap;

use lockstep_shared::{
    codec::{Draft, Entry, RawMessage, Via, decode, encode},
    id::{RunKey, Sequence},
    record::Record,
    source::Source,
    subject::{Slot, Subjects},
    time::Timestamp,
};

/// The log of one story.
#[derive(Debug, Clone, Default)]
pub struct Log {
    subjects: Subjects,
    entries: Vec<Entry>,
    events: Vec<String>,
    slots: BTreeMap<(RunKey, Slot), usize>,
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It was stored just now.
    Stored(Sequence),
    /// The same event had been stored before.
    Again(Sequence),
    /// The slot holds something else.
    Taken(Sequence),
}

impl Log {
    /// The bytes of a record, ready to be published any number of times.
    ///
    /// # Errors
    /// A sentence, if the record is over its size.
    pub fn draft(
        &self,
        key: &RunKey,
        slot: &Slot,
        record: &Record,
        source: &Source,
        now: Timestamp,
    ) -> Result<Draft, String> {
        encode(&self.subjects, key, slot, record, source, now, None)
            .map_err(|error| error.to_string())
    }

    /// A publish reaches the server.
    pub fn publish(&mut self, draft: &Draft, now: Timestamp) -> Published {
        let Some((key, slot)) = self.subjects.parse(&draft.subject) else {
            return Published::Taken(0);
        };
        if let Some(index) = self.slots.get(&(key.clone(), slot.clone())) {
            let seq = self.entries[*index].seq;
            let same = self.events[*index] == draft.event;
            return if same { Published::Again(seq) } else { Published::Taken(seq) };
        }
        let seq = self.end() + 1;
        let message = RawMessage {
            seq,
            time: now.max(self.entries.last().map_or(Timestamp(0), |last| last.time)),
            subject: draft.subject.clone(),
            headers: draft.headers.clone(),
            payload: draft.payload.clone(),
            via: Via::Consumer,
        };
        let Some(entry) = decode(&self.subjects, &message) else { return Published::Taken(0) };
        self.slots.insert((key, slot), self.entries.len());
        self.entries.push(entry);
        self.events.push(draft.event.clone());
        Published::Stored(seq)
    }

    /// The last sequence; 0 while nothing is stored.
    pub fn end(&self) -> Sequence {
        self.entries.len() as Sequence
    }

    /// Everything, in stream order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Everything above a position, in stream order.
    pub fn above(&self, position: Sequence) -> &[Entry] {
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(self.entries.len());
        &self.entries[from..]
    }

    /// Everything up to a position, in stream order.
    pub fn up_to(&self, position: Sequence) -> &[Entry] {
        let to = usize::try_from(position).unwrap_or(usize::MAX).min(self.entries.len());
        &self.entries[..to]
    }

    /// What a slot holds.
    pub fn slot(&self, key: &RunKey, slot: &Slot) -> Option<&Entry> {
        self.slots.get(&(key.clone(), slot.clone())).map(|index| &self.entries[*index])
    }

    /// The lowest empty slot of a slot's family, from that slot on.
    pub fn next_free(&self, key: &RunKey, mut slot: Slot) -> Slot {
        while self.slot(key, &slot).is_some() {
            slot.number += 1;
        }
        slot
    }

    /// What somebody publishes who is no party to the protocol: a server's answer that went to a
    /// reply subject, an empty message, a record that was meant for elsewhere.
    pub fn rubbish(&self, key: &RunKey, slot: &Slot, kind: u64) -> Draft {
        let subject = self.subjects.slot(key, slot);
        let event = format!("rubbish-{kind}-{subject}");
        let operator = Source::Operator("ada".to_owned());
        let draft =
            encode(&self.subjects, key, slot, &Record::Admitted {}, &operator, Timestamp(0), None);
        let (headers, payload) = match (kind % 4, draft) {
            (0, _) => (Vec::new(), br#"{"stream":"LOCKSTEP","seq":3}"#.to_vec()),
            (1, Ok(draft)) => {
                let forged = ("Nats-Sequence".to_owned(), "1".to_owned());
                (draft.headers.into_iter().chain([forged]).collect(), draft.payload)
            }
            // By its source, whatever the slot.
            (2, Ok(draft)) => (draft.headers, draft.payload),
            _ => (Vec::new(), Vec::new()),
        };
        Draft { subject, event, headers, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_shared::subject::Family;

    #[test]
    fn of_two_writers_one_wins_and_a_repetition_is_found_again() {
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
        let mut log = Log::default();
        let source = Source::Coordinator("c1".to_owned());
        let slot = Family::Admission.slot(1);
        let record = Record::Admitted {};
        let first = log.draft(&key, &slot, &record, &source, Timestamp(1)).unwrap();
        let second = log.draft(&key, &slot, &record, &source, Timestamp(1)).unwrap();
        assert_eq!(log.publish(&first, Timestamp(1)), Published::Stored(1));
        assert_eq!(log.publish(&second, Timestamp(2)), Published::Taken(1));
        assert_eq!(log.publish(&first, Timestamp(3)), Published::Again(1));
        assert_eq!(log.next_free(&key, slot), Family::Admission.slot(2));
    }

    #[test]
    fn rubbish_is_rubbish_in_every_family() {
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
        for family in [Family::Plan, Family::Admission, Family::Verdict, Family::Clock] {
            for kind in 0..4 {
                let mut log = Log::default();
                let rubbish = log.rubbish(&key, &family.clone().slot(1), kind);
                log.publish(&rubbish, Timestamp(1));
                assert!(log.entries()[0].content.is_err(), "{family:?} {kind}");
            }
        }
    }
}
