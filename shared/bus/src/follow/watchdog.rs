//! Beside each consumer: every 10 s the last stored sequence against what was applied, whatever
//! the consumer itself believes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lockstep_shared::id::Sequence;
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};

use super::{Follow, step_over};
use crate::{connect::Bus, history::LogState};

/// How often it looks (PROTOCOL section 5).
const EVERY: Duration = Duration::from_secs(10);

/// How long a consumer may be behind before it is made again (PROTOCOL section 5).
const BEHIND_FOR: Duration = Duration::from_secs(5);

/// How long one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(4);

/// Looks until the consumer has to be made again; why.
pub(super) async fn watch(
    bus: Bus,
    filters: Vec<String>,
    applied: Arc<AtomicU64>,
    before: Option<LogState>,
    generation: u64,
    reports: mpsc::Sender<Follow>,
) -> String {
    loop {
        tokio::time::sleep(EVERY).await;
        // A listener that is slow to take what was delivered is no fault of the consumer.
        if reports.capacity() == 0 {
            continue;
        }
        let position = applied.load(Ordering::Acquire);
        match look(&bus, &filters, position, before.as_ref()).await {
            Ok(Look::Level) => {
                let caught_up = Follow::CaughtUp { upto: position, generation };
                if reports.send(caught_up).await.is_err() {
                    return "nobody listens".to_owned();
                }
            }
            Ok(Look::Behind(last)) => {
                tokio::time::sleep(BEHIND_FOR).await;
                let position = applied.load(Ordering::Acquire);
                if position < last && reports.capacity() > 0 {
                    return format!("at #{position}, though #{last} was stored");
                }
            }
            Ok(Look::Changed(why)) => return why,
            // The connection's own troubles are noticed elsewhere.
            Err(error) => tracing::debug!(error, "the watchdog could not look"),
        }
    }
}

enum Look {
    Level,
    /// A matching record stands at this higher position.
    Behind(Sequence),
    /// The log is not what it was.
    Changed(String),
}

async fn look(
    bus: &Bus,
    filters: &[String],
    position: Sequence,
    before: Option<&LogState>,
) -> Result<Look, String> {
    let until = Instant::now() + LOOK_WITHIN;
    let now = bus.log_state(until).await.map_err(|error| error.to_string())?;
    if before.is_some_and(|before| before.created != now.created) || now.last < position {
        return Ok(Look::Changed("the log is not the one that was followed".to_owned()));
    }
    for filter in filters {
        // From the leader: a follower of the stream may lag as the consumer does.
        let last = json!({ "last_by_subj": filter });
        if let Some(stored) = step_over::fetch(bus, &last, until).await?
            && stored.seq > position
        {
            return Ok(Look::Behind(stored.seq));
        }
    }
    Ok(Look::Level)
}
