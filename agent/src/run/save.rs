//! Bringing a run's undo record to a mark, on disk before anything follows.

use lockstep_agent_core::{Agent, UndoMark};
use lockstep_shared::id::RunKey;

use super::{Post, setup::Planned};
use crate::{
    error_text,
    state::{Mark, StateDirectory, StateError, UndoRecord},
};

/// Stores the mark.
///
/// # Errors
/// Why it is not stored, for a person.
pub(super) async fn mark(
    post: &Post,
    key: &RunKey,
    agent: &Agent,
    planned: Option<&Planned>,
    mark: UndoMark,
) -> Result<(), String> {
    let fresh = planned.map(|planned| {
        UndoRecord::prepared(
            key.clone(),
            post.workflow.clone(),
            agent.epoch().unwrap_or_default(),
            post.clock.now(),
            planned.params.clone(),
            (*planned.workflow).clone(),
        )
    });
    let (state, key, workflow) = (post.state.clone(), key.clone(), post.workflow.clone());
    let work = move || {
        let known = state.undo(&key, &workflow)?;
        match advanced(known, fresh, mark) {
            Ok(Some(record)) => store(&state, &record).map(Ok),
            Ok(None) => Ok(Ok(())),
            Err(missing) => Ok(Err(missing)),
        }
    };
    let stored: Result<Result<(), String>, StateError> = tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    stored.unwrap_or_else(|error| Err(error_text(&error)))
}

fn store(state: &StateDirectory, record: &UndoRecord) -> Result<(), StateError> {
    state.save_undo(record)?;
    if record.mark == Mark::Settled {
        state.prune_undo(&record.key.pipeline, &record.workflow)?;
    }
    Ok(())
}

/// The record as it is to be stored; nothing if it stands there already. A debt never shrinks but
/// by being settled.
fn advanced(
    known: Option<UndoRecord>,
    fresh: Option<UndoRecord>,
    mark: UndoMark,
) -> Result<Option<UndoRecord>, String> {
    let lost = |what: &str| format!("the undo record is lost, so {what}");
    match (mark, known) {
        (UndoMark::Prepared, None) => {
            fresh.map(Some).ok_or_else(|| lost("what undoes this workflow is not known"))
        }
        (UndoMark::Started, None) => Err(lost("nothing may be written to the target")),
        // Nothing is owed and nothing says so: no more is wanted.
        (UndoMark::Settled, None) => Ok(None),
        (mark, Some(mut record)) => {
            let known = record.mark;
            record.mark = match mark {
                UndoMark::Prepared => Mark::Prepared,
                UndoMark::Started => Mark::Started,
                UndoMark::Settled => Mark::Settled,
            };
            Ok((known < record.mark).then_some(record))
        }
    }
}
