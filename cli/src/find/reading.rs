//! What the log holds that matches, read once to the present end.

use lockstep_bus::{Bus, Follow, Follower, Heading};
use lockstep_shared::codec::Entry;
use tokio::time::{Instant, timeout_at};

use crate::{
    failure::Failure,
    online::{ASK_LIMIT, no_log, unreadable},
};

/// The headings that match now, in stream order.
pub(crate) async fn headings(bus: &Bus, filters: Vec<String>) -> Result<Vec<Heading>, Failure> {
    let follower = bus.follow_headings(filters, 1);
    let heading = |told| match told {
        Follow::Heading(heading) => Some(heading),
        _ => None,
    };
    to_the_end(bus, follower, heading).await
}

/// The records that match now, in stream order.
pub(crate) async fn entries(bus: &Bus, filters: Vec<String>) -> Result<Vec<Entry>, Failure> {
    let follower = bus.follow(filters, 1);
    let entry = |told| match told {
        Follow::Entry(entry) => Some(*entry),
        _ => None,
    };
    to_the_end(bus, follower, entry).await
}

/// What a follower reports until it is caught up, as far as it is asked for.
async fn to_the_end<T>(
    bus: &Bus,
    mut follower: Follower,
    wanted: impl Fn(Follow) -> Option<T>,
) -> Result<Vec<T>, Failure> {
    let limit = Instant::now() + ASK_LIMIT;
    let mut found = Vec::new();
    let mut trouble = "the server sends nothing".to_owned();
    loop {
        match timeout_at(limit, follower.next()).await {
            Ok(Some(Follow::CaughtUp { .. })) => return Ok(found),
            Ok(Some(Follow::LogWentBack { .. })) => found.clear(),
            Ok(Some(Follow::Trouble { why })) => {
                if let Some(failure) = no_log(bus).await {
                    return Err(failure);
                }
                trouble = why;
            }
            Ok(Some(told)) => found.extend(wanted(told)),
            Ok(None) | Err(_) => {
                return Err(unreadable(lockstep_bus::ReadError::TimedOut { reason: trouble }));
            }
        }
    }
}
