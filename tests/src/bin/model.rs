//! Explores every reachable state of the real cores; prints how many there are.

use std::{io::Write, process::ExitCode, time::Instant};

use clap::Parser;
use lockstep_tests::{
    model::{Budget, Settings, explore},
    plans::Sketch,
};

/// Explores every reachable state of the real cores.
#[derive(Debug, Parser)]
struct Flags {
    /// How many steps, preparations or undos fail.
    #[arg(long, default_value_t = 1)]
    failures: u8,
    /// How often an agent is killed.
    #[arg(long, default_value_t = 0)]
    crashes: u8,
    /// Let time pass: every clock and every watch may run out.
    #[arg(long)]
    time: bool,
    /// How many appends give up.
    #[arg(long, default_value_t = 0)]
    doubts: u8,
    /// How often an operator asks for an abort.
    #[arg(long, default_value_t = 0)]
    aborts: u8,
    /// `each-own` instead of `rollback-all`.
    #[arg(long)]
    each_own: bool,
    /// The most states.
    #[arg(long, default_value_t = 20_000_000)]
    cap: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    let sketch = Sketch::reference();
    let sketch = if flags.each_own { sketch.each_own() } else { sketch };
    let Flags { failures, crashes, doubts, aborts, time, cap, .. } = flags;
    let budget = Budget { failures, crashes, doubts, aborts };
    let began = Instant::now();
    let explored = explore(Settings { sketch, budget, time, cap, sabotage: None });
    let mut out = std::io::stdout().lock();
    match explored {
        Ok(counted) => {
            writeln!(out, "{counted:?} in {:.1} s", began.elapsed().as_secs_f64())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(counterexample) => {
            writeln!(out, "{counterexample}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}
