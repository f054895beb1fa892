//! Attempts at a step: what follows from how one ended (PROTOCOL section 7, "Resume";
//! section 9).

use lockstep_shared::{
    id::StepIndex,
    plan::{Action, Step},
    time::{Span, Timestamp},
};

use crate::{agent::Agent, event::Told, turn::Turn, view::StepSeen};

/// How an attempt of this incarnation ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attempted {
    pub(crate) step: StepIndex,
    pub(crate) attempt: u32,
    /// What came of it; or what went wrong, and what it printed.
    result: Result<Told, (String, String)>,
    /// Before when it is not tried again.
    again_at: Timestamp,
}

/// What follows for a step that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes on.
    Running,
    /// It is over; a failure is tolerated.
    Finish { ignored: Option<String>, told: Told },
    /// Another attempt.
    Again,
    /// The workflow fails.
    Fatal { error: String, output: String },
}

/// The pause before the next try: 1 s, doubled each time, 30 s at most.
pub(crate) fn back_off(tries: u32) -> Span {
    Span::seconds((1 << tries.saturating_sub(1).min(5)).min(30))
}

/// Whether an unfinished attempt of an earlier incarnation may be begun again without a
/// StepStarted of its own: all but a command that is not `idempotent`.
pub(crate) fn is_resumable(step: &Step) -> bool {
    !matches!(&step.action, Action::Run(command) if !command.idempotent)
}

impl Agent {
    pub(crate) fn attempt_ended(
        &mut self,
        step: StepIndex,
        attempt: u32,
        result: Result<Told, (String, String)>,
        turn: &mut Turn,
    ) {
        let name = self.step_name(step);
        match &result {
            Ok(_) => turn.info(format!("{name} is finished (attempt {attempt})")),
            Err((error, _)) => turn.warn(format!("{name} failed (attempt {attempt}): {error}")),
        }
        let again_at = turn.now.after(back_off(attempt));
        self.attempted = Some(Attempted { step, attempt, result, again_at });
    }

    /// What the last attempt of this incarnation came to, if it is the one that the log shows.
    pub(crate) fn attempted(&self, index: StepIndex, attempt: u32) -> Option<&Attempted> {
        let fits = |ended: &&Attempted| ended.step == index && ended.attempt == attempt;
        self.attempted.as_ref().filter(fits)
    }

    /// Whether an attempt succeeded that the log does not show finished.
    pub(crate) fn succeeded(&self, index: StepIndex, attempt: u32) -> Option<&Told> {
        self.attempted(index, attempt).and_then(|ended| ended.result.as_ref().ok())
    }

    /// What follows for a step that began and is not finished.
    pub(crate) fn next_of(&self, index: StepIndex, seen: &StepSeen, turn: &mut Turn) -> Next {
        let (Some(step), Some(term)) = (self.steps().get(index), self.term()) else {
            return Next::Running;
        };
        if let Action::Wait(span) = &step.action {
            let over = turn.is_past(term.due(seen.time, *span));
            let finish = Next::Finish { ignored: None, told: Told::default() };
            return if over { finish } else { Next::Running };
        }
        match self.attempted(index, seen.attempt) {
            Some(ended) => match &ended.result {
                Ok(told) => Next::Finish { ignored: None, told: told.clone() },
                Err((error, output)) => {
                    failed(step, seen.attempt, error, output, ended.again_at, turn)
                }
            },
            None if seen.epoch != term.epoch && !is_resumable(step) => {
                let error = "the agent that began it ended before it was finished, and a command \
                             is begun again only if it is `idempotent` or has `retries` left";
                failed(step, seen.attempt, error, "", turn.now, turn)
            }
            None => Next::Running,
        }
    }
}

/// What follows from a failed attempt: another one, or the step's failure.
fn failed(
    step: &Step,
    attempt: u32,
    error: &str,
    output: &str,
    again_at: Timestamp,
    turn: &mut Turn,
) -> Next {
    let (error, output) = (error.to_owned(), output.to_owned());
    if attempt <= step.retries {
        return if turn.is_past(again_at) { Next::Again } else { Next::Running };
    }
    if step.tolerated {
        return Next::Finish { ignored: Some(error), told: output.into() };
    }
    Next::Fatal { error, output }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_half_a_minute() {
        let pauses: Vec<u64> = (1..=7).map(|tries| back_off(tries).0 / 1000).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(back_off(u32::MAX), Span::seconds(30));
    }
}
