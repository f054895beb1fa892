//! What a run waits for, for whom, since when and until when.

use lockstep_shared::{
    fold::{Admission, BarrierState, Decision, OwnDecision, RunFold, WorkflowState},
    id::{BarrierId, PartyName, WorkflowName},
    record::Deadline,
    time::Timestamp,
};

use super::{At, Coordinator, Heard, Missing, Waiting, workflow::doing_now};

/// Everything that an open run waits for, the most telling first.
pub(super) fn waiting(fold: &RunFold, heard: &Heard) -> Vec<Waiting> {
    if fold.closed().is_some() || fold.plan().is_none() {
        return Vec::new();
    }
    if !matches!(fold.admission(), Admission::Admitted(_)) {
        return vec![for_admission(fold, heard)];
    }
    let mut waiting: Vec<Waiting> = for_the_coordinator(fold, heard).into_iter().collect();
    if fold.is_decided() {
        waiting.extend(for_the_end(fold, heard));
    } else if fold.all_joined().is_none() {
        waiting.push(for_the_join(fold, heard));
    } else {
        waiting.extend(at_barriers(fold, heard));
        if waiting.is_empty() {
            waiting.push(for_the_last_step(fold, heard));
        }
    }
    waiting
}

fn due(fold: &RunFold, deadline: &Deadline) -> Option<At> {
    fold.clock(deadline).map(At)
}

fn for_admission(fold: &RunFold, heard: &Heard) -> Waiting {
    let mut missing: Vec<Missing> = heard
        .in_the_way
        .iter()
        .map(|key| Missing { who: format!("run {}", key.run), doing: "not closed yet".to_owned() })
        .collect();
    if missing.is_empty() {
        missing.push(coordinator(heard, "admit it"));
    }
    let since = fold.planned().map(|moment| At(moment.time));
    Waiting { what: "to be admitted".to_owned(), missing, since, until: None }
}

fn coordinator(heard: &Heard, to: &str) -> Missing {
    let doing = match heard.coordinator {
        Coordinator::Silent => format!("none answers; one has to {to}"),
        Coordinator::Alive => format!("alive, about to {to}"),
        Coordinator::NotAsked | Coordinator::Unknown => format!("has to {to}"),
    };
    Missing { who: "a coordinator".to_owned(), doing }
}

/// What the log implies and nobody wrote down: shown only where nobody is there to do it.
fn for_the_coordinator(fold: &RunFold, heard: &Heard) -> Option<Waiting> {
    let due = fold.due();
    let (slot, record) = due.first().filter(|_| heard.coordinator == Coordinator::Silent)?;
    Some(Waiting {
        what: format!("for {} at {slot} to be written down", record.kind()),
        missing: vec![coordinator(heard, "record what the log implies")],
        since: Some(At(fold.time())),
        until: None,
    })
}

fn for_the_join(fold: &RunFold, heard: &Heard) -> Waiting {
    let since = match fold.admission() {
        Admission::Admitted(moment) => Some(At(moment.time)),
        Admission::Pending | Admission::Refused { .. } => None,
    };
    Waiting {
        what: "for every agent to join".to_owned(),
        missing: those(fold, heard, |state| state.epoch == 0),
        since,
        until: due(fold, &Deadline::Join),
    }
}

fn those(fold: &RunFold, heard: &Heard, wanted: impl Fn(&WorkflowState) -> bool) -> Vec<Missing> {
    let wanted = |(_, state): &(&WorkflowName, &WorkflowState)| wanted(state);
    let tell = |(name, state): (&WorkflowName, &WorkflowState)| Missing {
        who: name.to_string(),
        doing: doing_now(fold, heard, name, state),
    };
    fold.workflows().iter().filter(wanted).map(tell).collect()
}

