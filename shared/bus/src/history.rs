//! Whether the log went backwards: a restored backup, or power loss on one replica (PROTOCOL
//! section 5). What one reader knew is compared with what the leader says now.

use lockstep_shared::{
    codec::{Entry, RawMessage},
    id::Sequence,
    subject::STREAM,
    time::Timestamp,
};
use tokio::time::Instant;

use crate::{
    connect::Bus,
    reading::{Query, ReadError},
};

/// How far a follower may lag behind the leader, and so how long a record is looked for.
const LAG: std::time::Duration = std::time::Duration::from_secs(5);

/// How soon a lagging follower is asked again.
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_millis(20);

/// What the stream's leader says of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// When the stream was created, in the server's own words.
    pub created: String,
    /// The first sequence that is still kept.
    pub first: Sequence,
    /// The last sequence that was given.
    pub last: Sequence,
}

/// A record that a reader has applied, to be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landmark {
    /// Its position.
    pub seq: Sequence,
    /// When it was stored.
    pub time: Timestamp,
    /// Its event id, unless it was rubbish.
    pub event: Option<String>,
}

/// What a comparison of then and now says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continuity {
    /// It is the same log, as long or longer.
    Same,
    /// It lost records; the text says how that shows, for a person.
    WentBack(String),
}

/// What stands where the landmark stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// There was no landmark to look for.
    NotSought,
    /// This.
    There(Landmark),
    /// Nothing.
    Nothing,
}

impl Landmark {
    /// The landmark that an applied entry is.
    pub fn of(entry: &Entry) -> Self {
        let event = entry.content.as_ref().ok().map(|stated| stated.event.clone());
        Self { seq: entry.seq, time: entry.time, event }
    }

    /// The same place as a message holds it that may be something else by now.
    fn claimed(stored: &RawMessage) -> Self {
        let id = stored.headers.iter().find(|(name, _)| name == "ce-id");
        Self { seq: stored.seq, time: stored.time, event: id.map(|(_, value)| value.clone()) }
    }

    /// Rubbish is recognised by its time alone: what it claims was never believed.
    fn is(&self, other: &Self) -> bool {
        let same_event = self.event.is_none() || self.event == other.event;
        self.seq == other.seq && self.time == other.time && same_event
    }
}

/// The rule, pure: what the reader knew (`before`, the highest position that it `applied`, a record
/// of its own or the last one it applied) against what the leader says and what is `found` there.
pub fn compare(
    before: &LogState,
    applied: Sequence,
    landmark: Option<&Landmark>,
    now: &LogState,
    found: &Found,
) -> Continuity {
    if before.created != now.created {
        return Continuity::WentBack(format!(
            "the stream was created anew at {} (before: {})",
            now.created, before.created
        ));
    }
    if now.last < applied {
        return Continuity::WentBack(format!(
            "the log ends at #{}, but #{applied} had been read",
            now.last
        ));
    }
    match (landmark, found) {
        (Some(landmark), Found::There(there)) if !landmark.is(there) => Continuity::WentBack(
            format!("#{} is another record than the one that had been read there", landmark.seq),
        ),
        // What has expired is not lost.
        (Some(landmark), Found::Nothing) if landmark.seq >= now.first => Continuity::WentBack(
            format!("#{} had been read and is not there any more", landmark.seq),
        ),
        _ => Continuity::Same,
    }
}

impl Bus {
    /// Asks the leader for the log's state, under both names that an account may know it by.
    ///
    /// # Errors
    /// [`ReadError`] if no answer came in time.
    pub async fn log_state(&self, until: Instant) -> Result<LogState, ReadError> {
        Ok(self.stream_info(STREAM, until).await?.log_state())
    }

    /// Asks the leader, looks for the landmark, and compares; for a reader at each connect.
    ///
    /// # Errors
    /// [`ReadError`] if no answer came in time.
    pub async fn check_history(
        &self,
        before: &LogState,
        applied: Sequence,
        landmark: Option<&Landmark>,
        until: Instant,
    ) -> Result<(Continuity, LogState), ReadError> {
        let now = self.log_state(until).await?;
        let found = match landmark {
            Some(landmark) if landmark.seq <= now.last => {
                self.find_landmark(landmark.seq, until).await?
            }
            _ => Found::NotSought,
        };
        Ok((compare(before, applied, landmark, &now, &found), now))
    }

    /// A follower that lags shows nothing there yet; only after the longest lag is it nothing.
    async fn find_landmark(&self, seq: Sequence, until: Instant) -> Result<Found, ReadError> {
        let long_enough = Instant::now() + LAG;
        loop {
            if let Some(stored) = self.direct_get(STREAM, &Query::Sequence(seq), until).await? {
                return Ok(Found::There(Landmark::claimed(&stored)));
            }
            if Instant::now() >= long_enough {
                return Ok(Found::Nothing);
            }
            if Instant::now() + ASK_AGAIN >= until {
                let reason = format!("no server shows #{seq} yet");
                return Err(ReadError::TimedOut { reason });
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(created: &str, first: Sequence, last: Sequence) -> LogState {
        LogState { created: created.to_owned(), first, last }
    }

    fn landmark(seq: Sequence, time: u64, event: &str) -> Landmark {
        Landmark { seq, time: Timestamp(time), event: Some(event.to_owned()) }
    }

    fn went_back(continuity: &Continuity) -> bool {
        matches!(continuity, Continuity::WentBack(_))
    }

    #[test]
    fn a_log_that_grew_is_the_same() {
        let own = landmark(7, 70, "a");
        let found = Found::There(own.clone());
        let same = compare(&log("t", 1, 7), 7, Some(&own), &log("t", 1, 9), &found);
        assert_eq!(same, Continuity::Same);
    }

    #[test]
    fn a_shorter_log_or_another_one_went_back() {
        let before = log("t", 1, 7);
        assert!(went_back(&compare(&before, 7, None, &log("t", 1, 6), &Found::NotSought)));
        assert!(went_back(&compare(&before, 7, None, &log("u", 1, 9), &Found::NotSought)));
        assert!(!went_back(&compare(&before, 5, None, &log("t", 1, 5), &Found::NotSought)));
    }

    #[test]
    fn a_log_that_lost_records_and_grew_again_is_known_by_another_record_there() {
        let own = landmark(7, 70, "a");
        for other in [landmark(7, 70, "b"), landmark(7, 71, "a")] {
            let found = Found::There(other);
            let now = log("t", 1, 20);
            assert!(went_back(&compare(&log("t", 1, 7), 7, Some(&own), &now, &found)));
        }
    }

    #[test]
    fn rubbish_is_known_again_by_its_time() {
        let own = Landmark { event: None, ..landmark(7, 70, "") };
        let found = Found::There(landmark(7, 70, "whatever it claims"));
        let now = log("t", 1, 9);
        assert!(!went_back(&compare(&log("t", 1, 7), 7, Some(&own), &now, &found)));
    }

    #[test]
    fn what_has_expired_is_not_lost_but_a_hole_is() {
        let own = landmark(7, 70, "a");
        let before = log("t", 1, 7);
        let expired = compare(&before, 7, Some(&own), &log("t", 8, 9), &Found::Nothing);
        assert_eq!(expired, Continuity::Same);
        assert!(went_back(&compare(&before, 7, Some(&own), &log("t", 1, 9), &Found::Nothing)));
    }
}
