//! One command from its start to its end.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use lockstep_shared::{fold, plan::Command, time::Span};
use rustix::process::{Pid, Signal};
use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe::Receiver,
    process::{Child, Command as Process},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    environment::Setting,
    group::{end_group, start_of},
    output::Output,
    permit::Permit,
};
use crate::state::{GroupRecord, StateDirectory, StateError};

/// How much of a command's text an error repeats, in bytes.
const MAX_SHOWN_BYTES: usize = 200;

/// A command that waits for its agent's word: if the agent dies before it has stored the group's
/// number, the line never comes and nothing is done. Its arguments are not looked at by the shell.
const GATE: &str = "IFS= read -r go || exit 125; exec \"$@\" </dev/null";

/// A command and how it is to run.
#[derive(Debug)]
pub struct Call<'a> {
    /// What to run.
    pub command: &'a Command,
    /// Variables added to its environment.
    pub env: &'a BTreeMap<String, String>,
    /// The folder it runs in, relative to the agent's working directory.
    pub workdir: Option<&'a str>,
    /// How long it may take.
    pub timeout: Span,
    /// The step's name.
    pub step: &'a str,
    /// The attempt; 0 while undoing.
    pub attempt: u32,
}

/// What stands before a command's first act: its group is remembered, and it is still allowed.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Where the group is remembered.
    pub state: StateDirectory,
    /// The step's place in its workflow.
    pub step: usize,
    /// Who allows it.
    pub permit: Permit,
}

