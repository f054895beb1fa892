//! A coordinator reduced to its rule: writes down what the fold says is due, and admits.
//!
//! It reads whole runs again and again, which no real coordinator does, and watches no clocks, so
//! that these tests show what the agent does and nothing else.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Result;
use lockstep_bus::Bus;
use lockstep_shared::{
    codec,
    fold::{Admission, RunFold},
    id::RunKey,
    record::Record,
    source::Source,
    subject::{Family, Slot},
    time::Timestamp,
};
use tokio::task::JoinSet;

use crate::world::soon;

/// Which runs there are, and what to leave undone.
#[derive(Clone, Default)]
pub(crate) struct Scribe {
    runs: Arc<Mutex<Vec<RunKey>>>,
    paused: Arc<Mutex<bool>>,
}

impl Scribe {
    pub(crate) fn begin(&self, bus: &Bus, tasks: &mut JoinSet<()>) {
        let (scribe, bus_of_it) = (self.clone(), bus.clone());
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if *scribe.paused.lock().unwrap() {
                    continue;
                }
                let runs = scribe.runs.lock().unwrap().clone();
                for run in &runs {
                    // A lost answer is asked for again at the next turn.
                    let _ = write_down(&bus_of_it, run).await;
                }
            }
        });
        let (scribe, bus) = (self.clone(), bus.clone());
        tasks.spawn(async move {
            let mut questions = bus.open_questions().await;
            while let Some(question) = questions.next().await {
                let mut open = Vec::new();
                let runs = scribe.runs.lock().unwrap().clone();
                for run in runs.iter().filter(|run| run.pipeline == question.pipeline) {
                    if read(&bus, run).await.is_ok_and(|fold| fold.closed().is_none()) {
                        open.push(run.run.clone());
                    }
                }
                question.answer(&open).await;
            }
        });
    }

    pub(crate) fn add(&self, run: &RunKey) {
        self.runs.lock().unwrap().push(run.clone());
    }

    /// While paused nothing is written down: no coordinator is alive.
    pub(crate) fn pause(&self, paused: bool) {
        *self.paused.lock().unwrap() = paused;
    }
}

/// The whole run as it stands.
pub(crate) async fn read(bus: &Bus, key: &RunKey) -> Result<RunFold> {
    let mut fold = RunFold::new(key.clone());
    for entry in bus.read(&[bus.subjects().run(key)], 0, soon()).await?.entries {
        fold.apply(&entry);
    }
    Ok(fold)
}

async fn write_down(bus: &Bus, key: &RunKey) -> Result<()> {
    let fold = read(bus, key).await?;
    if fold.plan().is_some() && *fold.admission() == Admission::Pending {
        append(bus, key, fold.next_slot(&Family::Admission), Record::Admitted {}).await?;
    }
    for (slot, record) in fold.due() {
        append(bus, key, slot, record).await?;
    }
    Ok(())
}

pub(crate) async fn append(bus: &Bus, key: &RunKey, slot: Slot, record: Record) -> Result<()> {
    let source = match &slot.family {
        Family::Plan => Source::Submitter("test".to_owned()),
        Family::Request => Source::Operator("test".to_owned()),
        _ => Source::Coordinator("scribe".to_owned()),
    };
    let draft = codec::encode(bus.subjects(), key, &slot, &record, &source, Timestamp(0), None)?;
    bus.append(&draft, soon()).await?;
    Ok(())
}
