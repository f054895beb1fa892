//! From a run's log to its report.

use lockstep_shared::{
    fold::{
        Admission, BarrierFate, BarrierState, Decision, MAX_NOTES, Note, Request, RunFold, listed,
    },
    id::{BarrierId, Sequence, WorkflowName},
    plan::{Plan, Target},
    record::{Deadline, Outcome, Record, RunResult},
    time::Timestamp,
};

use super::{
    ArrivalReport, At, BarrierReport, BarrierStage, Coordinator, Heard, Phase, RequestReport,
    RunReport, VoidReport, images, rough,
    waiting::waiting,
    workflow::{untidied, workflow},
};

/// How long agents may take to join before a person is told who is missing.
const JOIN_PATIENCE_MS: u64 = 10_000;

/// What is known of a run, for a person and for programs.
pub(crate) fn report(fold: &RunFold, heard: &Heard) -> RunReport {
    let phase = phase(fold);
    let plan = fold.plan();
    let admitted = match fold.admission() {
        Admission::Admitted(moment) => Some(At(moment.time)),
        Admission::Pending | Admission::Refused { .. } => None,
    };
    let workflows = plan.map_or_else(Vec::new, |plan| {
        plan.workflows.iter().map(|(name, planned)| workflow(fold, heard, name, planned)).collect()
    });
    let closed = fold.closed();
    RunReport {
        pipeline: fold.key().pipeline.clone(),
        run: fold.key().run.clone(),
        phase,
        result: closed.map(|closed| closed.result),
        cancelled: is_cancelled(fold),
        summary: summary(fold, heard, phase),
        submitted_by: fold.submitted_by().map(str::to_owned),
        planned: fold.planned().map(|moment| At(moment.time)),
        admitted,
        closed: closed.map(|closed| At(closed.moment.time)),
        decided_by: decided_by(fold),
        params: plan.map(|plan| plan.params.clone()).unwrap_or_default(),
        from_run: plan.and_then(|plan| plan.from_run.clone()),
        skipped_checks: plan
            .map(|plan| plan.skipped_checks.iter().cloned().collect())
            .unwrap_or_default(),
        waiting: waiting(fold, heard),
        cause: fold
            .first_cause()
            .or_else(|| closed.and_then(|closed| closed.cause.as_ref()))
            .cloned(),
        workflows,
        barriers: plan.map_or_else(Vec::new, |plan| barriers(fold, plan)),
        requests: fold.requests().iter().filter_map(request).collect(),
        void: fold.notes().iter().map(void).collect(),
        void_forgotten: fold.notes_forgotten(),
        warnings: warnings(fold, heard, phase),
        settlement: settlement(fold),
        owing: fold.owing().cloned().collect(),
        coordinator: heard.coordinator,
        last_record: fold.position(),
        as_of: At(heard.now),
    }
}

fn phase(fold: &RunFold) -> Phase {
    if fold.foreign_protocol().is_some() {
        return Phase::UnknownProtocol;
    }
    if fold.plan().is_none() {
        return Phase::Expired;
    }
    if fold.closed().is_some() {
        return Phase::Closed;
    }
    if !matches!(fold.admission(), Admission::Admitted(_)) {
        return Phase::Waiting;
    }
    match fold.decision() {
        Decision::Committed { .. } | Decision::Planned { .. } => Phase::Finalizing,
        Decision::Aborted(_) => Phase::RollingBack,
        Decision::Open if fold.is_each_own() && fold.is_decided() => Phase::Ending,
        Decision::Open if fold.all_joined().is_none() => Phase::Joining,
        Decision::Open if !fold.is_complete(&BarrierId::prepare()) => Phase::Preparing,
        Decision::Open => Phase::Running,
    }
}

fn is_cancelled(fold: &RunFold) -> bool {
    matches!(fold.admission(), Admission::Refused { cancelled: true, .. })
        || fold.closed().is_some_and(|closed| closed.result == RunResult::Cancelled)
}

fn decided_by(fold: &RunFold) -> Option<Sequence> {
    match fold.decision() {
        Decision::Committed { at } | Decision::Planned { at } => Some(*at),
        Decision::Aborted(cause) => Some(cause.at),
        Decision::Open => fold.closed().map(|closed| closed.at),
    }
}

fn summary(fold: &RunFold, heard: &Heard, phase: Phase) -> String {
    let summary = of_phase(fold, heard, phase);
    match fold.plan() {
        Some(plan) if plan.plan_only && phase != Phase::Closed => format!("plan only: {summary}"),
        _ => summary,
    }
}

