//! Appending a record of a person's: to the lowest free slot, again if somebody was faster.

use std::time::Duration;

use lockstep_bus::{Appended, Bus};
use lockstep_shared::{
    codec::{Entry, encode},
    id::{RunKey, Sequence},
    record::Record,
    source::Source,
    subject::Slot,
};
use tokio::time::Instant;

use crate::{
    exit::Exit,
    failure::{Failure, OrExit},
    online::unwritten,
    who::now,
};

/// How long one append may take; a node that was killed took up to 5.2 s to be replaced.
const APPEND_LIMIT: Duration = Duration::from_secs(20);

/// What one attempt met.
pub(crate) enum Placed {
    /// It is stored there; read it back before believing anything of it.
    Stored(Sequence),
    /// Somebody else's record is there.
    Taken(Box<Entry>),
}

/// Appends one record to one slot.
pub(crate) async fn into_slot(
    bus: &Bus,
    key: &RunKey,
    slot: &Slot,
    record: &Record,
    source: &Source,
) -> Result<Placed, Failure> {
    let draft = encode(bus.subjects(), key, slot, record, source, now(), None)
        .or_exit(Exit::Invalid, format!("cannot record {} of {key}", record.kind()))?;
    let what = format!("{} of {key}", record.kind());
    match bus.append(&draft, Instant::now() + APPEND_LIMIT).await {
        Ok(Appended::Stored(seq)) => Ok(Placed::Stored(seq)),
        Ok(Appended::Taken(entry)) => Ok(Placed::Taken(entry)),
        Err(error) => Err(unwritten(error, &what)),
    }
}
