//! Watching what a finished `verify` step found right, until the run is decided.

use std::time::Duration;

use tokio::{sync::watch::Sender, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Question, Wrong};

/// What is known of a step's health since it finished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Health {
    /// The answers are right, or not wrong for long enough to matter.
    #[default]
    Right,
    /// They have been wrong for longer than the grace, and this is the last one.
    Degraded(Wrong),
}

/// Asks at every interval and tells when the answers have been wrong for longer than `grace`, or
/// are right again. Runs until `stop` is cancelled.
pub async fn watch(
    question: &Question,
    grace: Duration,
    health: &Sender<Health>,
    stop: &CancellationToken,
) {
    let mut wrong_since = None;
    while !stop.is_cancelled() {
        let found = match question.ask(stop).await {
            Ok(()) => {
                wrong_since = None;
                Some(Health::Right)
            }
            Err(wrong) => {
                let since = *wrong_since.get_or_insert_with(Instant::now);
                tracing::debug!(step = question.step, answer = %wrong, "not healthy");
                (since.elapsed() >= grace).then_some(Health::Degraded(wrong))
            }
        };
        // Not while stopping: a command that was killed for that is no answer.
        if let Some(found) = found.filter(|_| !stop.is_cancelled()) {
            health.send_if_modified(|known| {
                let changed = std::mem::discriminant(known) != std::mem::discriminant(&found);
                *known = found;
                changed
            });
        }
        let pause = Duration::from(question.verify.interval).max(super::MIN_PAUSE);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}
