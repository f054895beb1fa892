//! All objects of a step over time (rules 21 and 22).

use std::collections::BTreeMap;

use lockstep_shared::time::Timestamp;

use super::{Limits, Pin, Rules, Sight, Verdict, watch::Watch};
use crate::kubernetes::object::ObjectKey;

/// What is to be said of a step's objects together. Every text names its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepVerdict {
    /// Not all are healthy for long enough; the line of the first that is not.
    InProgress(String),
    /// All have been, at the same time.
    Healthy,
    /// They were, and one is not now; its grace is not over.
    Degraded(String),
    /// One failed.
    Failed {
        /// Which.
        object: ObjectKey,
        /// Why, and what to do.
        why: String,
    },
    /// All are done for good: there is nothing to watch.
    Settled,
}

/// The health of a step's objects, from the looks that were taken at them.
///
/// In progress until all have been healthy at the same time, each for its settle. From then on it
/// is finished: an object that is not healthy has a grace before it fails.
#[derive(Debug)]
pub struct StepHealth {
    limits: Limits,
    rules: Rules,
    finished: bool,
    objects: BTreeMap<ObjectKey, (Watch, Verdict)>,
}

impl StepHealth {
    /// The health of a step that is about to be applied.
    pub fn new(limits: Limits, rules: Rules) -> Self {
        Self { limits, rules, finished: false, objects: BTreeMap::new() }
    }

    /// The health of a step that an earlier incarnation saw finished: all of its objects have been
    /// healthy, and its Jobs are complete.
    pub fn finished(limits: Limits, rules: Rules) -> Self {
        Self { finished: true, ..Self::new(limits, rules) }
    }

    /// Watches an object from its apply on; a second apply begins anew.
    pub fn pin(&mut self, object: ObjectKey, pin: Pin) {
        let mut watch = Watch::new(pin, self.limits);
        if self.finished {
            watch.finish();
            if (object.api_version.as_str(), object.kind.as_str()) == ("batch/v1", "Job") {
                watch.settle();
            }
        }
        let verdict = Verdict::InProgress("not looked at yet".to_owned());
        self.objects.insert(object, (watch, verdict));
    }

    /// The objects that have to be looked at: all but those that are done for good.
    pub fn wanted(&self) -> impl Iterator<Item = &ObjectKey> {
        let live = self.objects.iter().filter(|(_, (_, verdict))| *verdict != Verdict::Settled);
        live.map(|(object, _)| object)
    }

    /// Takes one look at an object, made at `now` by the server's clock. A look at an object that
    /// was not pinned is ignored.
    pub fn see(&mut self, object: &ObjectKey, sight: Sight<'_>, now: Timestamp) -> StepVerdict {
        if let Some((watch, verdict)) = self.objects.get_mut(object) {
            *verdict = watch.see(sight, &self.rules, now);
        }
        let good = |verdict: &Verdict| matches!(verdict, Verdict::Healthy | Verdict::Settled);
        if !self.finished && self.objects.values().all(|(_, verdict)| good(verdict)) {
            self.finished = true;
            self.objects.values_mut().for_each(|(watch, _)| watch.finish());
        }
        self.verdict()
    }

    /// What the looks so far say.
    pub fn verdict(&self) -> StepVerdict {
        for (object, (_, verdict)) in &self.objects {
            if let Verdict::Failed(why) = verdict {
                return StepVerdict::Failed { object: object.clone(), why: line(object, why) };
            }
        }
        let mut lines = self.lines();
        let settled = self.objects.values().all(|(_, verdict)| *verdict == Verdict::Settled);
        match (lines.len(), self.finished) {
            (0, _) if settled => StepVerdict::Settled,
            (0, _) => StepVerdict::Healthy,
            (1, true) => StepVerdict::Degraded(lines.swap_remove(0)),
            (1, false) => StepVerdict::InProgress(lines.swap_remove(0)),
            (count, true) => StepVerdict::Degraded(first_of(&lines, count)),
            (count, false) => StepVerdict::InProgress(first_of(&lines, count)),
        }
    }

    /// One line for each object that is not as it should be: "Deployment web: 1/3 updated, 1 old
    /// pod left".
    pub fn lines(&self) -> Vec<String> {
        let told = |(object, (_, verdict)): (&ObjectKey, &(Watch, Verdict))| match verdict {
            Verdict::InProgress(text) | Verdict::Degraded(text) | Verdict::Failed(text) => {
                Some(line(object, text))
            }
            Verdict::Healthy | Verdict::Settled => None,
        };
        self.objects.iter().filter_map(told).collect()
    }

    /// The objects of which nothing is known but that they exist; a `healthy` rule for their kinds
    /// would tell more.
    pub fn existence_only(&self) -> Vec<&ObjectKey> {
        let found = self.objects.iter().filter(|(_, (watch, _))| watch.exists_only());
        found.map(|(object, _)| object).collect()
    }
}

fn line(object: &ObjectKey, text: &str) -> String {
    format!("{} {}: {text}", object.kind, object.name)
}

fn first_of(lines: &[String], count: usize) -> String {
    let first = lines.first().map(String::as_str).unwrap_or_default();
    format!("{first} (and {} more)", count - 1)
}
