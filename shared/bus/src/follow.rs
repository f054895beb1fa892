//! Following: an ordered push consumer for readers of whole runs (PROTOCOL section 5).

use lockstep_shared::{
    codec::Entry,
    id::{RunKey, Sequence},
    subject::Slot,
    time::Timestamp,
};

use crate::connect::Bus;

/// What a follower reports, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follow {
    /// The next record, rubbish included; never twice.
    Entry(Box<Entry>),
    /// The next record's place, if only headers were asked for.
    Heading(Heading),
    /// Everything up to this position has been reported; said after each (re)build and whenever
    /// the watchdog has confirmed it.
    CaughtUp {
        /// The position.
        upto: Sequence,
    },
    /// The consumer was lost and made again; nothing was missed. `CaughtUp` follows.
    Rebuilt {
        /// Why it was made again.
        why: String,
    },
    /// The log lost records: forget everything; what it holds now follows from its beginning.
    LogWentBack {
        /// How that shows, for a person.
        why: String,
    },
    /// It cannot be read just now; tried again without end.
    Trouble {
        /// What failed, and what is being done.
        why: String,
    },
}

/// Where a record stands, without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Its position in the stream.
    pub seq: Sequence,
    /// When the server stored it.
    pub time: Timestamp,
    /// The run it belongs to.
    pub key: RunKey,
    /// Its slot in that run.
    pub slot: Slot,
}

/// A running consumer; it ends when this is dropped.
pub struct Follower {}

impl Bus {
    /// Follows the filters (stored subjects, wildcards allowed, not overlapping) from sequence
    /// `from` (1 = the beginning) on, without end.
    pub fn follow(&self, _filters: Vec<String>, _from: Sequence) -> Follower {
        panic!("being written")
    }

    /// Follows headings only: cheap for plans.
    pub fn follow_headings(&self, _filters: Vec<String>, _from: Sequence) -> Follower {
        panic!("being written")
    }
}

impl Follower {
    /// The next report; cancel-safe. `None` once the connection was closed.
    pub async fn next(&mut self) -> Option<Follow> {
        panic!("being written")
    }
}
