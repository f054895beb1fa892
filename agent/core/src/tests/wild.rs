//! One agent under seeded loss, delay, duplication, rubbish, crashes and takeovers. The world holds
//! every order against the log; at the end, when all is calm, nothing may be left hanging.

use lockstep_shared::{
    fold::{BarrierFate, Decision, OwnDecision},
    plan::{Action, OnFailure, Plan},
    record::{Deadline, Record},
    subject::Family,
    time::Span,
};

use super::{
    plans::{alone, plan, reference, workflow},
    world::World,
};
use crate::{Act, Appended, Ending, Event, Lock, Report, Standing, Told, UndoMark};

/// How many seeds a test run tries.
const SEEDS: u64 = 2000;

/// xorshift64*: a few lines, the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

fn some_plan(dice: &mut Dice) -> Plan {
    let failure = if dice.one_in(3) { OnFailure::EachOwn } else { OnFailure::RollbackAll };
    match dice.roll(5) {
        0 => reference(),
        1 => alone("one+1 verify two~ wait"),
        2 => plan(failure, &[("backend", "one! @BE verify two+2 @FE"), ("frontend", "@BE x @FE")]),
        3 => plan(failure, &[("backend", "@BE one"), ("frontend", "x @BE")]),
        _ => plan(failure, &[("backend", "one two verify @BE"), ("frontend", "x @BE y")]),
    }
}

/// Lets the frontend do the next thing that it could do, or fail.
fn frontend(world: &mut World, dice: &mut Dice, fails: bool) {
    let name = workflow("frontend");
    let Some(own) = world.fold.workflows().get(&name).cloned() else { return };
    let epoch = own.epoch;
    if epoch == 0 {
        world.others_join("frontend", "elsewhere");
        return;
    }
    if own.ended.is_some() || world.fold.closed().is_some() {
        return;
    }
    let back = matches!(world.fold.decision(), Decision::Aborted(_))
        || matches!(own.own, OwnDecision::Broken(_));
    let kept = matches!(world.fold.decision(), Decision::Committed { .. })
        || matches!(own.own, OwnDecision::Done { .. });
    if back {
        let record = Record::RolledBack {
            epoch,
            residue: Vec::new(),
            accepted: false,
            output: String::new(),
        };
        world.others_write("frontend", record);
        return;
    }
    if kept {
        let record = Record::Finalized { epoch, degraded: None, warnings: Vec::new() };
        world.others_write("frontend", record);
        return;
    }
    if fails && dice.one_in(40) {
        let (error, output) = ("boom".to_owned(), String::new());
        world.others_write("frontend", Record::Failed { epoch, step: None, error, output });
        return;
    }
    go_on(world, epoch);
}

fn go_on(world: &mut World, epoch: u32) {
    let own = world.fold.workflows()[&workflow("frontend")].clone();
    let meets = |world: &World, id: &str| {
        let state = &world.fold.barriers()[&id.parse().unwrap()];
        let arrived = state.arrivals.keys().any(|party| party.as_str() == "frontend");
        (arrived, matches!(state.fate, BarrierFate::Complete { .. }))
    };
    let mut places = vec!["_prepare".to_owned()];
    let steps = world.plan.workflows[&workflow("frontend")].steps.clone();
    for (index, step) in steps.iter().enumerate() {
        for id in std::mem::take(&mut places) {
            match meets(world, &id) {
                (false, _) => {
                    world.others_arrive(&id, "frontend");
                    return;
                }
                (true, false) => return,
                (true, true) => {}
            }
        }
        match &step.action {
            Action::Barrier(id) => places.push(id.to_string()),
            _ => {
                let seen = own.steps.get(&index);
                if seen.is_none() {
                    let record = Record::StepStarted { epoch, step: index, attempt: 1 };
                    world.others_write("frontend", record);
                    return;
                }
                if seen.is_some_and(|seen| seen.finished.is_none()) {
                    let (ignored, output) = (None, String::new());
                    let record = Record::StepFinished {
                        epoch,
                        step: index,
                        ignored,
                        output,
                        images: Default::default(),
                    };
                    world.others_write("frontend", record);
                    return;
                }
            }
        }
    }
    if world.plan.on_failure == OnFailure::RollbackAll {
        places.push("_commit".to_owned());
    }
    for id in places {
        match meets(world, &id) {
            (false, _) => {
                world.others_arrive(&id, "frontend");
                return;
            }
            (true, false) => return,
            (true, true) => {}
        }
    }
}

