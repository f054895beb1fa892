//! Ending process groups, and telling an old group from a new one of the same number.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::state::GroupRecord;

/// How long a group may take to end itself when it is asked to.
pub(super) const ASK_GRACE: Duration = Duration::from_secs(5);

/// How long the system may take to remove a killed process.
const KILL_GRACE: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(20);

/// A process group that outlived even the signal that nothing survives.
#[derive(Debug, thiserror::Error)]
#[error(
    "process group {group} of an earlier attempt of step {step:?} cannot be ended; end it by hand \
     (kill -KILL -- -{group}) and start the agent again"
)]
pub struct StillAlive {
    /// The group's number.
    pub group: i32,
    /// The step that it worked for.
    pub step: String,
}

/// Asks a group to end, then kills what is left of it. Whether nothing is left.
pub(super) async fn end_group(group: Pid) -> bool {
    // A group that is gone cannot be signalled, which is what is wanted.
    let _ = rustix::process::kill_process_group(group, Signal::TERM);
    let is_gone = || rustix::process::test_kill_process_group(group).is_err();
    if wait_until(is_gone, ASK_GRACE).await {
        return true;
    }
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
    wait_until(|| is_gone() || members::all_dead(group), KILL_GRACE).await
}

/// Ends what a dead agent's command left running. Whether there was anything.
///
/// # Errors
/// [`StillAlive`] if something is left that cannot be ended.
pub async fn end_left_over(
    record: &GroupRecord,
    pipeline: &str,
    workflow: &str,
) -> Result<bool, StillAlive> {
    let Some(group) = Pid::from_raw(record.group).filter(|_| record.group > 1) else {
        return Ok(false);
    };
    let still_alive = || StillAlive { group: record.group, step: record.step_name.clone() };
    match start_of(group) {
        // The number was given to somebody else, and is not while anyone is left in the group.
        Some(started) if started != record.started => Ok(false),
        Some(_) => end_group(group).await.then_some(true).ok_or_else(still_alive),
        None => end_orphans(group, record, pipeline, workflow).await.ok_or_else(still_alive),
    }
}

/// The group's first process is dead: its others are known by their environment.
async fn end_orphans(
    group: Pid,
    record: &GroupRecord,
    pipeline: &str,
    workflow: &str,
) -> Option<bool> {
    let marks = [
        format!("LOCKSTEP_PIPELINE={pipeline}"),
        format!("LOCKSTEP_RUN={}", record.run),
        format!("LOCKSTEP_WORKFLOW={workflow}"),
        format!("LOCKSTEP_STEP={}", record.step_name),
        format!("LOCKSTEP_ATTEMPT={}", record.attempt),
    ];
    let found = members::marked(group, &marks);
    for (signal, grace) in [(Signal::TERM, ASK_GRACE), (Signal::KILL, KILL_GRACE)] {
        for &member in &members::marked(group, &marks) {
            let _ = rustix::process::kill_process(member, signal);
        }
        if wait_until(|| members::marked(group, &marks).is_empty(), grace).await {
            return Some(!found.is_empty());
        }
    }
    None
}

async fn wait_until(done: impl Fn() -> bool, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    while !done() {
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}

/// When a process began, in the system's own counting; `None` if there is no such process.
pub fn start_of(process: Pid) -> Option<String> {
    members::start_of(process)
}

#[cfg(target_os = "linux")]
mod members {
    //! Processes as `/proc` shows them.

    use rustix::process::Pid;

    struct Stat {
        state: String,
        group: i32,
        started: String,
    }

    /// The fields behind the name, which may itself hold blanks and brackets.
    fn stat(process: i32) -> Option<Stat> {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Stat {
            state: (*fields.first()?).to_owned(),
            group: fields.get(2)?.parse().ok()?,
            started: (*fields.get(19)?).to_owned(),
        })
    }

    fn all() -> impl Iterator<Item = i32> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    fn is_dead(state: &str) -> bool {
        matches!(state, "Z" | "X")
    }

    /// Ticks count from the boot, so the boot is part of it.
    pub(super) fn start_of(process: Pid) -> Option<String> {
        let found = stat(process.as_raw_nonzero().get())?;
        if is_dead(&found.state) {
            return None;
        }
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(format!("{}/{}", boot.trim(), found.started))
    }

    /// Whether only processes are left that nobody has collected yet.
    pub(super) fn all_dead(group: Pid) -> bool {
        let group = group.as_raw_nonzero().get();
        !all().filter_map(stat).any(|found| found.group == group && !is_dead(&found.state))
    }

    /// The living members of a group that have all these variables.
    pub(super) fn marked(group: Pid, marks: &[String]) -> Vec<Pid> {
        let number = group.as_raw_nonzero().get();
        let is_member = |process: &i32| {
            stat(*process).is_some_and(|found| found.group == number && !is_dead(&found.state))
        };
        let has_marks = |process: &i32| {
            std::fs::read(format!("/proc/{process}/environ")).is_ok_and(|environment| {
                let variables: Vec<&[u8]> = environment.split(|byte| *byte == 0).collect();
                marks.iter().all(|mark| variables.contains(&mark.as_bytes()))
            })
        };
        all().filter(is_member).filter(has_marks).filter_map(Pid::from_raw).collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod members {
    //! Processes as `ps` shows them. Without `/proc` a group is found again only while its first
    //! process lives.

    use rustix::process::Pid;

    pub(super) fn start_of(process: Pid) -> Option<String> {
        let number = process.as_raw_nonzero().get().to_string();
        let shown =
            std::process::Command::new("ps").args(["-o", "lstart=", "-p", &number]).output();
        let text = String::from_utf8(shown.ok()?.stdout).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn all_dead(_: Pid) -> bool {
        false
    }

    pub(super) fn marked(_: Pid, _: &[String]) -> Vec<Pid> {
        Vec::new()
    }
}
