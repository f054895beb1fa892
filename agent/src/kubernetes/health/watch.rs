//! One object over time: how long it has been as it is, and what that means (rules 15 to 21).
//!
//! Time counts only while it is looked at: what is further apart than [`LONGEST_GAP`] was not seen,
//! so that an API server that was away proves neither health nor a failure.

use std::collections::BTreeMap;

use lockstep_shared::time::{Span, Timestamp};

use super::{
    Health, Look, Rules, Sight, judge,
    look::Progress,
    pin::Pin,
    pods::{CRASHING, Container},
};

/// How much time between two looks counts at most.
const LONGEST_GAP: Span = Span::seconds(15);

/// How long things may be as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long an object must be healthy without a gap; at least its own minReadySeconds.
    pub settle: Span,
    /// How long one that was healthy may be otherwise.
    pub grace: Span,
    /// How long containers may fail to start, and pods may be refused.
    pub failing: Span,
    /// How often a crashing container may be started again.
    pub restarts: i32,
    /// How long a StatefulSet or DaemonSet may make no progress.
    pub progress: Span,
}

impl Default for Limits {
    /// The defaults of the pipeline file; for `progress` that of a Deployment's own deadline.
    fn default() -> Self {
        Self {
            settle: Span::seconds(10),
            grace: Span::seconds(60),
            failing: Span::seconds(60),
            restarts: 3,
            progress: Span::minutes(10),
        }
    }
}

/// What is to be said of an object after a look, all earlier looks regarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is not healthy yet, or not for long enough: "1/3 updated, 1 old pod left".
    InProgress(String),
    /// It has been healthy for long enough.
    Healthy,
    /// It was, is not now, and its grace is not over.
    Degraded(String),
    /// It failed, and why.
    Failed(String),
    /// It is done for good and needs no further look.
    Settled,
}

/// One object that is watched.
#[derive(Debug)]
pub(super) struct Watch {
    pin: Pin,
    limits: Limits,
    clock: Clock,
    finished: bool,
    settled: bool,
    exists_only: bool,
    healthy_since: Option<Span>,
    unhealthy_since: Option<Span>,
    progress: Option<(Progress, Span)>,
    troubles: BTreeMap<&'static str, Span>,
    failing: BTreeMap<ContainerId, Span>,
    restarts: BTreeMap<ContainerId, Restarts>,
}

type ContainerId = (String, String);

/// How often a container was started again when that began to count, and at the last look.
#[derive(Debug, Clone, Copy)]
struct Restarts {
    before: i32,
    now: i32,
}

/// The time that was looked at.
#[derive(Debug, Default)]
struct Clock {
    last: Option<Timestamp>,
    passed: Span,
}

impl Clock {
    fn pass(&mut self, now: Timestamp) -> Span {
        let gap = self.last.map_or(Span(0), |last| now.since(last)).min(LONGEST_GAP);
        self.last = self.last.max(Some(now));
        self.passed = Span(self.passed.0.saturating_add(gap.0));
        self.passed
    }
}

impl Watch {
    /// Watches the object that this pins.
    pub(super) fn new(pin: Pin, limits: Limits) -> Self {
        Self {
            pin,
            limits,
            clock: Clock::default(),
            finished: false,
            settled: false,
            exists_only: false,
            healthy_since: None,
            unhealthy_since: None,
            progress: None,
            troubles: BTreeMap::new(),
            failing: BTreeMap::new(),
            restarts: BTreeMap::new(),
        }
    }

    /// Done for good, whatever happens to it.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// From now on it has a grace: everything of its step has been healthy for long enough.
    pub(super) fn finish(&mut self) {
        self.finished = true;
        // The restarts that it took to become healthy are forgiven.
        self.restarts.values_mut().for_each(|restarts| restarts.before = restarts.now);
    }

    /// Whether nothing on the object told of its health at the last look.
    pub(super) fn exists_only(&self) -> bool {
        self.exists_only
    }

    /// Takes one look, made at `now` by the server's clock.
    pub(super) fn see(&mut self, sight: Sight<'_>, rules: &Rules, now: Timestamp) -> Verdict {
        if self.settled {
            return Verdict::Settled;
        }
        let now = self.clock.pass(now);
        let look = judge(sight, &self.pin, rules);
        self.exists_only = look.health == Health::Exists;
        self.note(&look, now);
        match look.health {
            Health::Settled => {
                self.settled = true;
                Verdict::Settled
            }
            Health::Failed => Verdict::Failed(look.text),
            Health::Healthy | Health::Exists => self.healthy(&look, now),
            Health::InProgress => match self.lasting(&look, now) {
                Some(why) => Verdict::Failed(why),
                None => self.unhealthy(look.text, now),
            },
        }
    }