/// What the target says to the order it has, well or badly.
fn answer(world: &mut World, badly: bool) {
    let Some(act) = world.orders.front().cloned() else { return };
    let error = "boom".to_owned();
    let report = match (act, badly) {
        (Act::Prepare, false) => Report::Prepared { view: None },
        (Act::Prepare, true) => Report::PrepareFailed { error, output: String::new() },
        (Act::Start { step, attempt }, false) => {
            Report::Finished { step, attempt, told: Told::default() }
        }
        (Act::Start { step, attempt }, true) => {
            Report::Failed { step, attempt, error, output: String::new() }
        }
        (Act::Undo { step }, false) => {
            Report::Undone { step, residue: Vec::new(), output: String::new() }
        }
        (Act::Undo { step }, true) => {
            Report::UndoFailed { step, error, left: Vec::new(), output: String::new() }
        }
        (_, false) => Report::Finalized { warnings: Vec::new() },
        (_, true) => Report::FinalizeFailed { error },
    };
    world.report(report);
}

fn something_happens(world: &mut World, dice: &mut Dice, old: &mut Vec<crate::Reading>) {
    world.saves = !dice.one_in(60);
    match dice.roll(26) {
        0..=4 => {
            world.now = world.now.after(Span(dice.roll(4000)));
            world.call(Event::Woke);
        }
        5..=9 => read(world, dice, old),
        10..=13 if !world.held.is_empty() => world.deliver_held(),
        14 if !world.held.is_empty() => {
            let stored = dice.one_in(2);
            world.doubt_held(stored);
        }
        15..=16 => {
            let badly = dice.one_in(6);
            answer(world, badly);
        }
        17..=18 => frontend(world, dice, true),
        19..=20 => {
            if let Some((slot, record)) = world.fold.due().into_iter().next() {
                world.store(slot, record);
            }
        }
        21 => ring(world, dice),
        22 => stray(world, dice, old),
        23 => disturb(world, dice),
        24 if dice.one_in(3) => crash(world, dice),
        _ => {}
    }
}

fn read(world: &mut World, dice: &mut Dice, old: &mut Vec<crate::Reading>) {
    let behind = if dice.one_in(4) { dice.roll(4) } else { 0 };
    let upto = world.seq.saturating_sub(behind);
    let reading = world.reading_up_to(upto, world.agent.filter());
    if dice.one_in(8) {
        old.push(reading.clone());
    }
    world.call(Event::Reading(reading));
}

fn ring(world: &mut World, dice: &mut Dice) {
    let back = usize::try_from(dice.roll(6)).unwrap();
    let families = world.agent.bell();
    if let Some(entry) = world.log.iter().rev().nth(back).cloned()
        && families.contains(&entry.slot.family)
    {
        world.call(Event::Rang(entry));
    }
}

/// What nobody waits for: late readings and reports, answers to nothing.
fn stray(world: &mut World, dice: &mut Dice, old: &mut Vec<crate::Reading>) {
    match dice.roll(4) {
        0 => {
            if let Some(reading) = old.pop() {
                world.call(Event::Reading(reading));
            }
        }
        1 => {
            let (step, attempt, output) = (0, 9, String::new());
            let orders = world.orders.clone();
            world.report(Report::Finished { step, attempt, told: output.into() });
            world.orders = orders;
        }
        2 => {
            let slot = Family::Workflow(workflow("backend")).slot(99);
            world.call(Event::Appended { slot, outcome: Appended::Stored(1) });
        }
        _ => world.call(Event::Beat { epoch: 1 }),
    }
}

fn disturb(world: &mut World, dice: &mut Dice) {
    match dice.roll(9) {
        0 => world.call(Event::Lock(Lock::NotHeld("lease".to_owned()))),
        1..=2 => world.call(Event::Lock(Lock::Held)),
        3 => {
            let step = usize::try_from(dice.roll(4)).unwrap();
            world.call(Event::Degraded { step, error: "503".to_owned(), output: String::new() });
        }
        4 if dice.one_in(3) => {
            let (by, reason) = ("eve".to_owned(), "no".to_owned());
            world.write(Family::Request, Record::AbortRequested { by, reason });
        }
        5 => {
            let own = Family::Workflow(workflow("backend"));
            let number = (1..).find(|n| !world.slots.contains_key(&own.clone().slot(*n))).unwrap();
            world.litter(own.slot(number));
        }
        6 if dice.one_in(4) => {
            world.others_join("backend", "host-2");
        }
        7 if dice.one_in(3) => world.call(Event::Terminate),
        _ => world.call(Event::Connected),
    }
}

