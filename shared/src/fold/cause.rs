//! What a cause says to a person: who, which step, what went wrong.

use super::{RunFold, state::WorkflowState};
use crate::{
    id::{BarrierId, Epoch, PartyName, Sequence, StepIndex, WorkflowName},
    record::{Cause, CauseSort, Deadline, MAX_CAUSE_BYTES, MAX_LISTED},
};

/// The first ten of a list and how many more there are.
pub fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match all.len().checked_sub(MAX_LISTED) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} more", all[..MAX_LISTED].join(", ")),
    }
}

/// The text cut to `limit` bytes as JSON writes it, its end marked.
pub fn cut(text: &str, limit: usize) -> String {
    const MARK: &str = " [...]";
    if text.len() <= limit && json_len(text) <= limit {
        return text.to_owned();
    }
    let room = limit.saturating_sub(MARK.len());
    let kept = fitting(text.char_indices(), room).map_or(0, |(at, last)| at + last.len_utf8());
    format!("{}{MARK}", &text[..kept])
}

/// The end of the text, at most `limit` bytes as JSON writes it.
pub fn tail(text: &str, limit: usize) -> &str {
    let start = fitting(text.char_indices().rev(), limit).map_or(text.len(), |(at, _)| at);
    &text[start..]
}

/// The last of the characters that fit into `room` together.
fn fitting(
    characters: impl Iterator<Item = (usize, char)>,
    mut room: usize,
) -> Option<(usize, char)> {
    characters
        .take_while(|(_, character)| {
            let fits = room.checked_sub(escaped_len(*character));
            room = fits.unwrap_or(0);
            fits.is_some()
        })
        .last()
}

/// How many bytes a text takes in JSON: records are measured as they are stored.
fn json_len(text: &str) -> usize {
    text.chars().map(escaped_len).sum()
}

