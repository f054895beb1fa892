//! Several coordinators at once, each as far behind as it likes: what is recorded is the same.

use std::collections::BTreeSet;

use lockstep_shared::{
    codec::Entry,
    id::Sequence,
    record::{Record, RunResult},
    subject::{Family, Slot},
    time::Span,
};

use super::support::*;
use crate::{Append, Appended, Coordinator, Event, Level};

/// A coordinator that reads when it is told to and whose appends take their time.
struct Racer {
    core: Coordinator,
    position: usize,
    underway: Vec<Append>,
    alarms: Vec<String>,
}

impl Racer {
    fn new() -> Self {
        let core = Coordinator::new(MAX_AGE);
        Self { core, position: 0, underway: Vec::new(), alarms: Vec::new() }
    }

    fn tell(&mut self, log: &Log, event: Event) {
        let decisions = self.core.step(event, log.now);
        self.underway.extend(decisions.send);
        let alarms = decisions.notes.into_iter().filter(|note| note.level == Level::Error);
        self.alarms.extend(alarms.map(|note| note.text));
    }

    fn read_one(&mut self, log: &Log) {
        if let Some(entry) = log.entries.get(self.position).cloned() {
            self.position += 1;
            self.tell(log, Event::Entry(Box::new(entry)));
        } else {
            self.tell(log, Event::CaughtUp);
        }
    }

    fn append_one(&mut self, log: &mut Log, chance: &mut Chance) {
        if self.underway.is_empty() {
            return;
        }
        let Append { key, slot, record } = self.underway.remove(chance.below(self.underway.len()));
        let outcome = match log.store(&key, slot.clone(), Ok(record)) {
            _ if chance.below(8) == 0 => Appended::InDoubt,
            Some(entry) => Appended::Stored(entry.seq),
            None => Appended::Taken(log.holder(&key, &slot)),
        };
        self.tell(log, Event::Appended { key, slot, outcome });
    }
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }
}

/// What the agents of the reference story write, in some order, with a failure at times.
fn story(chance: &mut Chance) -> Vec<(&'static str, &'static str)> {
    let mut lanes = vec![
        vec![
            ("backend", "join"),
            ("backend", "_prepare"),
            ("backend", "start"),
            ("backend", "BE"),
            ("backend", "FE"),
            ("backend", "_commit"),
        ],
        vec![
            ("frontend", "join"),
            ("frontend", "_prepare"),
            ("frontend", "BE"),
            ("frontend", "start"),
            ("frontend", "FE"),
            ("frontend", "_commit"),
        ],
    ];
    if chance.below(2) == 0 {
        let at = 2 + chance.below(4);
        lanes[1].insert(at, ("frontend", "fail"));
    }
    if chance.below(4) == 0 {
        lanes.push(vec![("ada", "abort")]);
    }
    let mut story = Vec::new();
    while lanes.iter().any(|lane| !lane.is_empty()) {
        let lane = chance.below(lanes.len());
        if !lanes[lane].is_empty() {
            story.push(lanes[lane].remove(0));
        }
    }
    story
}

fn written(who: &str, what: &str) -> (Family, Record) {
    let epoch = 1;
    let own = || Family::Workflow(workflow(who));
    let (error, output) = ("exit status 1".to_owned(), String::new());
    match what {
        "join" => (own(), Record::Joined { instance: "i".to_owned(), version: "v".to_owned() }),
        "start" => (own(), Record::StepStarted { epoch, step: 0, attempt: 1 }),
        "fail" => (own(), Record::Failed { epoch, step: None, error, output }),
        "finalized" => (own(), Record::Finalized { epoch, degraded: None, warnings: Vec::new() }),
        "rolled back" => (
            own(),
            Record::RolledBack {
                epoch,
                residue: Vec::new(),
                accepted: false,
                output: String::new(),
            },
        ),
        "abort" => (
            Family::Request,
            Record::AbortRequested { by: who.to_owned(), reason: "no".to_owned() },
        ),
        at => {
            let family = Family::Party(barrier(at), who.parse().unwrap());
            let (view, by, message, link) = (None, None, None, None);
            (family, Record::Arrived { epoch: Some(epoch), view, by, message, link })
        }
    }
}

