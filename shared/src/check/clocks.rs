//! Timeouts against each other.
//!
//! The timeouts of steps bound how late a party can be; where a barrier allows less, the run may
//! be aborted although nothing failed, which is told in advance.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    diagnostics::Findings,
    error_code::Code,
    id::BarrierId,
    pipeline::{
        Draft, WorkflowDraft,
        draft::{BarrierDraft, StepDraft},
        suggest,
    },
    plan::{Action, OnFailure, Timeouts},
    time::Span,
};

/// The estimate is left out where it would take longer than a moment: it is only a warning.
const MAX_WORK: usize = 2_000_000;

/// Checks every barrier's timeout.
pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let run = draft.clocks.run.as_ref();
    let limit = run.map_or(Timeouts::default().run, |run| run.value);
    let parties = draft.parties();
    for (id, barrier) in &draft.barriers {
        if barrier.clock() > limit {
            let place = barrier.timeout.as_ref().map_or(barrier.place, |timeout| timeout.place);
            let clock = barrier.clock();
            let finding = findings
                .report(
                    Code::BarrierTimeout,
                    format!("the barrier `{id}` may take {clock}, but the whole run only {limit}"),
                )
                .at(place, format!("the barrier's timeout is {clock}"));
            if let Some(run) = run {
                finding.at(run.place, "the run's timeout");
            }
        }
        let met = parties.get(id).into_iter().flatten().any(|workflow| !workflow.waived);
        // Who wrote a timeout has answered the question.
        if met && !barrier.parties.is_empty() && barrier.timeout.is_none() {
            approvals(draft, id, barrier, findings);
        }
    }
    if let Some(legs) = Legs::of(draft) {
        legs.check(draft, findings);
    }
}

fn approvals(draft: &Draft, id: &BarrierId, barrier: &BarrierDraft, findings: &mut Findings) {
    let clock = barrier.clock();
    let parties = suggest::listed(barrier.parties.iter().map(|party| party.value.as_str()));
    let then = match draft.on_failure {
        OnFailure::RollbackAll => "the run is aborted and everybody rolls back",
        OnFailure::EachOwn => "the workflows that meet there roll back",
    };
    findings
        .report(
            Code::ApprovalTime,
            format!(
                "the barrier `{id}` waits for {parties} until {clock} after the first workflow's \
                 arrival; then {then}"
            ),
        )
        .at(barrier.place, format!("no `timeout` is written, so it is the usual {clock}"));
}

/// How long a workflow can take from one barrier to the next one.
#[derive(Debug, Clone, Copy)]
struct Leg<'a> {
    workflow: &'a WorkflowDraft,
    /// The barrier before, or the beginning.
    from: Option<&'a BarrierId>,
    /// At the least.
    least: u64,
    /// At the most.
    most: u64,
}

/// Every workflow's way to each barrier.
struct Legs<'a> {
    to: BTreeMap<&'a BarrierId, Vec<Leg<'a>>>,
}

impl<'a> Legs<'a> {
    /// The ways of a draft, unless there are too many to look at or barriers that form a circle.
    fn of(draft: &'a Draft) -> Option<Self> {
        let mut to: BTreeMap<&BarrierId, Vec<Leg<'_>>> = BTreeMap::new();
        let mut count = 0;
        for workflow in draft.workflows.iter().filter(|workflow| !workflow.waived) {
            let mut leg = Leg { workflow, from: None, least: 0, most: 0 };
            for step in workflow.active_steps() {
                if let Some(meeting) = &step.barrier {
                    to.entry(&meeting.value).or_default().push(leg);
                    leg = Leg { workflow, from: Some(&meeting.value), least: 0, most: 0 };
                    count += 1;
                } else {
                    let (least, most) = bounds(step);
                    leg.least = leg.least.saturating_add(least);
                    leg.most = leg.most.saturating_add(most);
                }
            }
        }
        let legs = Self { to };
        (legs.to.len().saturating_mul(count) <= MAX_WORK && legs.in_order().is_some())
            .then_some(legs)
    }