fn escaped_len(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

/// A cause without particulars, its text and output together within the limit of a verdict.
pub(super) fn new(at: Sequence, sort: CauseSort, text: &str, output: &str) -> Cause {
    let text = cut(text, MAX_CAUSE_BYTES);
    let output = tail(output, MAX_CAUSE_BYTES.saturating_sub(json_len(&text))).to_owned();
    Cause { at, sort, workflow: None, party: None, step: None, barrier: None, text, output }
}

impl RunFold {
    pub(super) fn failed_cause(
        &self,
        at: Sequence,
        workflow: &WorkflowName,
        step: Option<StepIndex>,
        error: &str,
        output: &str,
    ) -> Cause {
        let step = step.map(|step| self.step_name(workflow, step));
        let text = match &step {
            Some(step) => format!("{workflow} failed in step {step:?}: {error}"),
            None => format!("{workflow} failed: {error}"),
        };
        Cause {
            workflow: Some(workflow.clone()),
            step,
            ..new(at, CauseSort::Failed, &text, output)
        }
    }

    pub(super) fn party_failed_cause(
        &self,
        at: Sequence,
        barrier: &BarrierId,
        party: &PartyName,
        by: &str,
        message: &str,
    ) -> Cause {
        let text = format!("{party} failed barrier {barrier} (by {by}): {message}");
        Cause {
            party: Some(party.clone()),
            barrier: Some(barrier.clone()),
            ..new(at, CauseSort::PartyFailed, &text, "")
        }
    }

    pub(super) fn lost_cause(&self, at: Sequence, workflow: &WorkflowName, epoch: Epoch) -> Cause {
        let state = &self.workflows[workflow];
        let doing = self.doing(workflow, state);
        let text = format!(
            "the agent of {workflow} (epoch {epoch}, instance {}) has been silent for too long; \
             it was last seen {doing}",
            state.instance
        );
        Cause { workflow: Some(workflow.clone()), ..new(at, CauseSort::AgentLost, &text, "") }
    }

    pub(super) fn deadline_cause(&self, at: Sequence, deadline: &Deadline) -> Cause {
        let timeouts = self.plan.as_ref().map(|accepted| accepted.plan.timeouts);
        let timeouts = timeouts.unwrap_or_default();
        let text = match deadline {
            Deadline::Join => {
                let missing = self.workflows.iter().filter(|(_, state)| state.epoch == 0);
                let missing = listed(missing.map(|(name, _)| name));
                format!(
                    "not everybody joined within {}: missing {missing}; start an agent for each \
                     with `lockstep-agent serve --pipeline {} --workflow NAME`",
                    timeouts.join, self.key.pipeline
                )
            }
            Deadline::Prepare => {
                let missing = self.missing_at(&BarrierId::prepare());
                format!("not everybody was prepared within {}: missing {missing}", timeouts.prepare)
            }
            Deadline::Barrier(id) => {
                let within = self.plan().and_then(|plan| plan.barriers.get(id));
                let within = within.map_or_else(String::new, |b| format!(" within {}", b.timeout));
                let missing = self.missing_at(id);
                format!("barrier {id} was not complete{within}: missing {missing}")
            }
            Deadline::Run => {
                let waiting = self.workflows.iter().filter(|(_, state)| state.ended.is_none());
                let waiting =
                    waiting.map(|(name, state)| format!("{name} ({})", self.doing(name, state)));
                format!("the run was not decided within {}: {}", timeouts.run, listed(waiting))
            }
            Deadline::Ending => {
                format!("not everybody reported the end within {}", timeouts.ending)
            }
        };
        let barrier = match deadline {
            Deadline::Barrier(id) => Some(id.clone()),
            _ => None,
        };
        Cause { barrier, ..new(at, CauseSort::DeadlinePassed, &text, "") }
    }

    /// Who is missing at a barrier and what each is doing.
    fn missing_at(&self, barrier: &BarrierId) -> String {
        let Some(state) = self.barriers.get(barrier) else { return String::new() };
        listed(state.missing().map(|party| {
            let workflow = self.workflows.iter().find(|(name, _)| name.as_str() == party.as_str());
            match workflow {
                Some((name, state)) => format!("{party} ({})", self.doing(name, state)),
                None => format!("{party} (a foreign party)"),
            }
        }))
    }

    /// What the log says a workflow is doing, as the end of a sentence.
    pub fn doing(&self, workflow: &WorkflowName, state: &WorkflowState) -> String {
        if state.epoch == 0 {
            return "not joined yet".to_owned();
        }
        if let Some(failed) = &state.failed {
            return match failed.step {
                Some(step) => format!("failed in step {:?}", self.step_name(workflow, step)),
                None => "failed".to_owned(),
            };
        }
        if state.left.is_some() {
            return "its agent left and none has come back".to_owned();
        }
        let party = PartyName::from(workflow);
        let stands = self
            .barriers
            .iter()
            .find(|(_, barrier)| barrier.is_open() && barrier.arrivals.contains_key(&party));
        if let Some((barrier, _)) = stands {
            return format!("waiting at barrier {barrier}");
        }
        match state.steps.last_key_value() {
            Some((step, last)) if last.finished.is_none() => {
                format!("in step {:?}", self.step_name(workflow, *step))
            }
            Some((step, _)) => format!("after step {:?}", self.step_name(workflow, *step)),
            None => "preparing".to_owned(),
        }
    }

    fn step_name(&self, workflow: &WorkflowName, step: StepIndex) -> String {
        self.plan().map_or_else(String::new, |plan| plan.step_name(workflow, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_names_ten_and_counts_the_rest() {
        assert_eq!(listed(1..=3), "1, 2, 3");
        assert_eq!(listed(1..=12), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more");
    }

    #[test]
    fn text_is_cut_at_a_character() {
        assert_eq!(cut("ääääääää", 11), "ää [...]");
        assert_eq!(tail("xää", 3), "ä");
        let cause = new(1, CauseSort::Failed, &"ü".repeat(4000), &"x".repeat(9000));
        assert!(cause.text.len() + cause.output.len() <= MAX_CAUSE_BYTES);
    }

    #[test]
    fn what_json_escapes_counts_as_it_is_stored() {
        let coloured = "\u{1b}[31m".repeat(100);
        assert_eq!(tail(&coloured, 30).len(), 15);
        assert!(json_len(&cut(&coloured, 64)) <= 64);
    }
}
