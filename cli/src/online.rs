//! Reaching NATS: the connection, and errors said so that a person knows what to do.

use std::time::Duration;

use lockstep_bus::{AppendError, Bus, Connection, ConnectionArgs, ReadError, stream::StreamError};
use tokio::time::Instant;

use crate::{
    exit::Exit,
    failure::{Failure, OrExit},
};

/// How long a verb tries to connect before it says that nobody answers.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long one question to the log may take before the verb gives up.
pub(crate) const ASK_LIMIT: Duration = Duration::from_secs(10);

/// How long closing a connection may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// When a question that begins now must be answered.
pub(crate) fn soon() -> Instant {
    Instant::now() + ASK_LIMIT
}

/// Resolves flags, environment and context files.
pub(crate) fn settings(args: &ConnectionArgs) -> Result<Connection, Failure> {
    Connection::resolve(args).or_exit(Exit::Invalid, "the connection settings are not valid")
}

/// Connects as one of the command line's verbs.
pub(crate) async fn connect(args: &ConnectionArgs, verb: &str) -> Result<Bus, Failure> {
    connect_to(&settings(args)?, verb).await
}

/// Connects with settings that are resolved already.
pub(crate) async fn connect_to(connection: &Connection, verb: &str) -> Result<Bus, Failure> {
    Bus::connect(connection, &format!("lockstep {verb}"), CONNECT_LIMIT)
        .await
        .or_exit(Exit::Unavailable, "cannot connect to NATS")
        .map_err(|failure| failure.help("`lockstep doctor` checks the connection step by step"))
}

/// Ends a connection in good order.
pub(crate) async fn close(bus: Bus) {
    bus.close(CLOSE_LIMIT).await;
}

/// A reading of the log that failed.
pub(crate) fn unreadable(error: ReadError) -> Failure {
    let denied = matches!(error, ReadError::Denied(_));
    let failure = Failure { exit: Exit::Unavailable, error: error.into(), help: None };
    failure.help(if denied {
        "these credentials may not read runs: use credentials of a viewer, operator or submitter"
    } else {
        "`lockstep doctor` says whether the server, JetStream and the stream are there"
    })
}

/// A record that could not be appended.
pub(crate) fn unwritten(error: AppendError, what: &str) -> Failure {
    let in_doubt = error.in_doubt();
    let help = match &error {
        AppendError::Denied { .. } => {
            "these credentials may not write there: use credentials of the role that does"
        }
        AppendError::Full { .. } => {
            "the stream is full: raise its max_bytes, or wait until old runs expire (max_age)"
        }
        _ if in_doubt => "it may still be stored: look with `lockstep status` before trying again",
        _ => "`lockstep doctor` says whether the server, JetStream and the stream are there",
    };
    let error = anyhow::Error::new(error).context(format!("cannot record {what}"));
    Failure { exit: Exit::Unavailable, error, help: None }.help(help)
}

/// That there is no log to read, if that is so: nobody has to wait for what nobody will bring.
pub(crate) async fn no_log(bus: &Bus) -> Option<Failure> {
    match bus.inspect_streams(soon()).await {
        Err(error @ (StreamError::Absent(_) | StreamError::NoJetStream(_))) => {
            Some(unusable(error))
        }
        _ => None,
    }
}

/// Streams that cannot be used.
pub(crate) fn unusable(error: StreamError) -> Failure {
    if let StreamError::Absent(stream) = &error {
        return Failure::unavailable(format!(
            "this NATS server has no log yet: the stream {stream} is created by the first \
             coordinator, and none has run"
        ))
        .help(
            "start one with `lockstep-coordinator` and the same connection settings; or let \
             `lockstep dev FILE` bring a server and a coordinator of its own",
        );
    }
    let help = match &error {
        StreamError::Absent(_) => None,
        StreamError::Mismatch { .. } => Some("`lockstep doctor` compares the streams again"),
        StreamError::Denied(_) => {
            Some("use credentials that may ask for the stream's state: a submitter's or viewer's")
        }
        StreamError::Failed { .. } => Some("try again; `lockstep doctor` checks step by step"),
        StreamError::NoJetStream(_) | StreamError::NoRoom { .. } => None,
    };
    let error = anyhow::Error::new(error).context("the stream cannot be used");
    Failure { exit: Exit::Unavailable, error, help: help.map(str::to_owned) }
}
