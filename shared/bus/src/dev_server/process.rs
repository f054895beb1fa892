//! The server's process and the watchdog beside it.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// Becomes the server once it is told to; ends if nobody is left to tell it.
const GATE: &str = r#"read -r word && exec "$0" "$@""#;

/// Waits for the parent's end, kills the server and removes its folder.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r word
kill -9 "$1" 2>/dev/null
tries=0
while kill -0 "$1" 2>/dev/null && [ "$tries" -lt 20 ]; do tries=$((tries + 1)); sleep 0.1; done
if [ -n "$2" ]; then rm -rf -- "$2"; fi
"#;

/// A started server with its watchdog.
pub(super) struct Running {
    pub(super) server: Child,
    watchdog: Child,
    /// Closed by the kernel when this process ends, which wakes the watchdog.
    _lifeline: ChildStdin,
}

impl Running {
    pub(super) fn spawn(program: &Path, folder: &Path, log: File) -> io::Result<Self> {
        let mut server = Command::new("/bin/sh")
            .args(["-c", GATE])
            .arg(program)
            .arg("-c")
            .arg(folder.join("nats-server.conf"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "watchdog", &server.id().to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let mut watchdog = match watchdog {
            Ok(watchdog) => watchdog,
            Err(error) => {
                server.kill().ok();
                server.wait().ok();
                return Err(error);
            }
        };
        let lifeline = watchdog.stdin.take().expect("its stdin is a pipe");
        let opened = server.stdin.take().expect("its stdin is a pipe").write_all(b"go\n");
        let running = Self { server, watchdog, _lifeline: lifeline };
        match opened {
            Ok(()) => Ok(running),
            Err(error) => {
                running.end();
                Err(error)
            }
        }
    }

    /// Asks it to stop in good order.
    pub(super) fn terminate(&self) {
        if let Some(pid) =
            i32::try_from(self.server.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
    }

    pub(super) fn has_ended(&mut self) -> bool {
        matches!(self.server.try_wait(), Ok(Some(_)))
    }

    /// The watchdog goes first: it must not kill whoever gets the server's number next.
    pub(super) fn end(mut self) {
        self.watchdog.kill().ok();
        self.watchdog.wait().ok();
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
