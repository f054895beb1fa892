//! The simulation: the real coordinator and agent cores in a world of faults.
//!
//! A seed is a story: plans, agents with their state directories, two or three coordinators, a
//! network that loses, delays, repeats and reorders, processes that crash, freeze and come back,
//! rubbish in any slot. The storm ends, and then every run has to close. The [`judge`] looks at
//! every record, every order and every write as it happens; what breaks an invariant ends the
//! story with its transcript. Time is simulated: a story of an hour takes some milliseconds.
//!
//! Nothing here decides anything of the protocol. The driver does what a shell does: it builds
//! events, calls a core, and carries the decisions out in their order.

mod agents;
mod append;
mod coordinators;
mod faults;
pub mod judge;
mod orders;
mod process;
mod queue;
mod read;
pub mod sabotage;
mod scenario;
mod serve;
mod target;
mod world;

use std::fmt;

pub use judge::{Invariant, Violation};
pub use sabotage::Sabotage;
pub use scenario::{Post, Scenario, Storm};

/// What a story came to.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// How many events it had.
    pub events: u64,
    /// How many records the log got.
    pub records: u64,
    /// How the runs ended, in words, with how many did.
    pub results: std::collections::BTreeMap<String, u64>,
    /// Everything that was stored.
    pub log: Vec<lockstep_shared::codec::Entry>,
    /// How often each sort of fault struck.
    pub faults: std::collections::BTreeMap<&'static str, u64>,
}

/// A story in which something went wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What went wrong.
    pub violation: Violation,
    /// Everything that happened, one line an event.
    pub transcript: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.transcript {
            writeln!(formatter, "{line}")?;
        }
        write!(
            formatter,
            "seed {}: {:?} is broken: {}\ntell it again: cargo run -p lockstep-tests --bin simulate \
             -- --from {} --seeds 1",
            self.seed, self.violation.invariant, self.violation.text, self.seed
        )
    }
}

/// Tells the story of a seed.
///
/// # Errors
/// [`Failure`] with the transcript, if an invariant is broken.
pub fn simulate(seed: u64) -> Result<Told, Box<Failure>> {
    tell(Scenario::of_seed(seed), None)
}

/// Tells a story, with one thing in the driver broken on purpose if `sabotage` says so. It is told
/// twice if it goes wrong: a transcript takes longer than the story.
///
/// # Errors
/// [`Failure`] with the transcript, if an invariant is broken.
pub fn tell(scenario: Scenario, sabotage: Option<Sabotage>) -> Result<Told, Box<Failure>> {
    let seed = scenario.seed;
    let told = world::World::new(scenario.clone(), sabotage, false).tell();
    told.or_else(|_| {
        let mut world = world::World::new(scenario, sabotage, true);
        let told = world.tell_on();
        told.map_err(|violation| {
            Box::new(Failure { seed, violation, transcript: world.take_transcript() })
        })
    })
}
