//! Steps that run commands or ask (`run`, `verify`), whatever the workflow's target.

use std::{sync::Arc, time::Duration};

use lockstep_agent_core::{Report, Told};
use lockstep_shared::{
    fold,
    id::StepIndex,
    plan::{Action, Command, Probe, RunCommand, Step, Undo, Workflow},
};
use tokio::sync::watch::channel;
use tokio_util::sync::CancellationToken;

use super::MAX_ERROR_BYTES;
use crate::{
    command::{Call, Finished, Gate, Permit, Setting, end_left_over, run},
    error_text,
    state::StateDirectory,
    verify::{Health, Question, watch},
};

/// What runs the commands of a workflow.
#[derive(Debug, Clone)]
pub(in crate::run) struct Commands {
    pub(in crate::run) workflow: Arc<Workflow>,
    pub(in crate::run) setting: Setting,
    pub(in crate::run) state: StateDirectory,
    pub(in crate::run) permit: Permit,
    pub(in crate::run) allow_commands: bool,
    pub(in crate::run) degrade_grace: Duration,
}

impl Commands {
    /// Whether every step can be carried out here.
    ///
    /// # Errors
    /// Why not and what to do, for a person.
    pub(in crate::run) fn check(&self) -> Result<(), String> {
        let name = &self.setting.workflow;
        for step in &self.workflow.steps {
            if needs_commands(step) && !self.allow_commands {
                return Err(format!(
                    "step {:?} of {name} runs a command, and this agent runs none; start it with \
                     --allow-commands (whoever may submit a plan can then run anything there)",
                    step.name
                ));
            }
        }
        if !self.setting.workdir.is_dir() {
            return Err(format!(
                "the agent's working directory {} is gone; start the agent again with --workdir",
                self.setting.workdir.display()
            ));
        }
        Ok(())
    }

    /// One attempt of a step.
    pub(in crate::run) async fn start(
        &self,
        step: StepIndex,
        attempt: u32,
        stop: CancellationToken,
    ) -> Report {
        let failed = |error: String, output: String| {
            let error = fold::cut(&error, MAX_ERROR_BYTES);
            Report::Failed { step, attempt, error, output }
        };
        let Some(planned) = self.workflow.steps.get(step) else {
            return failed(format!("the plan has no step {}", step + 1), String::new());
        };
        if let Err(error) = self.end_left_over().await {
            return failed(error, String::new());
        }
        match &planned.action {
            Action::Run(command) => {
                let done = self.run(step, planned, command, &command.command, attempt, &stop).await;
                match done.result {
                    Ok(()) => Report::Finished { step, attempt, told: done.output.into() },
                    Err(error) => failed(error_text(&error), done.output),
                }
            }
            Action::Verify(verify) => {
                let asked = self.question(planned, verify, attempt);
                match asked.settle(planned.timeout, &stop).await {
                    Ok(()) => Report::Finished { step, attempt, told: Told::default() },
                    Err(error) => failed(error_text(&error), String::new()),
                }
            }
            other => failed(format!("this target has no {} steps", other.kind()), String::new()),
        }
    }

    /// Undoes a step, however much of it was done.
    pub(in crate::run) async fn undo(&self, step: StepIndex, stop: CancellationToken) -> Report {
        let failed = |error: String, output: String| {
            let error = fold::cut(&error, MAX_ERROR_BYTES);
            Report::UndoFailed { step, error, left: Vec::new(), output }
        };
        let undone = |output: String| Report::Undone { step, residue: Vec::new(), output };
        let silence = String::new();
        if let Err(error) = self.end_left_over().await {
            return failed(error, silence);
        }
        let Some(planned) = self.workflow.steps.get(step) else {
            return failed(format!("what undoes step {} is not known", step + 1), silence);
        };
        let Action::Run(command) = &planned.action else { return undone(silence) };
        let undo = match &command.undo {
            Some(Undo::Command(undo)) => undo,
            Some(Undo::Nothing) => return undone(silence),
            None => {
                let residue =
                    vec![format!("step {:?} has no undo: what it did stays", planned.name)];
                return Report::Undone { step, residue, output: silence };
            }
        };
        let done = self.run(step, planned, command, undo, 0, &stop).await;
        match done.result {
            Ok(()) => undone(done.output),
            Err(error) => {
                let error = match done.output.lines().last() {
                    Some(last) => format!("{} (its last line: {last})", error_text(&error)),
                    None => error_text(&error),
                };
                failed(error, done.output)
            }
        }
    }

    /// Watches a finished step until it degrades; then this ends.
    pub(in crate::run) async fn watch(
        &self,
        step: StepIndex,
        stop: CancellationToken,
    ) -> Option<String> {
        let planned = self.workflow.steps.get(step)?;
        let Action::Verify(verify) = &planned.action else { return None };
        let asked = self.question(planned, verify, 1);
        let (sender, mut health) = channel(Health::Right);
        let degraded = |found: &Health| matches!(found, Health::Degraded(_));
        tokio::select! {
            () = watch(&asked, self.degrade_grace, &sender, &stop) => None,
            Ok(found) = health.wait_for(degraded) => match &*found {
                Health::Degraded(wrong) => {
                    let grace = self.degrade_grace.as_secs_f64();
                    Some(format!("{wrong} (for longer than {grace} s)"))
                }
                Health::Right => None,
            },
        }
    }

    /// Ends what an earlier incarnation left running for this workflow.
    ///
    /// # Errors
    /// Why that is not possible, for a person.
    pub(in crate::run) async fn end_left_over(&self) -> Result<(), String> {
        let (pipeline, workflow) = (&self.setting.key.pipeline, &self.setting.workflow);
        let left = self.state.group(pipeline, workflow).map_err(|error| error_text(&error))?;
        let Some(left) = left else { return Ok(()) };
        let ended = end_left_over(&left, pipeline.as_str(), workflow.as_str())
            .await
            .map_err(|error| error_text(&error))?;
        if ended {
            tracing::warn!(
                %workflow, step = left.step_name, group = left.group,
                "ended the processes that an earlier incarnation of this agent left running"
            );
        }
        self.state.forget_group(pipeline, workflow).map_err(|error| error_text(&error))
    }

    async fn run(
        &self,
        index: StepIndex,
        step: &Step,
        spec: &RunCommand,
        command: &Command,
        attempt: u32,
        stop: &CancellationToken,
    ) -> Finished {
        let call = Call {
            command,
            env: &spec.env,
            workdir: spec.workdir.as_deref(),
            timeout: step.timeout,
            step: &step.name,
            attempt,
        };
        let gate = Gate { state: self.state.clone(), step: index, permit: self.permit.clone() };
        run(&self.setting, &call, Some(&gate), stop).await
    }

    fn question(
        &self,
        step: &Step,
        verify: &lockstep_shared::plan::Verify,
        attempt: u32,
    ) -> Question {
        Question {
            verify: verify.clone(),
            setting: self.setting.clone(),
            step: step.name.clone(),
            attempt,
        }
    }
}

fn needs_commands(step: &Step) -> bool {
    match &step.action {
        Action::Run(_) => true,
        Action::Verify(verify) => matches!(verify.probe, Probe::Command(_)),
        _ => false,
    }
}
