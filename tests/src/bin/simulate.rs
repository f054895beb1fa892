//! Tells as many simulated stories as wanted; prints the transcript of the first that goes wrong.

use std::{
    collections::BTreeMap,
    io::Write,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use clap::Parser;
use lockstep_tests::sim::{Failure, Told, simulate};

/// Tells simulated stories of the real cores.
#[derive(Debug, Parser)]
struct Flags {
    /// How many stories.
    #[arg(long, env = "LOCKSTEP_SEEDS", default_value_t = 2_000)]
    seeds: u64,
    /// The first story's seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many are told at once.
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let teller = || {
        let mut all = Told::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= flags.seeds {
                return Ok(all);
            }
            add(&mut all, simulate(flags.from + index)?);
        }
    };
    let told: Vec<Result<Told, Box<Failure>>> = thread::scope(|scope| {
        let tellers: Vec<_> = (0..flags.threads).map(|_| scope.spawn(teller)).collect();
        tellers.into_iter().map(|teller| teller.join().expect("no teller panics")).collect()
    });
    let mut out = std::io::stdout().lock();
    let mut all = Told::default();
    for told in told {
        match told {
            Ok(told) => add(&mut all, told),
            Err(failure) => {
                writeln!(out, "{failure}")?;
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    writeln!(out, "{} stories in {seconds:.1} s: no invariant was broken", flags.seeds)?;
    writeln!(out, "{} events, {} records", all.events, all.records)?;
    writeln!(out, "results: {:?}", all.results)?;
    writeln!(out, "faults: {:?}", all.faults)?;
    Ok(ExitCode::SUCCESS)
}

fn add(all: &mut Told, told: Told) {
    all.events += told.events;
    all.records += told.records;
    let sum = |into: &mut u64, count: u64| *into += count;
    for (result, count) in told.results {
        sum(all.results.entry(result).or_default(), count);
    }
    let mut faults: BTreeMap<&'static str, u64> = std::mem::take(&mut all.faults);
    for (fault, count) in told.faults {
        sum(faults.entry(fault).or_default(), count);
    }
    all.faults = faults;
}