fn of_phase(fold: &RunFold, heard: &Heard, phase: Phase) -> String {
    match phase {
        Phase::Expired => "the log no longer holds this run's plan (expired, or what was stored \
                           in its place is rubbish): nothing can be told but what is listed, and \
                           nothing happens in it but `lockstep rollback resume|accept`"
            .to_owned(),
        Phase::UnknownProtocol => format!(
            "its plan speaks protocol {}, which this build (protocol {}) does not: use a newer \
             lockstep",
            fold.foreign_protocol().unwrap_or_default(),
            lockstep_shared::plan::PROTOCOL
        ),
        Phase::Waiting => match fold.admission() {
            Admission::Refused { reason, .. } => format!("refused: {reason}"),
            _ if heard.in_the_way.is_empty() => "planned, not admitted yet".to_owned(),
            _ => format!(
                "queued behind {}",
                listed(heard.in_the_way.iter().map(|key| key.run.to_string()))
            ),
        },
        Phase::Joining => "admitted; agents are joining".to_owned(),
        Phase::Preparing => "everybody prepares; nothing has been written yet".to_owned(),
        Phase::Running => "steps are running".to_owned(),
        Phase::Finalizing => "committed; finalizing".to_owned(),
        Phase::RollingBack => "aborted; rolling back".to_owned(),
        Phase::Ending => "decided; some finalize, some roll back".to_owned(),
        Phase::Closed => closing_summary(fold),
    }
}

fn closing_summary(fold: &RunFold) -> String {
    let Some(closed) = fold.closed() else { return String::new() };
    let degraded = closed
        .outcomes
        .values()
        .any(|outcome| matches!(outcome, Outcome::Finalized { degraded: Some(_) }));
    match closed.result {
        RunResult::Succeeded if degraded => "succeeded, degraded after commit",
        RunResult::Succeeded if closed.outcomes.keys().any(|name| fold.is_unknown(name)) => {
            "succeeded, but not finalized everywhere"
        }
        RunResult::Succeeded => "succeeded",
        RunResult::Planned => "planned: everybody could prepare, nothing was written",
        RunResult::RolledBack if closed.outcomes.values().all(wrote_nothing) => {
            "failed before anything was written"
        }
        RunResult::RolledBack => "failed, rolled back",
        RunResult::RollbackIncomplete if fold.owing().next().is_none() => {
            "failed; what a rollback left is settled"
        }
        RunResult::RollbackIncomplete => "failed, and a rollback did not finish",
        RunResult::Cancelled => "cancelled, rolled back",
        RunResult::Partial => "partial: some workflows stand, some went back",
        RunResult::Refused => match fold.admission() {
            Admission::Refused { reason, .. } => return format!("refused: {reason}"),
            _ => "refused",
        },
    }
    .to_owned()
}

fn wrote_nothing(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::NotStarted | Outcome::Waived)
}