    fn healthy(&mut self, look: &Look, now: Span) -> Verdict {
        self.unhealthy_since = None;
        let held = since(*self.healthy_since.get_or_insert(now), now);
        let needed = self.limits.settle.max(look.hold);
        if self.finished || held >= needed {
            return Verdict::Healthy;
        }
        Verdict::InProgress(format!("{} for {held} of {needed}", look.text))
    }

    fn unhealthy(&mut self, text: String, now: Span) -> Verdict {
        self.healthy_since = None;
        if !self.finished {
            return Verdict::InProgress(text);
        }
        let lasted = since(*self.unhealthy_since.get_or_insert(now), now);
        let grace = self.limits.grace;
        if lasted >= grace {
            return Verdict::Failed(format!(
                "was healthy and has not been so for {lasted}: {text}; see its pods and events \
                 (`kubectl describe`)"
            ));
        }
        Verdict::Degraded(format!("{text}, for {lasted} of {grace}"))
    }

    /// Notes since when things are as they are.
    fn note(&mut self, look: &Look, now: Span) {
        // What a finished object's containers went through before the first look is forgiven too.
        let forgiven = self.finished && self.progress.is_none();
        let farther = |(known, _): &(Progress, Span)| {
            known.goal != look.progress.goal || look.progress.done > known.done
        };
        if self.progress.as_ref().is_none_or(farther) {
            self.progress = Some((look.progress.clone(), now));
        }
        let troubled = |what: &str| look.troubles.iter().any(|trouble| trouble.what == what);
        self.troubles.retain(|what, _| troubled(what));
        for trouble in &look.troubles {
            self.troubles.entry(trouble.what).or_insert(now);
        }
        let listed = |id: &ContainerId| look.containers.iter().any(|found| &found.id == id);
        self.failing.retain(|id, _| listed(id));
        self.restarts.retain(|id, _| listed(id));
        for container in &look.containers {
            self.note_container(container, forgiven, now);
        }
    }

    fn note_container(&mut self, container: &Container, forgiven: bool, now: Span) {
        let before = if container.fresh && !forgiven { 0 } else { container.restarts };
        let known = self.restarts.entry(container.id.clone());
        known.or_insert(Restarts { before, now: 0 }).now = container.restarts;
        // Between two crashes a container runs for a while: only being ready ends the stretch.
        if container.ready {
            self.failing.remove(&container.id);
        } else if container.failing.is_some() {
            self.failing.entry(container.id.clone()).or_insert(now);
        }
    }

    /// What has lasted too long, if anything has.
    fn lasting(&self, look: &Look, now: Span) -> Option<String> {
        let mut containers = look.containers.iter();
        containers
            .find_map(|container| self.failing_too_long(container, now))
            .or_else(|| self.troubled_too_long(look, now))
            .or_else(|| self.stuck(look, now))
    }

    fn failing_too_long(&self, container: &Container, now: Span) -> Option<String> {
        let failing = container.failing.as_ref()?;
        let lasted = since(*self.failing.get(&container.id)?, now);
        let restarts = self.restarts.get(&container.id).map_or(0, |count| count.now - count.before);
        let too_often = failing.reason == CRASHING && restarts >= self.limits.restarts;
        if lasted < self.limits.failing && !too_often {
            return None;
        }
        let (told, advice) = (container.told()?, failing.advice);
        Some(format!("{told} (for {lasted}, restarts: {restarts}); {advice}"))
    }

    /// A trouble counts from the last progress on: a rollout that gets on may be refused pods.
    fn troubled_too_long(&self, look: &Look, now: Span) -> Option<String> {
        let progress = self.progress.as_ref().map_or(now, |(_, at)| *at);
        let lasted = |what| self.troubles.get(what).map(|at| since((*at).max(progress), now));
        let mut troubles = look.troubles.iter();
        let found = troubles.find(|trouble| lasted(trouble.what) >= Some(self.limits.failing))?;
        Some(format!("{} (for {} now)", found.text, lasted(found.what)?))
    }

    fn stuck(&self, look: &Look, now: Span) -> Option<String> {
        let lasted = since(self.progress.as_ref()?.1, now);
        (look.without_deadline && lasted >= self.limits.progress).then(|| {
            format!(
                "{}, and no progress for {lasted}; see its pods and events (`kubectl describe`)",
                look.text
            )
        })
    }
}

fn since(then: Span, now: Span) -> Span {
    Span(now.0.saturating_sub(then.0))
}