/// A crash leaves what was on its way to the log on its way.
fn crash(world: &mut World, dice: &mut Dice) {
    while let Some(append) = world.held.pop_front() {
        if dice.one_in(2) {
            world.deliver(append);
        }
    }
    world.restart();
    world.call(Event::Woke);
}

/// All is well from here on.
fn calm_down(world: &mut World, dice: &mut Dice) {
    world.saves = true;
    world.hold_appends = false;
    world.readable = true;
    world.lock_is_free = true;
    while !world.held.is_empty() {
        world.deliver_held();
    }
    world.call(Event::Lock(Lock::Held));
    for round in 0..120 {
        frontend(world, dice, false);
        world.record_due();
        answer(world, false);
        world.let_pass(Span::seconds(5));
        let gone = matches!(
            world.standing(),
            Standing::Over(Ending::Superseded { .. } | Ending::Left | Ending::TakesNoPart(_))
        );
        if gone && world.fold.closed().is_none() {
            world.restart();
            world.call(Event::Woke);
        }
        let run_due = world.fold.clock(&Deadline::Run);
        if let Some(due) = run_due.filter(|_| round == 60) {
            world.now = world.now.max(due);
            world.write(Family::Clock, Record::DeadlinePassed { deadline: Deadline::Run });
        }
    }
}

fn live(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut world = World::new(some_plan(&mut dice));
    world.hold_appends = true;
    world.readable = false;
    world.call(Event::Woke);
    let mut old = Vec::new();
    for _ in 0..dice.roll(400) {
        something_happens(&mut world, &mut dice, &mut old);
        let finished = matches!(world.standing(), Standing::Over(_));
        assert!(world.wake.is_some() || finished, "nothing would ever call it again");
    }
    calm_down(&mut world, &mut dice);
    settle_debts(&mut world, &mut dice);
    let own = &world.fold.workflows()[&workflow("backend")];
    let back = matches!(world.fold.decision(), Decision::Aborted(_))
        || matches!(own.own, OwnDecision::Broken(_));
    assert!(world.fold.closed().is_some(), "never closed: {}", tell(&world));
    assert!(
        !back || own.first_started.is_none() || own.ended.is_some(),
        "never reported: {}",
        tell(&world)
    );
    assert_ne!(world.disk, Some(UndoMark::Started), "left a debt: {}", tell(&world));
}

/// The log, what the agent said, and how it stands.
fn tell(world: &World) -> String {
    let records = world.log.iter().map(|entry| match &entry.content {
        Ok(stated) => format!("#{} {} {}", entry.seq, entry.slot, stated.record.kind()),
        Err(rubbish) => format!("#{} {} {rubbish}", entry.seq, entry.slot),
    });
    let notes = world.notes.iter().map(|(level, text)| format!("{level:?}: {text}"));
    let lines: Vec<String> = records.chain(notes).collect();
    format!("{:?}, {:?}\n{}", world.standing(), world.disk, lines.join("\n"))
}

/// Whoever still owes is told to keep what is there, by an agent that finds the run closed.
fn settle_debts(world: &mut World, dice: &mut Dice) {
    let owes = |world: &World| world.disk == Some(UndoMark::Started);
    for _ in 0..4 {
        if !owes(world) {
            return;
        }
        if matches!(world.standing(), Standing::Over(_)) {
            world.restart();
            world.call(Event::Woke);
        }
        if matches!(world.standing(), Standing::Owing(_)) {
            let (by, reason) = ("ada".to_owned(), "kept".to_owned());
            let request = Record::AcceptRequested { by, reason, workflow: None };
            world.write(Family::Request, request);
        }
        for _ in 0..20 {
            answer(world, false);
            world.let_pass(Span::seconds(5));
        }
        frontend(world, dice, false);
    }
}

#[test]
fn whatever_happens_nothing_hangs_and_nothing_is_done_without_the_log() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| live(seed));
        assert!(outcome.is_ok(), "seed {seed}: the panic above says what broke");
    }
}