/// The barriers at which somebody stands and not everybody.
fn at_barriers(fold: &RunFold, heard: &Heard) -> Vec<Waiting> {
    let preparing = !fold.is_complete(&BarrierId::prepare());
    let stood_at = |(id, state): &(&BarrierId, &BarrierState)| {
        state.is_open() && (!state.arrivals.is_empty() || (preparing && id.is_prepare()))
    };
    fold.barriers()
        .iter()
        .filter(stood_at)
        .map(|(id, state)| at_barrier(fold, heard, id, state))
        .collect()
}

fn at_barrier(fold: &RunFold, heard: &Heard, id: &BarrierId, state: &BarrierState) -> Waiting {
    let missing = state.missing().map(|party| Missing {
        who: party.to_string(),
        doing: party_doing(fold, heard, id, party),
    });
    let first = state.arrivals.values().map(|arrival| arrival.moment.time).min();
    let title = fold.plan().and_then(|plan| plan.barriers.get(id)?.title.as_deref());
    let (what, since, until) = match id {
        id if id.is_prepare() => {
            let joined = fold.all_joined().map(|moment| moment.time);
            let what = "for everybody to prepare".to_owned();
            (what, joined, due(fold, &Deadline::Prepare))
        }
        id if id.is_commit() => {
            let what = "for everybody to be through (commit)".to_owned();
            (what, first, due(fold, &Deadline::Run))
        }
        id => {
            let title = title.map_or_else(String::new, |title| format!(" ({title})"));
            let what = format!("at barrier {id}{title}");
            (what, first, due(fold, &Deadline::Barrier(id.clone())))
        }
    };
    Waiting { what, missing: missing.collect(), since: since.map(At), until }
}

fn party_doing(fold: &RunFold, heard: &Heard, id: &BarrierId, party: &PartyName) -> String {
    let workflow = fold.workflows().iter().find(|(name, _)| name.as_str() == party.as_str());
    match workflow {
        Some((name, state)) => doing_now(fold, heard, name, state),
        None => format!(
            "a foreign party; it arrives by `lockstep barrier arrive {id} --party {party} --run {}`",
            fold.key().run
        ),
    }
}

/// Nobody stands anywhere: everybody works.
fn for_the_last_step(fold: &RunFold, heard: &Heard) -> Waiting {
    let at_work = |state: &WorkflowState| state.own == OwnDecision::Open;
    let prepared = fold.barriers().get(&BarrierId::prepare());
    let since = prepared.and_then(|state| state.recorded.as_ref());
    Waiting {
        what: "for steps to finish".to_owned(),
        missing: those(fold, heard, at_work),
        since: since.map(|verdict| At(verdict.moment.time)),
        until: due(fold, &Deadline::Run),
    }
}

/// After the decision: for whoever has not finalized or rolled back.
fn for_the_end(fold: &RunFold, heard: &Heard) -> Option<Waiting> {
    let back = |state: &WorkflowState| {
        matches!(fold.decision(), Decision::Aborted(_))
            || matches!(state.own, OwnDecision::Broken(_))
    };
    let planned = matches!(fold.decision(), Decision::Planned { .. });
    let owes = |state: &WorkflowState| {
        !planned && state.ended.is_none() && (!back(state) || state.first_started.is_some())
    };
    let missing = those(fold, heard, owes);
    let any_back = fold.workflows().values().any(|state| owes(state) && back(state));
    let what = match (missing.is_empty(), any_back) {
        (true, _) => "for the run to be closed",
        (false, true) => "for the rollback",
        (false, false) => "for everybody to finalize",
    };
    let missing = if missing.is_empty() { vec![coordinator(heard, "close it")] } else { missing };
    Some(Waiting {
        what: what.to_owned(),
        missing,
        since: verdict_time(fold).map(At),
        until: due(fold, &Deadline::Ending),
    })
}

fn verdict_time(fold: &RunFold) -> Option<Timestamp> {
    let own = fold.workflows().values().filter_map(|state| state.outcome.as_ref());
    fold.recorded().into_iter().chain(own).map(|verdict| verdict.moment.time).max()
}
