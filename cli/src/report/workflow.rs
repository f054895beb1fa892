//! What one workflow is doing, and how far its steps are.

use lockstep_shared::{
    fold::{BarrierFate, Decision, OwnDecision, RunFold, WorkflowState},
    id::{BarrierId, PartyName, WorkflowName},
    plan::{Action, Step, Workflow},
    record::{Cause, Outcome, Record},
};

use super::{
    At, Beat, Heard, Settled, SettledReport, Stage, StepReport, StepStage, WorkflowReport,
};

/// One workflow of the plan, told.
pub(super) fn workflow(
    fold: &RunFold,
    heard: &Heard,
    name: &WorkflowName,
    planned: &Workflow,
) -> WorkflowReport {
    let outcome = fold.closed().and_then(|closed| closed.outcomes.get(name)).cloned();
    let Some(state) = fold.workflows().get(name) else {
        return WorkflowReport {
            name: name.clone(),
            target: planned.target.kind(),
            stage: Stage::Waived,
            doing: "waived by its `when`".to_owned(),
            since: None,
            steps: Vec::new(),
            epoch: 0,
            instance: String::new(),
            version: String::new(),
            beat: None,
            error: None,
            broken_by: None,
            left: Vec::new(),
            outcome,
            settled: None,
        };
    };
    let settled = settled(fold, name);
    let (stage, doing, since) = doing(fold, name, state);
    let (error, left) = ended(state, settled.as_ref());
    WorkflowReport {
        name: name.clone(),
        target: planned.target.kind(),
        stage,
        doing,
        since,
        steps: steps(fold, state, &planned.steps, name),
        epoch: state.epoch,
        instance: state.instance.clone(),
        version: state.version.clone(),
        beat: current_beat(heard, name, state).filter(|_| fold.closed().is_none()),
        error: error.or_else(|| state.failed.as_ref().map(|failed| failed.error.clone())),
        broken_by: broken_by(fold, state),
        left,
        outcome,
        settled,
    }
}

/// How a debt of this workflow was settled.
pub(super) fn settled(fold: &RunFold, name: &WorkflowName) -> Option<SettledReport> {
    let settlement = fold.settlement(name)?;
    let how = match &settlement.report.record {
        Record::Finalized { .. } => Settled::Finalized,
        Record::RolledBack { accepted: true, .. } => Settled::Kept,
        _ => Settled::RolledBack,
    };
    Some(SettledReport {
        how,
        record: settlement.report.moment.seq,
        at: At(settlement.report.moment.time),
        request: settlement.request.and_then(super::build::request),
    })
}

/// Whose fault it is that this workflow does not stand; the output is told once, with the run's.
fn broken_by(fold: &RunFold, state: &WorkflowState) -> Option<Cause> {
    let cause = match (&state.own, fold.decision()) {
        (OwnDecision::Broken(cause), _) | (_, Decision::Aborted(cause)) => cause,
        _ => return None,
    };
    Some(Cause { output: String::new(), ..cause.clone() })
}

/// A beat of an incarnation that is not the current one says nothing.
fn current_beat(heard: &Heard, name: &WorkflowName, state: &WorkflowState) -> Option<Beat> {
    heard.beats.get(name).filter(|beat| beat.epoch == state.epoch).cloned()
}

/// What a workflow is doing, in one line with what its agent last said.
pub(super) fn doing_now(
    fold: &RunFold,
    heard: &Heard,
    name: &WorkflowName,
    state: &WorkflowState,
) -> String {
    let (_, doing, _) = doing(fold, name, state);
    match current_beat(heard, name, state).filter(|beat| !beat.line.is_empty()) {
        Some(beat) if !doing.contains(&beat.line) => format!("{doing}: {}", beat.line),
        _ => doing,
    }
}

