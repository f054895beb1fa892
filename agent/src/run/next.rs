//! What happens next: the one place where the loop waits.

use futures::StreamExt;
use lockstep_agent_core::{Event, Lock};
use lockstep_bus::{
    ReadError, Ring,
    beat::{Beats, Heard},
};
use tokio::time::Instant;

use super::{LEAVE_LIMIT, RunError, RunLoop, reading::Answer};
use crate::{command::Question, kubernetes::lease::State};

/// What a loop is woken by.
pub(super) enum Happened {
    /// Something for the core.
    Event(Event),
    /// A beat is due.
    TimeToBeat,
    /// A target asks whether it may write.
    Asked(Question),
    /// Something that only the loop itself takes note of.
    Nothing,
    /// The time to leave is over.
    TimeToGo,
}

impl RunLoop {
    /// Waits for the next thing to happen. The arms build what the core is told, and nothing else.
    pub(super) async fn next(&mut self) -> Result<Happened, RunError> {
        if let Some(event) = self.at_once.pop_front() {
            return Ok(Happened::Event(event));
        }
        let closed = |source: ReadError| RunError::Read { key: self.key.clone(), source };
        let is_leaving = self.leave_by.is_some();
        tokio::select! {
            ring = self.bell.next() => match ring {
                Some(Ring::Copy(entry)) if entry.key == self.key => {
                    Ok(Happened::Event(Event::Rang(*entry)))
                }
                Some(Ring::Copy(_)) => Ok(Happened::Nothing),
                Some(Ring::Missed) => {
                    self.reader.begin_anew();
                    self.history.compare(&self.post.bus);
                    Ok(Happened::Event(Event::Connected))
                }
                None => Err(closed(ReadError::Closed)),
            },
            read = self.reader.next() => match read.map_err(closed)? {
                Answer::Reading(reading) => {
                    self.history.learn(&reading, &self.post.workflow);
                    Ok(Happened::Event(Event::Reading(reading)))
                }
                Answer::Behind => {
                    // Perhaps the log is not the one that was read, behind the same connection.
                    if !self.history.is_comparing() {
                        self.history.compare(&self.post.bus);
                    }
                    Ok(Happened::Nothing)
                }
                Answer::None => Ok(Happened::Nothing),
            },
            Some((slot, outcome)) = self.appends.next() => {
                Ok(Happened::Event(Event::Appended { slot, outcome }))
            }
            Some(event) = self.acts.next() => Ok(event.map_or(Happened::Nothing, Happened::Event)),
            Some(question) = self.permits.recv() => Ok(Happened::Asked(question)),
            Some(heard) = next_beat(&mut self.beats) => Ok(Happened::Event(match heard {
                Heard::Beat(_, _, beat) => Event::Beat { epoch: beat.epoch },
                Heard::Deaf(denial) => Event::Deaf(denial.to_string()),
            })),
            compared = self.history.next(&self.post.bus) => {
                Ok(compared.map_err(closed)?.map_or(Happened::Nothing, Happened::Event))
            }
            () = sleep_until(self.wake) => {
                self.wake = None;
                Ok(Happened::Event(Event::Woke))
            }
            _ = self.beat.tick() => Ok(Happened::TimeToBeat),
            Ok(()) = self.debts.changed() => {
                Ok(self.debt_moved().map_or(Happened::Nothing, Happened::Event))
            }
            Ok(()) = self.lease.changed() => Ok(self.lease_moved()),
            () = self.leave.cancelled(), if !is_leaving => {
                self.leave_by = Some(Instant::now() + LEAVE_LIMIT);
                Ok(Happened::Event(Event::Terminate))
            }
            () = sleep_until(self.leave_by) => Ok(Happened::TimeToGo),
        }
    }

    /// What stands in this run's way, if it is not what the core was told last: another run may
    /// have settled it, or, while this one was queued, begun to owe something.
    pub(super) fn debt_moved(&mut self) -> Option<Event> {
        let records = self.undo.known_now(&self.key.pipeline, &self.post.workflow);
        let debt = self.post.board.debt(records, &self.key);
        if debt == self.debt {
            return None;
        }
        self.debt = debt.clone();
        Some(Event::Debt(debt))
    }

    /// The cluster's side of the lock was lost, or is back.
    fn lease_moved(&mut self) -> Happened {
        let state = self.lease.borrow_and_update().clone();
        let lock = match state {
            State::Unasked | State::Asked => return Happened::Nothing,
            State::Held(_) => Lock::Held,
            State::NotHeld(why) => Lock::NotHeld(why),
        };
        let leased = lock == Lock::Held;
        if leased && self.leased {
            return Happened::Nothing;
        }
        self.leased = leased;
        Happened::Event(Event::Lock(lock))
    }
}

async fn next_beat(beats: &mut Option<Beats>) -> Option<Heard> {
    match beats {
        Some(beats) => beats.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
