//! Running a program that renders: bounded in time and in what it may print.

use std::{io, process::Stdio, time::Duration};

use lockstep_shared::{
    error_code::Code,
    manifest::{MAX_BUNDLE_BYTES, Problem},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

use super::problem;

/// How long a program may take: a remote base has to be fetched.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// How much of what a program complains is kept.
const COMPLAINT_BYTES: u64 = 4 * 1024;

/// A program with its arguments, and what to do where it is not installed.
pub(super) struct Program<'a> {
    /// Its name, sought in PATH.
    pub(super) name: &'static str,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
    /// How messages call this use of it.
    pub(super) called: &'a str,
    /// What to do if it is not there.
    pub(super) install: &'static str,
}

impl Program<'_> {
    /// Runs it, and gives back what it printed.
    pub(super) async fn run(&self) -> Result<String, Problem> {
        self.run_within(TIME_LIMIT).await
    }

    async fn run_within(&self, limit: Duration) -> Result<String, Problem> {
        match timeout(limit, self.output()).await {
            Ok(output) => output,
            // The child is killed where it is dropped.
            Err(_) => Err(self.failed(&format!("it took longer than {} s", limit.as_secs()))),
        }
    }

    async fn output(&self) -> Result<String, Problem> {
        let mut child = Command::new(self.name)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.absent(&error))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let broken = |error: io::Error| self.failed(&error.to_string());
        // Read at once: a program waits while a pipe is full.
        let (printed, complained) =
            tokio::join!(read(out, MAX_BUNDLE_BYTES as u64), read(err, COMPLAINT_BYTES));
        let (printed, complained) = (printed.map_err(broken)?, complained.map_err(broken)?);
        if printed.len() > MAX_BUNDLE_BYTES {
            let limit = MAX_BUNDLE_BYTES / 1024 / 1024;
            return Err(self.failed(&format!("it printed more than {limit} MiB")));
        }
        let status = child.wait().await.map_err(broken)?;
        if !status.success() {
            let complaint = String::from_utf8_lossy(&complained);
            return Err(self.failed(&format!("{status}\n{}", complaint.trim())));
        }
        String::from_utf8(printed).map_err(|_| self.failed("what it printed is not UTF-8 text"))
    }

    fn failed(&self, why: &str) -> Problem {
        let code = Code::RenderFailed;
        let help = format!("run it yourself: {} {}", self.name, self.arguments.join(" "));
        Problem { help: Some(help), ..problem(code, format!("{} failed: {why}", self.called)) }
    }

    fn absent(&self, error: &io::Error) -> Problem {
        if error.kind() != io::ErrorKind::NotFound {
            return self.failed(&error.to_string());
        }
        let message = format!("{} needs `{}`, which is not in PATH", self.called, self.name);
        Problem { help: Some(self.install.to_owned()), ..problem(Code::RenderFailed, message) }
    }
}

/// Reads up to one byte more than the limit, and lets the rest pass.
async fn read(from: Option<impl AsyncRead + Unpin>, limit: u64) -> io::Result<Vec<u8>> {
    let Some(mut from) = from else { return Ok(Vec::new()) };
    let mut kept = Vec::new();
    (&mut from).take(limit + 1).read_to_end(&mut kept).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &'static str, script: &str) -> Program<'static> {
        Program {
            name,
            arguments: vec!["-c".to_owned(), script.to_owned()],
            called: "`sh -c`",
            install: "install sh",
        }
    }

    #[tokio::test]
    async fn what_it_prints_is_given_back() {
        assert_eq!(program("sh", "echo a; echo b >&2").run().await.unwrap(), "a\n");
    }

    #[tokio::test]
    async fn what_it_complains_is_told() {
        let refused = program("sh", "echo no such chart >&2; exit 3").run().await.unwrap_err();
        assert_eq!(refused.message, "`sh -c` failed: exit status: 3\nno such chart");
        assert!(refused.help.unwrap().contains("sh -c echo no such chart"));
    }

    #[tokio::test]
    async fn what_is_not_installed_is_told_with_what_to_install() {
        let refused = program("no-such-program", "").run().await.unwrap_err();
        assert!(refused.message.contains("`no-such-program`, which is not in PATH"));
        assert_eq!(refused.help.unwrap(), "install sh");
    }

    #[tokio::test]
    async fn what_takes_too_long_or_prints_too_much_is_ended() {
        let slow = program("sh", "exec sleep 1000").run_within(Duration::ZERO).await;
        assert!(slow.unwrap_err().message.contains("took longer"));
        let loud = program("sh", "head -c 70000000 /dev/zero").run().await;
        assert!(loud.unwrap_err().message.contains("more than 64 MiB"));
        let moaning = program("sh", "head -c 70000 /dev/zero >&2; exit 1").run().await;
        assert!(moaning.unwrap_err().message.len() < 10_000);
    }
}
