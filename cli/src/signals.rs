//! Ctrl-C and SIGTERM as values.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    exit::Exit,
    failure::{Failure, OrExit},
};

/// The signals that end a program in good order.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on; the system's own reaction is off.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let on = |kind| signal(kind).or_exit(Exit::Internal, "cannot listen for signals");
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
        })
    }

    /// The next one, as the code that it ends a program with. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Exit {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Exit::Interrupted,
            Some(()) = self.terminate.recv() => Exit::Terminated,
            else => std::future::pending().await,
        }
    }
}