fn verdict_slots(log: &Log) -> Vec<(Slot, Sequence)> {
    let decided = |entry: &&Entry| {
        matches!(
            entry.slot.family,
            Family::Verdict | Family::BarrierVerdict(_) | Family::Admission | Family::Closed
        )
    };
    log.entries.iter().filter(decided).map(|entry| (entry.slot.clone(), entry.seq)).collect()
}

/// Plays one story with three racing coordinators to its end.
fn play(seed: u64) -> (Log, RunResult) {
    let mut chance = Chance(seed);
    let mut log = Log::new();
    let mut racers = [Racer::new(), Racer::new(), Racer::new()];
    let plan = Record::Plan { plan: Box::new(reference()), submitted_by: "ada".to_owned() };
    log.store(&key("r1"), Family::Plan.slot(1), Ok(plan));
    let mut story = story(&mut chance);
    story.reverse();
    let mut ending = vec!["backend", "frontend"];
    for _ in 0..20_000 {
        log.now = log.now.after(Span(chance.below(40) as u64));
        let racer = &mut racers[chance.below(3)];
        match chance.below(8) {
            0..=2 => racer.read_one(&log),
            3..=5 => racer.append_one(&mut log, &mut chance),
            6 if chance.below(200) == 0 => *racer = Racer::new(),
            6 => racer.tell(&log, Event::Woke),
            _ => write_next(&mut log, &mut story, &mut ending),
        }
        let last = log.entries.last().and_then(|entry| entry.content.as_ref().ok());
        if let Some(Record::Closed { result, .. }) = last.map(|stated| &stated.record) {
            let result = *result;
            for racer in &mut racers {
                while racer.position < log.entries.len() {
                    racer.read_one(&log);
                }
                racer.read_one(&log);
                assert_eq!(racer.alarms, [""; 0], "seed {seed}");
                assert_eq!(racer.core.runs().count(), 0, "seed {seed}: it is still in memory");
            }
            return (log, result);
        }
    }
    panic!("seed {seed}: the run never ended; {} records", log.entries.len());
}

/// The agents: they act on the admission and the verdict that stand in the log.
fn write_next(
    log: &mut Log,
    story: &mut Vec<(&'static str, &'static str)>,
    ending: &mut Vec<&'static str>,
) {
    let stands = |family: Family| {
        let of = |entry: &&Entry| entry.slot.family == family;
        log.entries.iter().find(of).and_then(|entry| entry.content.as_ref().ok())
    };
    if stands(Family::Admission).is_none() {
        return;
    }
    let verdict = stands(Family::Verdict).map(|stated| stated.record.clone());
    let next = match verdict {
        None => story.pop(),
        Some(Record::Committed { .. }) => ending.pop().map(|who| (who, "finalized")),
        Some(_) => ending.pop().map(|who| (who, "rolled back")),
    };
    if let Some((who, what)) = next {
        let (family, record) = written(who, what);
        let slot = log.next_slot(&key("r1"), &family);
        log.store(&key("r1"), slot, Ok(record));
    }
}

#[test]
fn parity_16_any_number_of_stale_and_restarted_coordinators_write_one_story() {
    let mut results = BTreeSet::new();
    for seed in 0..300 {
        let (log, result) = play(seed);
        results.insert(result);
        let slots = verdict_slots(&log);
        for (slot, seq) in &slots {
            assert_eq!(slot.number, 1, "seed {seed}: {slot} #{seq} was decided twice");
        }
    }
    let all = [RunResult::Succeeded, RunResult::RolledBack, RunResult::Cancelled];
    assert!(all.iter().all(|result| results.contains(result)), "only {results:?} were reached");
}
