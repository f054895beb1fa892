//! What is said of each record as it is stored.

use std::collections::BTreeMap;

use lockstep_shared::{
    codec::Entry,
    fold::{Admission, RunFold},
    record::Record,
    subject::Family,
};

use super::{Case, Invariant, Judge, Judged, Summary, Violation};

impl Judge {
    /// A record was stored.
    pub fn appended(&mut self, entry: &Entry) -> Judged {
        self.pipeline.apply(entry);
        let case = self.runs.entry(entry.key.clone()).or_insert_with(|| Case {
            fold: RunFold::new(entry.key.clone()),
            summaries: vec![(0, Summary::default())],
            verdicts: BTreeMap::new(),
        });
        case.fold.apply(entry);
        case.verdict(entry)?;
        case.decisions(entry)?;
        self.admissions()?;
        self.awaited(entry)
    }

    /// One run of a pipeline at a time is admitted and has no Closed.
    fn admissions(&self) -> Judged {
        let open = self.runs.values().filter(|case| {
            matches!(case.fold.admission(), Admission::Admitted(_)) && case.fold.closed().is_none()
        });
        let open: Vec<String> = open.map(|case| case.fold.key().to_string()).collect();
        if open.len() > 1 {
            return Err(Violation::of(Invariant::OneRunAtATime, open.join(", ")));
        }
        Ok(())
    }

    /// An open run has something that will happen.
    fn awaited(&self, entry: &Entry) -> Judged {
        let Some(case) = self.runs.get(&entry.key) else { return Ok(()) };
        let fold = &case.fold;
        if fold.plan().is_none() || fold.closed().is_some() {
            return Ok(());
        }
        let queued = *fold.admission() == Admission::Pending
            && self.pipeline.standing(&entry.key.run).is_some();
        let runs = !fold.clocks().is_empty() || !fold.due().is_empty();
        if queued || runs {
            return Ok(());
        }
        let text = format!("{} has no clock, nothing is due, it is not queued", entry.key);
        Err(Violation::of(Invariant::SomethingIsAwaited, text))
    }
}

impl Case {
    /// Every verdict of a family agrees with the first, also those that came too late to count:
    /// whoever wrote one had read enough to know.
    fn verdict(&mut self, entry: &Entry) -> Judged {
        let Ok(stated) = &entry.content else { return Ok(()) };
        let said = match &stated.record {
            Record::Released { at } | Record::Committed { at } => (true, *at),
            Record::Aborted { at, .. } => (false, *at),
            _ => return Ok(()),
        };
        let first = *self.verdicts.entry(entry.slot.family.clone()).or_insert(said);
        if first.0 != said.0 && matches!(entry.slot.family, Family::Verdict | Family::Outcome(_)) {
            let text = format!("{} of {}: {first:?} and {said:?}", entry.slot.family, entry.key);
            return Err(Violation::of(Invariant::NeverBoth, text));
        }
        if first != said {
            let text = format!("{} of {}: {first:?} and {said:?}", entry.slot.family, entry.key);
            return Err(Violation::of(Invariant::OneVerdict, text));
        }
        Ok(())
    }

    fn decisions(&mut self, entry: &Entry) -> Judged {
        let now = Summary::of(&self.fold);
        let before = self.summaries.last().map(|(_, summary)| summary);
        if let Some(lost) = before.and_then(|before| before.lost_in(&now)) {
            let text = format!("#{} in {}: {lost}", entry.seq, entry.key);
            return Err(Violation::of(Invariant::DecisionsStand, text));
        }
        if let Some(alarm) = self.fold.alarm() {
            return Err(Violation::of(Invariant::VerdictsFollow, alarm));
        }
        if before != Some(&now) {
            self.summaries.push((entry.seq, now));
        }
        Ok(())
    }
}
