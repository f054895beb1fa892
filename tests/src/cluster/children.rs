//! A cluster's processes: named, each with a log of its own, and gone with this process however it
//! ends.
//!
//! How, on every Unix and without unsafe code: each program begins as a small shell, the *gate*,
//! that waits for a word before it becomes the program. Its number is first told to another shell,
//! the *warden*, which waits for the end of its own input. The kernel closes that when this
//! process is gone, or [`Children`] does when it is dropped; the warden then kills whatever was not
//! taken off its list, says what is to be said to a cluster that stays (`farewell`), and removes
//! the folder.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result};

use super::node::{first_below, inside};

const GATE: &str = r#"read -r word && exec "$@""#;

const WARDEN: &str = r#"
trap '' INT TERM HUP
pids=
while read -r sign pid; do
    case $sign in
    +) pids="$pids $pid" ;;
    -) rest=; for one in $pids; do [ "$one" = "$pid" ] || rest="$rest $one"; done; pids=$rest ;;
    esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
tries=0
for pid in $pids; do
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do tries=$((tries + 1)); sleep 0.1; done
done
if [ -f "$1/farewell" ]; then timeout 60 sh "$1/farewell"; fi
rm -rf -- "$1"
"#;

/// How much of a log an error shows.
const LOG_LINES: usize = 15;

/// Running programs by name, below one folder.
pub(super) struct Children {
    folder: PathBuf,
    running: BTreeMap<String, Child>,
    /// The first process of the namespaces that programs are started in, if they are.
    inside: Option<u32>,
    warden: Child,
    /// Closed by the kernel when this process ends, which wakes the warden.
    lifeline: Option<ChildStdin>,
}

impl Children {
    /// None yet; from now on `folder` goes with this process.
    pub(super) fn in_folder(folder: &Path) -> Result<Self> {
        let mut warden = Command::new("/bin/sh")
            .args(["-c", WARDEN, "lockstep-cluster-warden"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting the shell that ends a cluster's programs")?;
        let lifeline = warden.stdin.take();
        std::fs::create_dir_all(folder.join("logs"))?;
        Ok(Self {
            folder: folder.to_owned(),
            running: BTreeMap::new(),
            inside: None,
            warden,
            lifeline,
        })
    }

    /// From now on starts programs in the namespaces of this process, which are to go with the
    /// others.
    pub(super) fn enter(&mut self, first: u32) -> Result<()> {
        self.inside = Some(first);
        self.tell_warden('+', first)
    }

    /// Starts a program under a name; its log is appended to, so that it can be started again.
    pub(super) fn start(&mut self, name: &str, command: &[String]) -> Result<u32> {
        let log = self.log_path(name);
        let command = match self.inside {
            Some(first) => inside(first, command),
            None => command.to_vec(),
        };
        let log = File::options().create(true).append(true).open(&log).context("making a log")?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", GATE, "lockstep-cluster-gate"])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .current_dir(&self.folder)
            // A Ctrl-C that is meant for this process is not meant for the cluster.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let pid = child.id();
        let gate = child.stdin.take();
        self.running.insert(name.to_owned(), child);
        self.tell_warden('+', pid)?;
        gate.context("its input is a pipe")?
            .write_all(b"go\n")
            .with_context(|| format!("starting {name}"))?;
        Ok(pid)
    }

    /// How a program ended, if it did.
    pub(super) fn ended(&mut self, name: &str) -> Option<ExitStatus> {
        self.running.get_mut(name)?.try_wait().ok()?
    }

    /// Fails if any program has ended, with the end of its log.
    pub(super) fn check(&mut self) -> Result<()> {
        let names: Vec<String> = self.running.keys().cloned().collect();
        for name in names {
            if let Some(status) = self.ended(&name) {
                anyhow::bail!("{name} ended ({status}); its log says:\n{}", self.log(&name));
            }
        }
        Ok(())
    }

    /// Ends a program as `kill -9` does.
    pub(super) fn kill(&mut self, name: &str) -> Result<()> {
        let mut child = self.running.remove(name).with_context(|| format!("{name} runs"))?;
        let pid = child.id();
        // In namespaces, the child is who stands outside for the program.
        if self.inside.is_some()
            && let Some(program) = first_below(pid)?
        {
            kill_outright(program);
        }
        child.kill().ok();
        child.wait().ok();
        self.tell_warden('-', pid)
    }

    /// The names of the programs that were started and not killed.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.running.keys().map(String::as_str)
    }

    /// The end of a program's log.
    pub(super) fn log(&self, name: &str) -> String {
        let text = std::fs::read(self.log_path(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    fn tell_warden(&mut self, sign: char, pid: u32) -> Result<()> {
        let lifeline = self.lifeline.as_mut().context("the warden lives as long as this")?;
        writeln!(lifeline, "{sign} {pid}").context("telling the shell that ends a program")
    }
}

fn kill_outright(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // Gone already is as good.
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        let names: Vec<String> = self.running.keys().cloned().collect();
        for name in names {
            // What cannot be ended here is ended by the warden.
            self.kill(&name).ok();
        }
        drop(self.lifeline.take());
        self.warden.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &[&str]) -> Vec<String> {
        command.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn programs_and_folder_are_gone_when_dropped_and_the_farewell_was_said() {
        let all = tempfile::tempdir().unwrap();
        let folder = all.path().join("cluster");
        let mut children = Children::in_folder(&folder).unwrap();
        let one = children.start("one", &words(&["sleep", "1000"])).unwrap();
        let said = all.path().join("said");
        std::fs::write(folder.join("farewell"), format!("echo bye > '{}'", said.display()))
            .unwrap();
        assert!(children.ended("one").is_none());
        drop(children);
        assert!(!Path::new(&format!("/proc/{one}/exe")).exists());
        assert!(!folder.exists());
        assert_eq!(std::fs::read_to_string(said).unwrap(), "bye\n");
    }

    #[test]
    fn a_program_that_ended_is_told_with_the_end_of_its_log() {
        let all = tempfile::tempdir().unwrap();
        let mut children = Children::in_folder(&all.path().join("cluster")).unwrap();
        children.start("one", &words(&["sh", "-c", "echo no room >&2; exit 3"])).unwrap();
        children.running.get_mut("one").unwrap().wait().unwrap();
        let error = children.check().unwrap_err().to_string();
        assert!(error.contains("one ended (exit status: 3)"), "{error}");
        assert!(error.contains("no room"), "{error}");
    }
}
