//! An operator's request in a run: appended, read back, and judged like any other record.

use std::time::Duration;

use lockstep_bus::Bus;
use lockstep_shared::{
    codec::Entry,
    fold::{Effect, RunFold},
    id::Sequence,
    record::Record,
    source::Source,
    subject::Family,
};
use serde::Serialize;

use crate::{
    exit::Exit,
    failure::Failure,
    output::Show,
    reader::{News, RunReader},
    terminal::{Paint, Style, line},
    who::claimed,
    write::{Placed, into_slot},
};

/// How long a record that was acknowledged may take to be read back.
const READ_BACK: Duration = Duration::from_secs(10);

/// How often a slot may be found taken before something else is wrong.
const MAX_TAKEN: usize = 1000;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Requested {
    /// The run.
    pub(crate) run: String,
    /// Where the request stands.
    pub(crate) seq: Sequence,
    /// Whether it changed anything.
    pub(crate) counted: bool,
    /// What it means, for a person.
    pub(crate) text: String,
}

impl Show for Requested {
    fn text(&self, paint: Paint) -> String {
        let style = if self.counted { Style::Good } else { Style::Warn };
        format!("{}: {}\n", line(&self.run), paint.paint(style, line(&self.text)))
    }

    fn name(&self) -> String {
        self.run.clone()
    }
}

/// Appends a request to the run's next free slot and reads it back.
pub(crate) async fn request(
    bus: &Bus,
    reader: &mut RunReader,
    record: &Record,
) -> Result<(Sequence, Effect), Failure> {
    let source = Source::Operator(claimed());
    let key = reader.fold().key().clone();
    let mut slot = reader.fold().next_slot(&Family::Request);
    for _ in 0..MAX_TAKEN {
        match into_slot(bus, &key, &slot, record, &source).await? {
            Placed::Stored(seq) => return read_back(reader, seq).await,
            Placed::Taken(_) => slot.number += 1,
        }
    }
    Err(Failure::new(Exit::Unavailable, format!("{MAX_TAKEN} request slots of {key} are taken")))
}

/// Reads on until the record's own place has been applied.
async fn read_back(reader: &mut RunReader, seq: Sequence) -> Result<(Sequence, Effect), Failure> {
    let limit = tokio::time::Instant::now() + READ_BACK;
    loop {
        match tokio::time::timeout_at(limit, reader.next()).await {
            Ok(Some(News::Entry(entry, effect))) if entry.seq == seq => return Ok((seq, effect)),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                let key = reader.fold().key();
                return Err(Failure::new(
                    Exit::Unavailable,
                    format!("the request is stored as #{seq}, but could not be read back"),
                )
                .help(format!("`lockstep status {key}` says what became of it")));
            }
        }
    }
}

/// What has to be known of a run after its end: whether a later record settles a workflow, or why
/// it could not be undone again.
pub(crate) fn settles(entry: &Entry, fold: &RunFold) -> Option<(String, Result<(), String>)> {
    let Family::Workflow(workflow) = &entry.slot.family else { return None };
    let record = &entry.content.as_ref().ok()?.record;
    let known = fold.plan().is_none_or(|plan| plan.workflows.contains_key(workflow));
    match record {
        Record::RolledBack { .. } if known => Some((workflow.to_string(), Ok(()))),
        Record::RollbackFailed { error, .. } if known => {
            Some((workflow.to_string(), Err(error.clone())))
        }
        _ => None,
    }
}