fn barriers(fold: &RunFold, plan: &Plan) -> Vec<BarrierReport> {
    let tell = |(id, state): (&BarrierId, &BarrierState)| {
        let declared = plan.barriers.get(id);
        let aborted_run = match fold.decision() {
            Decision::Aborted(cause) => Some(cause.at),
            _ => None,
        };
        let (stage, decided_by) = match &state.fate {
            BarrierFate::Complete { at } => (BarrierStage::Released, Some(*at)),
            BarrierFate::Aborted(cause) => (BarrierStage::Aborted, Some(cause.at)),
            BarrierFate::Open if aborted_run.is_some() => (BarrierStage::Aborted, aborted_run),
            BarrierFate::Open => (BarrierStage::Open, None),
        };
        let arrived = state.arrivals.iter().map(|(party, arrival)| ArrivalReport {
            party: party.to_string(),
            at: At(arrival.moment.time),
            by: arrival.by.clone(),
            message: arrival.message.clone(),
            link: arrival.link.clone(),
        });
        BarrierReport {
            id: id.to_string(),
            title: declared.and_then(|barrier| barrier.title.clone()),
            stage,
            arrived: arrived.collect(),
            missing: state.missing().map(ToString::to_string).collect(),
            waived: declared
                .map(|barrier| barrier.waived.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            until: fold.clock(&Deadline::Barrier(id.clone())).map(At),
            decided_by,
        }
    };
    fold.barriers().iter().map(tell).collect()
}

pub(super) fn request(request: &Request) -> Option<RequestReport> {
    let (what, by, reason, workflow) = match &request.record {
        Record::AbortRequested { by, reason } => ("abort", by, reason, None),
        Record::ResumeRequested { by, reason, workflow } => {
            ("resume", by, reason, workflow.clone())
        }
        Record::AcceptRequested { by, reason, workflow } => {
            ("accept", by, reason, workflow.clone())
        }
        _ => return None,
    };
    Some(RequestReport {
        record: request.moment.seq,
        at: At(request.moment.time),
        what,
        by: by.clone(),
        reason: reason.clone(),
        workflow,
    })
}

fn void(note: &Note) -> VoidReport {
    VoidReport {
        record: note.moment.seq,
        at: At(note.moment.time),
        slot: note.slot.to_string(),
        kind: note.kind,
        reason: note.reason.clone(),
    }
}

/// What a person should know beside the state itself.
fn warnings(fold: &RunFold, heard: &Heard, phase: Phase) -> Vec<String> {
    let mut warnings = Vec::new();
    let open = !matches!(phase, Phase::Closed | Phase::Expired | Phase::UnknownProtocol);
    if open && heard.coordinator == Coordinator::Silent {
        warnings.push(
            "no coordinator answers: nothing is admitted, released, timed out or closed until \
             one runs (start lockstep-coordinator; the run goes on where it stands)"
                .to_owned(),
        );
    }
    if open {
        warnings.extend(heard.unheard.iter().map(|why| format!("not all is known: {why}")));
    }
    warnings.extend(late_agents(fold, heard.now));
    warnings.extend(images::warnings(fold));
    for (name, state) in fold.workflows() {
        warnings.extend(untidied(state).iter().map(|what| format!("{name}: {what}")));
    }
    if let Some(alarm) = fold.alarm() {
        warnings.push(format!("ALARM: {alarm}; the record was followed. Report this."));
    }
    if let Some(closed) = fold.closed() {
        warnings.extend(closed.outcomes.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Finalized { degraded: Some(what) } => {
                Some(format!("{name} degraded after the commit: {what}"))
            }
            Outcome::Unknown if fold.is_unknown(name) => Some(format!(
                "nobody reported how {name} ended before the deadline; its agent goes on with it \
                 as soon as it is back"
            )),
            _ => None,
        }));
    }
    if fold.notes_forgotten() > 0 {
        warnings.push(format!(
            "{} older void records are not listed; `lockstep events` shows all (the latest {} are)",
            fold.notes_forgotten(),
            MAX_NOTES
        ));
    }
    warnings
}

/// Who has kept everybody waiting since the admission.
fn late_agents(fold: &RunFold, now: Timestamp) -> Option<String> {
    let Admission::Admitted(admitted) = fold.admission() else { return None };
    let due = fold.clock(&Deadline::Join)?;
    let waited = now.since(admitted.time);
    if waited.0 < JOIN_PATIENCE_MS {
        return None;
    }
    let missing = || fold.workflows().iter().filter(|(_, state)| state.epoch == 0);
    let target = |name| Some(&fold.plan()?.workflow(name)?.target);
    let runs_commands = missing().any(|(name, _)| matches!(target(name), Some(Target::Command {})));
    let allow = if runs_commands { " --allow-commands" } else { "" };
    Some(format!(
        "no agent has joined for {} in {}: start one with `lockstep-agent serve --pipeline {} \
         --workflow NAME{allow}` ({} left)",
        listed(missing().map(|(name, _)| name)),
        rough(waited),
        fold.key().pipeline,
        rough(due.since(now)),
    ))
}

/// What has to be done about a rollback that did not finish.
fn settlement(fold: &RunFold) -> Option<String> {
    fold.closed()?;
    let owing: Vec<&WorkflowName> = fold.owing().collect();
    if owing.is_empty() {
        return None;
    }
    let what = format!("what {} left has to be settled before the next run", listed(&owing));
    // Whoever asked waits for an agent; saying it all again would read as if nothing was asked.
    if let Some(pending) = owing.iter().find_map(|name| fold.pending_request(name))
        && let Some(asked) = request(pending)
    {
        let (what_for, by, seq) = (asked.what, asked.by, asked.record);
        return Some(format!(
            "{what}: {what_for} was requested by {by} (#{seq}), and the agent that has the undo \
             record has not reported yet"
        ));
    }
    let run = fold.key();
    Some(format!(
        "{what}: `lockstep rollback resume {run}` tries the undo again, \
         `lockstep rollback accept {run} --reason TEXT` keeps what is there"
    ))
}
