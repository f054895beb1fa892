//! Appends under way: at most one to a workflow's slots, and one to a party's.
//!
//! Two lanes, so that a Failed need not wait for an Arrived whose answer is missing.

use lockstep_shared::{
    id::Sequence,
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

use crate::{event::Appended, view::View};

/// How long to wait after an append that gave up, before the next one.
const PAUSE: Span = Span::seconds(1);

/// The appends under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lanes {
    workflow: Lane,
    party: Lane,
}

/// One append under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    #[default]
    Free,
    /// Not answered yet.
    Sent(Slot),
    /// Given up before its answer, since the log lost records; whatever the answer says, it is of
    /// no log that is read.
    Recalled(Slot),
    /// Its slot is known to be taken, by our record or another, and has to be read.
    Taken { slot: Slot, seq: Sequence, ours: bool },
    /// It gave up; whatever it did to the slot will be read.
    InDoubt { until: Timestamp },
}

impl Lanes {
    pub(crate) fn of(&self, family: &Family) -> &Lane {
        match family {
            Family::Party(..) => &self.party,
            _ => &self.workflow,
        }
    }

    fn of_mut(&mut self, family: &Family) -> &mut Lane {
        match family {
            Family::Party(..) => &mut self.party,
            _ => &mut self.workflow,
        }
    }

    pub(crate) fn send(&mut self, slot: Slot) {
        let lane = self.of_mut(&slot.family);
        *lane = Lane::Sent(slot);
    }

    /// Takes back an arrival that was to be sent but never was.
    pub(crate) fn unsend_party(&mut self) {
        self.party = Lane::Free;
    }

    /// Forgets what was stored in a log that lost records; whether something is under way that
    /// must not reach it.
    pub(crate) fn lose(&mut self) -> bool {
        let mut recalls = false;
        for lane in [&mut self.workflow, &mut self.party] {
            match lane {
                Lane::Taken { .. } => *lane = Lane::Free,
                Lane::Sent(slot) => {
                    *lane = Lane::Recalled(slot.clone());
                    recalls = true;
                }
                Lane::Free | Lane::Recalled(_) | Lane::InDoubt { .. } => {}
            }
        }
        recalls
    }

    /// Notes an answer; what it comes to, if it was waited for.
    pub(crate) fn answered(
        &mut self,
        slot: &Slot,
        outcome: Appended,
        now: Timestamp,
    ) -> Option<Appended> {
        let lane = self.of_mut(&slot.family);
        let outcome = match lane {
            Lane::Sent(sent) if sent == slot => outcome,
            Lane::Recalled(sent) if sent == slot => Appended::InDoubt,
            _ => return None,
        };
        let slot = slot.clone();
        *lane = match outcome {
            Appended::Stored(seq) => Lane::Taken { slot, seq, ours: true },
            Appended::Taken(seq) => Lane::Taken { slot, seq, ours: false },
            Appended::InDoubt => Lane::InDoubt { until: now.after(PAUSE) },
        };
        Some(outcome)
    }

    /// Whether the next record may be sent, given what was read or heard; if a moment has to
    /// pass first, that moment.
    pub(crate) fn is_free(
        &self,
        family: &Family,
        heard: &View,
        now: Timestamp,
    ) -> Result<bool, Timestamp> {
        match self.of(family) {
            Lane::Free => Ok(true),
            Lane::Sent(_) | Lane::Recalled(_) => Ok(false),
            Lane::Taken { slot, .. } => Ok(heard.is_taken(slot)),
            Lane::InDoubt { until } if now >= *until => Ok(true),
            Lane::InDoubt { until } => Err(*until),
        }
    }

    /// Frees the lanes whose slots were read.
    pub(crate) fn settle(&mut self, view: &View) {
        for lane in [&mut self.workflow, &mut self.party] {
            if matches!(lane, Lane::Taken { slot, .. } if view.is_taken(slot)) {
                *lane = Lane::Free;
            }
        }
    }

    /// Frees the lanes whose record a whole reading of a log that lost records lies above: it may
    /// stand behind slots that are empty again, and then is never read in turn.
    pub(crate) fn settle_below(&mut self, position: Sequence) {
        for lane in [&mut self.workflow, &mut self.party] {
            if matches!(lane, Lane::Taken { seq, .. } if *seq <= position) {
                *lane = Lane::Free;
            }
        }
    }

    /// Our stored records that have not been read yet.
    pub(crate) fn stored(&self) -> impl Iterator<Item = (&Slot, Sequence)> {
        [&self.workflow, &self.party].into_iter().filter_map(|lane| match lane {
            Lane::Taken { slot, seq, ours: true } => Some((slot, *seq)),
            _ => None,
        })
    }

    /// Whether any append has not been answered.
    pub(crate) fn is_appending(&self) -> bool {
        [&self.workflow, &self.party].iter().any(|lane| matches!(lane, Lane::Sent(_)))
    }

    /// Whether an append has not been answered.
    pub(crate) fn is_waiting(&self, family: &Family) -> bool {
        matches!(self.of(family), Lane::Sent(_) | Lane::Recalled(_))
    }
}
