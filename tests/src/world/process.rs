//! One of the real programs as a process: started, signalled by its own id, its output kept.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

pub use rustix::process::Signal;

use super::until;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// A running program; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    pub(super) fn start(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        let output = logs.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&output)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, output })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.context("a process id is positive")?;
        rustix::process::kill_process(pid, signal)
            .with_context(|| format!("signalling {}", self.name))
    }

    /// Ends it as `kill -9` does and waits until it is gone.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether and how it has ended.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<Ended>> {
        Ok(self.child.try_wait()?.map(|status| match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Code(code),
            (None, signal) => Ended::Signal(signal.unwrap_or_default()),
        }))
    }

    /// Waits until it ends, for at most `limit`.
    ///
    /// # Errors
    /// If it still runs then; the error shows the end of its output.
    pub async fn end(&mut self, limit: Duration) -> Result<Ended> {
        let name = self.name.clone();
        let ended = until(&format!("{name} ends"), limit, || {
            let ended = self.ended();
            async move {
                match ended {
                    Ok(Some(ended)) => Ok(ended),
                    other => Err(format!("{other:?}")),
                }
            }
        })
        .await;
        match ended {
            Ok(ended) => Ok(ended),
            Err(error) => bail!("{error}\n{}", self.tail()),
        }
    }

    /// All that it has printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// What it has printed from this byte on.
    pub fn output_from(&self, offset: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = File::open(&self.output).and_then(|mut file| {
            file.seek(SeekFrom::Start(offset))?;
            file.read_to_end(&mut bytes)
        });
        // A file that is not there yet is one without a word in it.
        read.map(|_| bytes).unwrap_or_default()
    }

    /// The end of what it has printed.
    pub fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().rev().take(40).collect();
        lines.into_iter().rev().fold(format!("--- {}\n", self.name), |all, line| all + line + "\n")
    }

    /// Waits until it has printed a text.
    ///
    /// # Errors
    /// If it has not within `limit`; the error shows the end of its output.
    pub async fn prints(&self, text: &str, limit: Duration) -> Result<()> {
        until(&format!("{} prints {text:?}", self.name), limit, || async {
            if self.output().contains(text) { Ok(()) } else { Err(self.tail()) }
        })
        .await
    }

    /// Its resident memory in KiB.
    ///
    /// # Errors
    /// If it is gone.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.context("VmRSS is missing")?.parse().context("VmRSS is a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program with a clean environment that leads to this world's server.
pub(super) fn command(
    name: &str,
    arguments: &[&str],
    workdir: &Path,
    nats: &str,
) -> Result<Command> {
    let mut command = Command::new(program(name)?);
    command.args(arguments).current_dir(workdir).env_clear().env("NATS_URL", nats);
    for kept in ["PATH", "HOME", "LOCKSTEP_NATS_SERVER", "RUST_BACKTRACE", "RUST_LOG"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    // What a person has configured for the nats CLI is not for tests.
    command.env("XDG_CONFIG_HOME", workdir.join(".no-config"));
    Ok(command)
}

/// Where a program of this build is.
///
/// # Errors
/// If it was not built; the error names the command that does.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let places = own.ancestors().skip(1).take(3);
    let mut found = places.map(|folder| folder.join(name)).filter(|path| path.is_file());
    found.next().with_context(|| {
        format!("{name} is not built beside {}: run `cargo build --workspace` first", own.display())
    })
}