fn doing(
    fold: &RunFold,
    name: &WorkflowName,
    state: &WorkflowState,
) -> (Stage, String, Option<At>) {
    if let Some((stage, text)) = reported_end(fold, name, state) {
        let last = state.after_end.as_ref().or(state.ended.as_ref());
        let since = last.map(|ended| At(ended.moment.time));
        return (stage, text, since);
    }
    if goes_back(fold, state) {
        return going_back(state);
    }
    if stands(fold, state) {
        let since = fold.recorded().or(state.outcome.as_ref()).map(|verdict| verdict.moment);
        let since = since.map(|moment| At(moment.time));
        return (Stage::Finalizing, "finalizing".to_owned(), since);
    }
    let text = fold.doing(name, state);
    if state.epoch == 0 {
        return (Stage::NotJoined, text, None);
    }
    if let Some(failed) = &state.failed {
        return (Stage::Failed, text, Some(At(failed.moment.time)));
    }
    if let Some(left) = state.left {
        return (Stage::Left, text, Some(At(left.time)));
    }
    working(fold, name, state, text)
}

fn working(
    fold: &RunFold,
    name: &WorkflowName,
    state: &WorkflowState,
    text: String,
) -> (Stage, String, Option<At>) {
    let party = PartyName::from(name);
    let arrival = |(id, barrier): (&BarrierId, &lockstep_shared::fold::BarrierState)| {
        let arrival = barrier.arrivals.get(&party).filter(|_| barrier.is_open())?;
        Some((id.clone(), At(arrival.moment.time)))
    };
    if let Some((id, since)) = fold.barriers().iter().find_map(arrival) {
        let text = match () {
            () if id.is_prepare() => "prepared, waiting for the others".to_owned(),
            () if id.is_commit() => "through, holding for the commit".to_owned(),
            () => text,
        };
        return (Stage::AtBarrier, text, Some(since));
    }
    match state.steps.last_key_value() {
        None if fold.is_complete(&BarrierId::prepare()) => {
            let since = At(state.last_time);
            (Stage::Working, "about to begin its first step".to_owned(), Some(since))
        }
        None => (Stage::Preparing, text, state.joined.map(|moment| At(moment.time))),
        Some((_, step)) if step.finished.is_none() => {
            let text = match step.attempt {
                0 | 1 => text,
                attempt => format!("{text}, attempt {attempt}"),
            };
            (Stage::Working, text, Some(At(step.started.time)))
        }
        Some((_, step)) => (Stage::Working, text, step.finished.map(|moment| At(moment.time))),
    }
}

fn reported_end(
    fold: &RunFold,
    name: &WorkflowName,
    state: &WorkflowState,
) -> Option<(Stage, String)> {
    let text = |stage, text: &str| Some((stage, text.to_owned()));
    if let Some(settled) = settled(fold, name) {
        let stage = match settled.how {
            Settled::Finalized => Stage::Finalized,
            Settled::RolledBack | Settled::Kept => Stage::RolledBack,
        };
        return Some((stage, settled.text()));
    }
    match last_report(state) {
        Some(Record::Finalized { degraded: Some(what), .. }) => {
            return Some((Stage::Finalized, format!("finalized, degraded after commit: {what}")));
        }
        Some(Record::Finalized { .. }) => return text(Stage::Finalized, "finalized"),
        Some(Record::RolledBack { residue, .. }) if !residue.is_empty() => {
            return text(Stage::RolledBack, "rolled back, but for what is listed");
        }
        Some(Record::RolledBack { .. }) => return text(Stage::RolledBack, "rolled back"),
        Some(Record::RollbackFailed { error, .. }) => {
            return Some((Stage::RollbackFailed, format!("rollback failed: {error}")));
        }
        _ => {}
    }
    match fold.closed()?.outcomes.get(name)? {
        Outcome::Planned => text(Stage::NotStarted, "prepared; nothing was to be written"),
        Outcome::NotStarted => text(Stage::NotStarted, "wrote nothing"),
        Outcome::Unknown => text(Stage::Unknown, "did not report its end in time"),
        _ => None,
    }
}

fn goes_back(fold: &RunFold, state: &WorkflowState) -> bool {
    matches!(fold.decision(), Decision::Aborted(_)) || matches!(state.own, OwnDecision::Broken(_))
}