/// How a command ended, and the end of what it printed.
#[derive(Debug)]
pub struct Finished {
    /// Nothing, if it exited with 0.
    pub result: Result<(), CommandError>,
    /// The end of its output, as much as a record carries.
    pub output: String,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It said so itself.
    #[error("`{command}` ended with {status}")]
    Ended {
        /// What ran.
        command: String,
        /// How it ended.
        status: String,
    },
    /// It took too long.
    #[error("`{command}` took longer than {timeout} and was killed")]
    TimedOut {
        /// What ran.
        command: String,
        /// How long it was given.
        timeout: Span,
    },
    /// The agent was told to stop it.
    #[error("`{command}` was stopped before its end")]
    Stopped {
        /// What ran.
        command: String,
    },
    /// It could not be begun.
    #[error("`{command}` cannot be started in {workdir}")]
    NotStarted {
        /// What should have run.
        command: String,
        /// Where.
        workdir: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its agent was not to act any more.
    #[error("`{command}` was not started: {why}")]
    NotPermitted {
        /// What should have run.
        command: String,
        /// Why, as a sentence without a full stop.
        why: String,
    },
    /// Its group could not be remembered, so it was not allowed to begin.
    #[error("`{command}` was not started, because its process group cannot be remembered")]
    NotRemembered {
        /// What should have run.
        command: String,
        /// Why.
        source: StateError,
    },
}

/// Runs a command to its end, or until its time is over or `stop` is cancelled; then its whole
/// group is ended.
pub async fn run(
    setting: &Setting,
    call: &Call<'_>,
    gate: Option<&Gate>,
    stop: &CancellationToken,
) -> Finished {
    let deadline = Instant::now() + Duration::from(call.timeout);
    let (mut running, mut output) = match start(setting, call, gate).await {
        Ok(started) => started,
        Err(error) => return Finished { result: Err(error), output: String::new() },
    };
    let outcome = tokio::select! {
        status = running.child.wait() => Outcome::Ended(status),
        () = tokio::time::sleep_until(deadline) => Outcome::TimedOut,
        () = stop.cancelled() => Outcome::Stopped,
        never = output.pump() => match never {},
    };
    let command = shown(call.command);
    let result = match outcome {
        Outcome::Ended(Ok(status)) if status.success() => Ok(()),
        Outcome::Ended(Ok(status)) => {
            Err(CommandError::Ended { command, status: status_text(status) })
        }
        Outcome::Ended(Err(source)) => {
            Err(CommandError::NotStarted { command, workdir: workdir_text(setting, call), source })
        }
        Outcome::TimedOut => Err(CommandError::TimedOut { command, timeout: call.timeout }),
        Outcome::Stopped => Err(CommandError::Stopped { command }),
    };
    if result.is_err() {
        running.end(&mut output).await;
    }
    running.over = true;
    forget(setting, gate);
    Finished { result, output: output.drain() }
}

enum Outcome {
    Ended(std::io::Result<ExitStatus>),
    TimedOut,
    Stopped,
}

/// A command that may be running; killed with its group if it is dropped on the way.
struct Running {
    child: Child,
    group: Pid,
    over: bool,
}

impl Running {
    async fn end(&mut self, output: &mut Output) {
        let ended = async {
            // The child has to be collected, else its group never looks empty.
            let (gone, _) = tokio::join!(end_group(self.group), self.child.wait());
            gone
        };
        let gone = tokio::select! {
            gone = ended => gone,
            never = output.pump() => match never {},
        };
        if !gone {
            tracing::error!(group = %self.group, "a killed process group does not end");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
        }
    }
}

async fn start(
    setting: &Setting,
    call: &Call<'_>,
    gate: Option<&Gate>,
) -> Result<(Running, Output), CommandError> {
    let not_started = |source: std::io::Error| CommandError::NotStarted {
        command: shown(call.command),
        workdir: workdir_text(setting, call),
        source,
    };
    let (mut running, pipe) = spawn(setting, call, gate.is_some()).map_err(not_started)?;
    if let Some(gate) = gate {
        let record = GroupRecord {
            run: setting.key.run.clone(),
            step: gate.step,
            step_name: call.step.to_owned(),
            attempt: call.attempt,
            group: running.group.as_raw_nonzero().get(),
            started: start_of(running.group).unwrap_or_default(),
        };
        remember(setting, gate, record).await.map_err(|source| CommandError::NotRemembered {
            command: shown(call.command),
            source,
        })?;
        gate.permit
            .ask()
            .await
            .map_err(|why| CommandError::NotPermitted { command: shown(call.command), why })?;
        if let Some(mut stdin) = running.child.stdin.take() {
            stdin.write_all(b"go\n").await.map_err(not_started)?;
        }
    }
    Ok((running, Output::new(pipe, show(setting, call.step))))
}

fn spawn(setting: &Setting, call: &Call<'_>, gated: bool) -> std::io::Result<(Running, Receiver)> {
    let arguments = match call.command {
        Command::Shell(text) => vec!["/bin/sh", "-eu", "-c", text],
        Command::Exec(list) => list.iter().map(String::as_str).collect(),
    };
    let gate = ["/bin/sh", "-c", GATE, "lockstep-gate"];
    let mut words = gate.into_iter().filter(|_| gated).chain(arguments);
    let program = words.next().ok_or(std::io::ErrorKind::InvalidInput)?;
    let workdir = setting.workdir.join(call.workdir.unwrap_or_default());
    if !workdir.is_dir() {
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such folder"));
    }
    let (reader, writer) = std::io::pipe()?;
    let mut process = Process::new(program);
    process
        .args(words)
        .env_clear()
        .envs(setting.environment(call.step, call.attempt, call.env))
        .current_dir(workdir)
        .stdin(if gated { Stdio::piped() } else { Stdio::null() })
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    let child = process.spawn()?;
    let number = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let group = number.ok_or_else(|| std::io::Error::other("it has no process number"))?;
    let running = Running { child, group, over: false };
    Ok((running, Receiver::from_owned_fd(OwnedFd::from(reader))?))
}

/// Where each line goes at once: the agent's own output, with whose line it is.
fn show(setting: &Setting, step: &str) -> Box<dyn Fn(&str) + Send + Sync> {
    let (workflow, step) = (setting.workflow.clone(), step.to_owned());
    Box::new(move |line| {
        tracing::info!(target: "lockstep::output", %workflow, step, "{line}");
    })
}

/// On disk before the command's first act, and without holding up the agent's other workflows.
async fn remember(setting: &Setting, gate: &Gate, record: GroupRecord) -> Result<(), StateError> {
    let (pipeline, workflow) = (setting.key.pipeline.clone(), setting.workflow.clone());
    let state = gate.state.clone();
    tokio::task::spawn_blocking(move || state.save_group(&pipeline, &workflow, &record))
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The file would only make a successor look for a group that is gone.
fn forget(setting: &Setting, gate: Option<&Gate>) {
    let Some(gate) = gate else { return };
    if let Err(error) = gate.state.forget_group(&setting.key.pipeline, &setting.workflow) {
        tracing::warn!(%error, "an ended process group cannot be forgotten");
    }
}

fn workdir_text(setting: &Setting, call: &Call<'_>) -> String {
    setting.workdir.join(call.workdir.unwrap_or_default()).display().to_string()
}

fn shown(command: &Command) -> String {
    let text = match command {
        Command::Shell(text) => text.trim().replace('\n', "; "),
        Command::Exec(list) => list.join(" "),
    };
    fold::cut(&text, MAX_SHOWN_BYTES)
}

fn status_text(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(127), _) => "exit status 127 (a program was not found)".to_owned(),
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

#[cfg(test)]
mod tests;
