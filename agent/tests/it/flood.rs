//! Rubbish in front of what an agent has to read, more of it than one reading can hold.

use anyhow::Result;
use lockstep_shared::{record::Record, subject::Family};

use crate::{
    scribe,
    world::{World, plan, run},
};

/// One reading holds 1,024 records.
const RUBBISH: u32 = 1_100;

#[tokio::test]
async fn rubbish_in_front_of_the_verdict_hides_it_from_nobody() -> Result<()> {
    let world = World::coordinated().await?;
    let agent = world.process("agent", "a", &["backend"])?;
    let backend = vec![run("deploy", "echo b1 >> log; sleep 100", Some("echo undone >> log"))];
    let key = world.submit("r1", plan(&[("backend", backend)])).await?;
    world.wrote("log", "b1").await?;
    for number in 1..=RUBBISH {
        let slot = Family::Verdict.slot(number);
        scribe::append(&world.bus, &key, slot, Record::Admitted {}).await?;
    }
    let abort = Record::AbortRequested { by: "test".to_owned(), reason: "enough".to_owned() };
    scribe::append(&world.bus, &key, Family::Request.slot(1), abort).await?;
    let undone = world.wrote("log", "undone").await;
    undone.map_err(|error| error.context(agent.log()))
}