    /// The barriers in an order in which they can be met.
    fn in_order(&self) -> Option<Vec<&'a BarrierId>> {
        let mut open: BTreeMap<&BarrierId, usize> = BTreeMap::new();
        let mut after: BTreeMap<&BarrierId, Vec<&'a BarrierId>> = BTreeMap::new();
        for (barrier, legs) in &self.to {
            open.insert(barrier, legs.iter().filter(|leg| leg.from.is_some()).count());
            for from in legs.iter().filter_map(|leg| leg.from) {
                after.entry(from).or_default().push(barrier);
            }
        }
        let mut ready: Vec<&'a BarrierId> =
            self.to.keys().copied().filter(|barrier| open[barrier] == 0).collect();
        let mut order = Vec::with_capacity(self.to.len());
        while let Some(barrier) = ready.pop() {
            order.push(barrier);
            for next in after.get(barrier).into_iter().flatten() {
                let left = open.get_mut(next)?;
                *left -= 1;
                if *left == 0 {
                    ready.push(next);
                }
            }
        }
        (order.len() == self.to.len()).then_some(order)
    }

    fn check(&self, draft: &Draft, findings: &mut Findings) {
        let Some(order) = self.in_order() else { return };
        let mut gaps: BTreeMap<&BarrierId, (u64, Leg<'_>, Leg<'_>)> = BTreeMap::new();
        let starts: BTreeSet<Option<&BarrierId>> =
            self.to.values().flatten().map(|leg| leg.from).collect();
        for start in starts {
            let latest = self.latest_releases(start, &order);
            for (barrier, legs) in &self.to {
                for first in legs.iter().filter(|leg| leg.from == start) {
                    let Some((arrival, last)) = last_arrival(legs, first, &latest) else {
                        continue;
                    };
                    let gap = arrival.saturating_sub(first.least);
                    let known = gaps.entry(barrier).or_insert((gap, *first, last));
                    if gap > known.0 {
                        *known = (gap, *first, last);
                    }
                }
            }
        }
        for (id, (gap, first, last)) in gaps {
            if let Some(barrier) = draft.barriers.get(id) {
                warn(id, barrier, Span(gap), &first, &last, findings);
            }
        }
    }

    /// How long after the release of `start` each barrier is released at the latest; one that is
    /// before `start` is released by then.
    fn latest_releases(
        &self,
        start: Option<&BarrierId>,
        order: &[&'a BarrierId],
    ) -> BTreeMap<&'a BarrierId, u64> {
        let before = self.before(start);
        let mut latest: BTreeMap<&BarrierId, u64> = BTreeMap::new();
        for barrier in order {
            let release = if before.contains(barrier) {
                0
            } else {
                let arrivals = self.to[barrier].iter().map(|leg| arrival(leg, &latest));
                arrivals.max().unwrap_or_default()
            };
            latest.insert(barrier, release);
        }
        latest
    }

    /// The barrier itself and all that are released before it.
    fn before(&self, start: Option<&'a BarrierId>) -> BTreeSet<&'a BarrierId> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&BarrierId> = start.into_iter().collect();
        while let Some(barrier) = open.pop() {
            if found.insert(barrier) {
                open.extend(self.to.get(barrier).into_iter().flatten().filter_map(|leg| leg.from));
            }
        }
        found
    }
}

/// When a workflow arrives at the latest.
fn arrival(leg: &Leg<'_>, latest: &BTreeMap<&BarrierId, u64>) -> u64 {
    let release = leg.from.and_then(|from| latest.get(from)).copied().unwrap_or_default();
    release.saturating_add(leg.most)
}

fn last_arrival<'a>(
    legs: &[Leg<'a>],
    first: &Leg<'_>,
    latest: &BTreeMap<&BarrierId, u64>,
) -> Option<(u64, Leg<'a>)> {
    legs.iter()
        .filter(|leg| leg.workflow.name.value != first.workflow.name.value)
        .map(|leg| (arrival(leg, latest), *leg))
        .max_by_key(|(arrival, _)| *arrival)
}

/// How long a step takes at the least and, every attempt running into its timeout, at the most.
/// The pauses between attempts are left out.
fn bounds(step: &StepDraft) -> (u64, u64) {
    let attempts = u64::from(step.step.retries) + 1;
    let most = step.step.timeout.0.saturating_mul(attempts);
    match &step.step.action {
        Action::Wait(span) => (span.0, span.0),
        Action::Verify(verify) => (verify.hold.0, most),
        Action::Deploy(_) | Action::Run(_) | Action::Barrier(_) => (0, most),
    }
}

fn warn(
    id: &BarrierId,
    barrier: &BarrierDraft,
    gap: Span,
    first: &Leg<'_>,
    last: &Leg<'_>,
    findings: &mut Findings,
) {
    let clock = barrier.clock();
    if gap <= clock {
        return;
    }
    let (first, last) = (&first.workflow.name.value, &last.workflow.name.value);
    let place = barrier.timeout.as_ref().map_or(barrier.place, |timeout| timeout.place);
    findings
        .report(
            Code::ShortBarrierTimeout,
            format!(
                "the barrier `{id}` waits for {clock}, but `{last}` may arrive up to {gap} after \
                 `{first}`"
            ),
        )
        .at(place, format!("less than {gap}"));
}
