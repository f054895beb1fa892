//! Reports of logs that were written by hand.

use lockstep_shared::{
    codec::{Entry, Rubbish, Stated},
    fold::RunFold,
    id::{RunKey, Sequence},
    pipeline::{Inputs, Pipeline},
    plan::Plan,
    record::{Record, RunResult},
    source::Source,
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

use super::*;
use crate::{exit::Exit, output::Show, terminal::Paint};

const SHOP: &str = "
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers:
    BE: { title: Backend is there, timeout: 10m, parties: [qa] }
  workflows:
    - name: backend
      target: { command: {} }
      steps:
        - run: { name: deploy, command: 'true', undo: 'true' }
        - barrier: BE
    - name: frontend
      target: { command: {} }
      steps:
        - barrier: BE
        - run: { name: deploy, command: 'true', undo: 'true' }
";

fn plan(text: &str) -> Plan {
    let pipeline = Pipeline::parse("shop.yaml", text).unwrap();
    pipeline.plan(&Inputs::default()).unwrap().plan
}

/// A log that is written record by record, one second apart.
#[derive(Clone)]
struct Log {
    fold: RunFold,
    seq: Sequence,
}

impl Log {
    fn empty() -> Self {
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
        Self { fold: RunFold::new(key), seq: 0 }
    }

    fn planned() -> Self {
        let mut log = Self::empty();
        let plan = Box::new(plan(SHOP));
        log.write(Family::Plan, Record::Plan { plan, submitted_by: "eve".to_owned() });
        log
    }

    fn joined() -> Self {
        let mut log = Self::planned();
        log.write(Family::Admission, Record::Admitted {});
        for workflow in ["backend", "frontend"] {
            let (instance, version) = (format!("{workflow}-host"), "0.1.0".to_owned());
            log.write(of(workflow), Record::Joined { instance, version });
        }
        log
    }

    fn prepared() -> Self {
        let mut log = Self::joined();
        log.arrive("_prepare", "backend");
        let at = log.arrive("_prepare", "frontend");
        let verdict = Family::BarrierVerdict("_prepare".parse().unwrap());
        log.write(verdict, Record::Released { at });
        log
    }

    fn write(&mut self, family: Family, record: Record) -> Sequence {
        let slot = self.fold.next_slot(&family);
        let source = Source::Coordinator("c".to_owned());
        let event = self.seq.to_string();
        self.entry(slot, Ok(Stated { event, source, record }))
    }

    fn entry(&mut self, slot: Slot, content: Result<Stated, Rubbish>) -> Sequence {
        self.seq += 1;
        let (seq, time) = (self.seq, Timestamp(self.seq * 1000));
        let key = self.fold.key().clone();
        self.fold.apply(&Entry { seq, time, key, slot, content });
        seq
    }

    fn arrive(&mut self, barrier: &str, party: &str) -> Sequence {
        let epoch = if party == "qa" { None } else { Some(1) };
        let by = epoch.is_none().then(|| "eve".to_owned());
        let family = Family::Party(barrier.parse().unwrap(), party.parse().unwrap());
        let record = Record::Arrived { epoch, view: None, by, message: None, link: None };
        self.write(family, record)
    }

    /// What a coordinator does: writes down what the log implies, until nothing is due.
    fn coordinate(&mut self) {
        while let Some((slot, record)) = self.fold.due().into_iter().next() {
            self.write(slot.family, record);
        }
    }

    fn start(&mut self, workflow: &str, step: usize) {
        self.write(of(workflow), Record::StepStarted { epoch: 1, step, attempt: 1 });
    }

    fn report_at(&self, after: u64, coordinator: Coordinator) -> RunReport {
        let now = Timestamp((self.seq + after) * 1000);
        report(&self.fold, &Heard { now, coordinator, ..Heard::default() })
    }

    fn report(&self) -> RunReport {
        self.report_at(1, Coordinator::Alive)
    }
}

fn of(workflow: &str) -> Family {
    Family::Workflow(workflow.parse().unwrap())
}

fn finished(step: usize) -> Record {
    Record::StepFinished {
        epoch: 1,
        step,
        ignored: None,
        output: String::new(),
        images: Default::default(),
    }
}

fn missing(waiting: &Waiting) -> Vec<(String, String)> {
    waiting.missing.iter().map(|m| (m.who.clone(), m.doing.clone())).collect()
}

#[test]
fn a_run_that_waits_for_admission_names_what_is_in_its_way() {
    let log = Log::planned();
    let silent = log.report_at(1, Coordinator::Silent);
    assert_eq!(silent.phase, Phase::Waiting);
    assert_eq!(silent.waiting[0].missing[0].who, "a coordinator");
    assert!(silent.warnings[0].contains("no coordinator answers"), "{:?}", silent.warnings);
    let other = RunKey { pipeline: "shop".parse().unwrap(), run: "r0".parse().unwrap() };
    let heard = Heard { in_the_way: vec![other], ..Heard::default() };
    let queued = report(&log.fold, &heard);
    assert_eq!(queued.summary, "queued behind r0");
    assert_eq!(queued.waiting[0].missing[0].who, "run r0");
}

#[test]
fn a_run_that_only_plans_says_so_for_as_long_as_it_is_open() {
    let mut log = Log::empty();
    let mut planned = Box::new(plan(SHOP));
    planned.plan_only = true;
    log.write(Family::Plan, Record::Plan { plan: planned, submitted_by: "eve".to_owned() });
    log.write(Family::Admission, Record::Admitted {});
    let told = log.report_at(1, Coordinator::Alive);
    assert_eq!(told.summary, "plan only: admitted; agents are joining");
}

#[test]
fn agents_that_do_not_join_are_named_with_since_and_until() {
    let mut log = Log::planned();
    log.write(Family::Admission, Record::Admitted {});
    let told = log.report_at(15, Coordinator::Alive);
    assert_eq!(told.phase, Phase::Joining);
    let waiting = &told.waiting[0];
    let who: Vec<_> = missing(waiting).into_iter().map(|(who, _)| who).collect();
    assert_eq!(who, ["backend", "frontend"]);
    assert_eq!(waiting.since, Some(At(Timestamp(2000))));
    assert_eq!(waiting.until, Some(At(Timestamp(2000).after(Span::minutes(2)))));
    assert!(told.warnings[0].contains("backend, frontend"), "{:?}", told.warnings);
    assert!(told.warnings[0].contains("1m45s left"), "{:?}", told.warnings);
    assert!(told.warnings[0].contains("--workflow NAME --allow-commands`"), "{:?}", told.warnings);
    assert_eq!(log.report().warnings, Vec::<String>::new(), "nobody is late after a second");
}

#[test]
fn who_is_missing_at_a_barrier_is_told_with_what_it_does_instead() {
    let mut log = Log::prepared();
    log.start("backend", 0);
    log.arrive("BE", "frontend");
    let told = log.report();
    assert_eq!(told.phase, Phase::Running);
    let waiting = &told.waiting[0];
    assert_eq!(waiting.what, "at barrier BE (Backend is there)");
    assert_eq!(waiting.until, Some(At(Timestamp(log.seq * 1000).after(Span::minutes(10)))));
    let missing = missing(waiting);
    assert_eq!(missing[0], ("backend".to_owned(), "in step \"deploy\"".to_owned()));
    assert!(missing[1].1.contains("lockstep barrier arrive BE --party qa --run r1"), "{missing:?}");
    assert_eq!(told.workflows[0].stage, Stage::Working);
    assert_eq!(told.workflows[1].stage, Stage::AtBarrier);
}

#[test]
fn only_the_current_incarnations_beat_is_believed() {
    let mut log = Log::prepared();
    log.start("backend", 0);
    let beat = |epoch| Beat { epoch, line: "copying".to_owned(), heard: At(Timestamp(1)) };
    let with = |epoch| {
        let beats = [("backend".parse().unwrap(), beat(epoch))].into();
        report(&log.fold, &Heard { beats, ..Heard::default() })
    };
    assert!(with(1).waiting[0].missing[0].doing.ends_with("copying"));
    assert!(with(2).workflows[0].beat.is_none());
}

#[test]
fn an_early_approval_starts_no_clock() {
    let mut log = Log::prepared();
    log.arrive("BE", "qa");
    let told = log.report();
    let at_barrier = told.waiting.iter().find(|waiting| waiting.what.contains("BE")).unwrap();
    assert_eq!(at_barrier.until, None);
    assert!(told.text(Paint(false)).contains("no clock runs"));
}

#[test]
fn a_failure_shows_the_cause_and_who_rolls_back() {
    let mut log = Log::prepared();
    log.start("backend", 0);
    let failed = Record::Failed {
        epoch: 1,
        step: Some(0),
        error: "exit status 3".to_owned(),
        output: "disk \u{1b}[31mfull".to_owned(),
    };
    log.write(of("backend"), failed);
    let told = log.report();
    assert_eq!(told.phase, Phase::RollingBack);
    let cause = told.cause.clone().unwrap();
    assert!(cause.text.contains("backend failed in step \"deploy\": exit status 3"));
    assert_eq!(told.workflows[0].stage, Stage::RollingBack);
    assert_eq!(told.workflows[1].stage, Stage::NotStarted);
    let text = told.text(Paint(false));
    assert!(text.contains("| disk [31mfull"), "{text}");
    assert!(!text.contains('\u{1b}'), "others' text must not steer the terminal");
}

#[test]
fn a_verdict_that_nobody_writes_is_what_is_waited_for() {
    let mut log = Log::joined();
    log.arrive("_prepare", "backend");
    log.arrive("_prepare", "frontend");
    let told = log.report_at(1, Coordinator::Silent);
    assert!(told.waiting[0].what.contains("Released at barrier._prepare.verdict.1"), "{told:?}");
    assert_eq!(told.waiting[0].missing[0].who, "a coordinator");
}

#[test]
fn an_unfinished_rollback_says_how_to_settle_it() {
    let mut log = Log::prepared();
    log.start("backend", 0);
    let request = Record::AbortRequested { by: "eve".to_owned(), reason: "enough".to_owned() };
    log.write(Family::Request, request);
    log.coordinate();
    let left = vec!["/srv/current".to_owned()];
    let error = "undo failed".to_owned();
    log.write(
        of("backend"),
        Record::RollbackFailed { epoch: 1, error, left, output: String::new() },
    );
    log.coordinate();
    let told = log.report();
    assert_eq!(told.result, Some(RunResult::RollbackIncomplete));
    assert_eq!(told.exit(), Exit::RollbackIncomplete);
    assert!(told.waiting.is_empty());
    let warning = told.settlement.clone().unwrap();
    assert!(warning.contains("lockstep rollback resume shop/r1"), "{warning}");
    assert!(told.text(Paint(false)).contains("left: /srv/current"));
    let reason = "mended".to_owned();
    let by = "eve".to_owned();
    let asked = log.write(Family::Request, Record::ResumeRequested { by, reason, workflow: None });
    let told = log.report();
    let pending = told.settlement.clone().unwrap();
    assert!(pending.contains(&format!("resume was requested by eve (#{asked})")), "{pending}");
    assert_eq!(told.exit(), Exit::RollbackIncomplete, "asking settles nothing");
    let back = Record::RolledBack {
        epoch: 1,
        residue: Vec::new(),
        accepted: false,
        output: String::new(),
    };
    let settled = log.write(of("backend"), back.clone());
    let told = log.report();
    assert_eq!((told.settlement.clone(), told.owing.len()), (None, 0));
    assert_eq!(told.result, Some(RunResult::RollbackIncomplete), "Closed never changes");
    assert_eq!(told.exit(), Exit::Failed);
    assert_eq!(told.void, []);
    let text = told.text(Paint(false));
    assert!(text.contains("failed; what a rollback left is settled"), "{text}");
    let who = format!("settled by eve (#{asked}): mended; rolled back");
    assert!(text.contains(&who) && !text.contains("left: "), "{text}");
    log.write(of("backend"), back);
    let again = log.report().void;
    assert_eq!(again[0].reason, format!("settled at #{settled}"));
}

#[test]
fn only_barriers_that_somebody_declared_are_listed() {
    for log in [Log::joined(), Log::prepared()] {
        let text = log.report().text(Paint(false));
        assert!(text.contains("  BE  0/3 open"), "{text}");
        assert!(!text.contains("_commit") && !text.contains("_prepare"), "{text}");
    }
}

#[test]
fn a_refused_run_has_no_barriers_to_show() {
    let mut log = Log::planned();
    let reason = "run r0 is open".to_owned();
    log.write(Family::Admission, Record::Refused { reason, cancelled: false, at: Some(1) });
    log.coordinate();
    let told = log.report();
    assert_eq!(told.result, Some(RunResult::Refused));
    let text = told.text(Paint(false));
    assert!(!text.contains("barriers"), "{text}");
}

#[test]
fn void_records_are_listed_with_their_reason() {
    let mut log = Log::prepared();
    let stray = of("backend").slot(2);
    log.entry(stray, Err(Rubbish::Header("ce-id")));
    log.arrive("_prepare", "backend");
    let told = log.report();
    assert_eq!(told.void.len(), 2);
    assert_eq!(told.void[0].kind, "rubbish");
    assert!(told.void[1].reason.contains("it arrived at #"), "{:?}", told.void);
}

#[test]
fn a_run_without_a_plan_or_of_another_protocol_is_still_told() {
    let told = Log::empty().report();
    assert_eq!((told.phase, told.exit()), (Phase::Expired, Exit::Unavailable));
    let mut log = Log::empty();
    log.entry(Family::Plan.slot(1), Err(Rubbish::Protocol(9)));
    let told = log.report();
    assert_eq!(told.phase, Phase::UnknownProtocol);
    assert!(told.summary.contains("protocol 9"), "{}", told.summary);
}

#[test]
fn a_good_end_names_what_degraded_and_what_could_not_be_tidied_up() {
    let mut log = Log::prepared();
    log.start("backend", 0);
    log.write(of("backend"), finished(0));
    for party in ["backend", "frontend", "qa"] {
        log.arrive("BE", party);
    }
    log.start("frontend", 1);
    log.write(of("frontend"), finished(1));
    log.arrive("_commit", "backend");
    assert!(log.report().waiting[0].what.contains("commit"));
    let at = log.arrive("_commit", "frontend");
    assert_eq!(log.report().phase, Phase::Finalizing);
    log.coordinate();
    assert_eq!(log.report().decided_by, Some(at));
    for (workflow, degraded, warnings) in
        [("backend", Some("503"), vec![]), ("frontend", None, vec!["a was not deleted".to_owned()])]
    {
        let degraded = degraded.map(str::to_owned);
        log.write(of(workflow), Record::Finalized { epoch: 1, degraded, warnings });
    }
    log.coordinate();
    let told = log.report();
    assert_eq!(told.exit(), Exit::Done);
    assert_eq!(told.summary, "succeeded, degraded after commit");
    assert_eq!(
        told.warnings,
        ["frontend: a was not deleted", "backend degraded after the commit: 503"]
    );
}

#[test]
fn times_are_told_in_utc_and_spans_in_whole_seconds() {
    assert_eq!(At(Timestamp(1_767_225_600_007)).clock(), "00:00:00Z");
    assert_eq!(rough(Span(61_400)), "1m1s");
    assert_eq!(rough(Span(400)), "400ms");
    let json = serde_json::to_string(&At(Timestamp(1_767_225_600_007))).unwrap();
    assert_eq!(json, "\"2026-01-01T00:00:00.007Z\"");
}

#[test]
fn an_image_that_is_another_one_elsewhere_is_warned_of_until_it_goes_back() {
    let ran = |digests: &[&str]| {
        let digests = digests.iter().map(|digest| format!("sha256:{digest:0<64}")).collect();
        let images = [("shop/web:2".to_owned(), digests)].into();
        Record::StepFinished { epoch: 1, step: 0, ignored: None, output: String::new(), images }
    };
    let mut log = Log::prepared();
    for workflow in ["backend", "frontend"] {
        log.start(workflow, 0);
    }
    log.write(of("backend"), ran(&["aa"]));
    assert_eq!(log.report().warnings, Vec::<String>::new());
    let mut same = log.clone();
    same.write(of("frontend"), ran(&["aa"]));
    assert_eq!(same.report().warnings, Vec::<String>::new());
    log.write(of("frontend"), ran(&["bb"]));
    let told = log.report();
    let [warning] = &told.warnings[..] else { panic!("{:?}", told.warnings) };
    let differ = "image shop/web:2 is not the same everywhere: sha256:aa0000000000 in backend, \
                  sha256:bb0000000000 in frontend";
    assert!(warning.starts_with(differ), "{warning}");
    assert!(told.text(Paint(false)).contains("not the same everywhere"));
    let output = String::new();
    log.write(of("backend"), Record::Failed { epoch: 1, step: None, error: "no".into(), output });
    assert_eq!(log.report().warnings, Vec::<String>::new(), "nothing of it stays");
}
