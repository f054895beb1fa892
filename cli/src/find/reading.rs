//! What the log holds that matches, read once to the present end.

use lockstep_bus::{Bus, Follow, Heading};
use lockstep_shared::codec::Entry;
use tokio::time::{Instant, timeout_at};

use crate::{
    failure::Failure,
    online::{ASK_LIMIT, no_log, unreadable},
};

/// The headings that match now, in stream order.
pub(crate) async fn headings(bus: &Bus, filters: Vec<String>) -> Result<Vec<Heading>, Failure> {
    let mut follower = bus.follow_headings(filters, 1);
    let limit = Instant::now() + ASK_LIMIT;
    let mut found = Vec::new();
    let mut trouble = "the server sends nothing".to_owned();
    loop {
        match timeout_at(limit, follower.next()).await {
            Ok(Some(Follow::Heading(heading))) => found.push(heading),
            Ok(Some(Follow::CaughtUp { .. })) => return Ok(found),
            Ok(Some(Follow::LogWentBack { .. })) => found.clear(),
            Ok(Some(Follow::Trouble { why })) => {
                if let Some(failure) = no_log(bus).await {
                    return Err(failure);
                }
                trouble = why;
            }
            Ok(Some(Follow::Entry(_) | Follow::Rebuilt { .. })) => {}
            Ok(None) | Err(_) => {
                return Err(unreadable(lockstep_bus::ReadError::TimedOut { reason: trouble }));
            }
        }
    }
}

/// The records that match now, in stream order.
pub(crate) async fn entries(bus: &Bus, filters: Vec<String>) -> Result<Vec<Entry>, Failure> {
    let mut follower = bus.follow(filters, 1);
    let limit = Instant::now() + ASK_LIMIT;
    let mut found = Vec::new();
    let mut trouble = "the server sends nothing".to_owned();
    loop {
        match timeout_at(limit, follower.next()).await {
            Ok(Some(Follow::Entry(entry))) => found.push(*entry),
            Ok(Some(Follow::CaughtUp { .. })) => return Ok(found),
            Ok(Some(Follow::LogWentBack { .. })) => found.clear(),
            Ok(Some(Follow::Trouble { why })) => {
                if let Some(failure) = no_log(bus).await {
                    return Err(failure);
                }
                trouble = why;
            }
            Ok(Some(Follow::Heading(_) | Follow::Rebuilt { .. })) => {}
            Ok(None) | Err(_) => {
                return Err(unreadable(lockstep_bus::ReadError::TimedOut { reason: trouble }));
            }
        }
    }
}