fn stands(fold: &RunFold, state: &WorkflowState) -> bool {
    matches!(fold.decision(), Decision::Committed { .. } | Decision::Planned { .. })
        || matches!(state.own, OwnDecision::Done { .. })
}

fn going_back(state: &WorkflowState) -> (Stage, String, Option<At>) {
    if state.first_started.is_none() {
        return (Stage::NotStarted, "wrote nothing, nothing to undo".to_owned(), None);
    }
    if let Some(moment) = state.rolling_back {
        return (Stage::RollingBack, "rolling back".to_owned(), Some(At(moment.time)));
    }
    let text = match state.left {
        Some(_) => "has to roll back, but its agent left and none has come back",
        None => "has to roll back; its agent has not begun",
    };
    (Stage::RollingBack, text.to_owned(), None)
}

/// What its agent last reported of its end, above Closed too.
fn last_report(state: &WorkflowState) -> Option<&Record> {
    state.after_end.as_ref().or(state.ended.as_ref()).map(|ended| &ended.record)
}

/// What could not be tidied up after the commit.
pub(super) fn untidied(state: &WorkflowState) -> &[String] {
    match last_report(state) {
        Some(Record::Finalized { warnings, .. }) => warnings,
        _ => &[],
    }
}

/// What went wrong in the end, and what is left.
fn ended(state: &WorkflowState, settled: Option<&SettledReport>) -> (Option<String>, Vec<String>) {
    // What an operator keeps is not left any more.
    if settled.is_some_and(|settled| settled.how == Settled::Kept) {
        return (None, Vec::new());
    }
    match last_report(state) {
        Some(Record::RolledBack { residue, .. }) => (None, residue.clone()),
        Some(Record::RollbackFailed { error, left, .. }) => (Some(error.clone()), left.clone()),
        _ => (None, Vec::new()),
    }
}

fn steps(
    fold: &RunFold,
    state: &WorkflowState,
    planned: &[Step],
    name: &WorkflowName,
) -> Vec<StepReport> {
    let report = |(index, step): (usize, &Step)| {
        let base = StepReport {
            name: step.name.clone(),
            kind: step.action.kind(),
            stage: StepStage::Pending,
            attempt: 0,
            started: None,
            finished: None,
            ignored: None,
        };
        match &step.action {
            Action::Barrier(id) => barrier_step(fold, id, name, base),
            _ => acting_step(state, index, base),
        }
    };
    planned.iter().enumerate().map(report).collect()
}

fn acting_step(state: &WorkflowState, index: usize, base: StepReport) -> StepReport {
    let Some(step) = state.steps.get(&index) else { return base };
    let failed_here = state.failed.as_ref().is_some_and(|failed| failed.step == Some(index));
    let stage = match (&step.finished, &step.ignored) {
        _ if failed_here => StepStage::Failed,
        (Some(_), Some(_)) => StepStage::Ignored,
        (Some(_), None) => StepStage::Finished,
        (None, _) => StepStage::Started,
    };
    StepReport {
        stage,
        attempt: step.attempt,
        started: Some(At(step.started.time)),
        finished: step.finished.map(|moment| At(moment.time)),
        ignored: step.ignored.clone(),
        ..base
    }
}

fn barrier_step(
    fold: &RunFold,
    id: &BarrierId,
    name: &WorkflowName,
    base: StepReport,
) -> StepReport {
    let Some(barrier) = fold.barriers().get(id) else { return base };
    let arrival = barrier.arrivals.get(&PartyName::from(name));
    let stage = match (&barrier.fate, arrival) {
        (_, None) => StepStage::Pending,
        (BarrierFate::Complete { .. }, Some(_)) => StepStage::Finished,
        (BarrierFate::Aborted(_), Some(_)) => StepStage::Failed,
        (BarrierFate::Open, Some(_)) => StepStage::Started,
    };
    let finished = barrier.recorded.as_ref().filter(|_| stage == StepStage::Finished);
    StepReport {
        stage,
        started: arrival.map(|arrival| At(arrival.moment.time)),
        finished: finished.map(|verdict| At(verdict.moment.time)),
        ..base
    }
}
