//! Orders to a target, carried out one after another as the command target does: a permit is
//! asked at the last moment, what a dead agent left running is ended first, and a command that
//! outlives its agent goes on until somebody ends it.

use lockstep_agent_core::{Act, Event, Lock, Report};
use lockstep_shared::{
    codec::Entry,
    id::{RunKey, StepIndex},
    plan::Action,
    record::Record,
    subject::Family,
};

use super::{
    Sabotage,
    agents::ToAgent,
    judge::{Invariant, Judged, Violation},
    process::Process,
    target::{Held, Orphan},
    world::{Happening, World},
};

/// What one request to a target may take at most, in milliseconds (PROTOCOL section 6).
const REQUEST_LIMIT: u64 = 9_000;

/// An order under way or waiting for its turn.
#[derive(Debug, Clone)]
pub(super) struct Order {
    number: u64,
    pub(super) act: Act,
    began: bool,
    stopped: bool,
    succeeds: bool,
}

impl World {
    pub(super) fn order(&mut self, index: usize, key: &RunKey, act: Act) -> Judged {
        match act {
            Act::TakeLock => self.at_once(index, key, Event::Lock(Lock::Held)),
            Act::DropLock => {}
            Act::Recall => {
                let mark = self.directories[self.agents[index].post.directory].mark(key);
                self.at_once(index, key, Event::Recalled(mark));
            }
            Act::Prepare | Act::Finalize | Act::Start { .. } | Act::Undo { .. } => {
                self.judge_order(index, key, &act)?;
                let Some(run) = self.agents[index].runs.get_mut(key) else { return Ok(()) };
                run.order_number += 1;
                let number = run.order_number;
                let order = Order { number, act, began: false, stopped: false, succeeds: true };
                run.orders.push_back(order);
                return self.begin_order(index, key);
            }
            Act::Stop => return self.stop_orders(index, key),
            Act::Watch { step } => self.watch(index, key, step),
            Act::Unwatch => {
                if let Some(run) = self.agents[index].runs.get_mut(key) {
                    run.unwatched += 1;
                }
            }
        }
        Ok(())
    }

    /// Begins the first order, if it has not begun.
    fn begin_order(&mut self, index: usize, key: &RunKey) -> Judged {
        let now = self.agents[index].vitals.clock(self.now);
        let directory = self.agents[index].post.directory;
        let Some(run) = self.agents[index].runs.get(key) else { return Ok(()) };
        let Some(order) = run.orders.front().filter(|order| !order.began).cloned() else {
            return Ok(());
        };
        let writes = matches!(order.act, Act::Start { .. } | Act::Undo { .. });
        let anyway = self.sabotage == Some(Sabotage::ShareLock);
        let permit = if writes && !anyway { run.core.may_write(now) } else { Ok(()) };
        let mut succeeds = permit.is_ok() && !order.stopped;
        if writes {
            self.directories[directory].left_over = None;
        }
        if writes && succeeds {
            self.write_begins(index, key, &order.act)?;
            let odds = match order.act {
                Act::Undo { .. } => self.scenario.storm.bad_undos,
                _ => self.scenario.storm.failures,
            };
            let fault =
                if matches!(order.act, Act::Undo { .. }) && self.is_calm { 0 } else { odds };
            succeeds = !self.chance.percent(fault);
        }
        let duration = if order.stopped || permit.is_err() { 0 } else { self.duration(index) };
        if let Some(order) = self.agents[index].runs.get_mut(key).and_then(|r| r.orders.front_mut())
        {
            order.began = true;
            order.succeeds = succeeds;
        }
        self.note_agent(index, duration, ToAgent::OrderOver(key.clone(), order.number));
        Ok(())
    }

    /// Where another agent may take over from afar, an order is one request.
    fn duration(&mut self, index: usize) -> u64 {
        let post = &self.agents[index].post;
        let afar = self.agents.iter().any(|other| {
            other.post.workflow == post.workflow && other.post.directory != post.directory
        });
        match self.chance.between(0, 9) {
            0 if !afar && !self.is_calm => self.chance.between(1_000, 40_000),
            0..=3 => self.chance.between(500, REQUEST_LIMIT),
            _ => self.chance.between(5, 1_500),
        }
    }

    /// What is running is killed; what waits for its turn never begins.
    fn stop_orders(&mut self, index: usize, key: &RunKey) -> Judged {
        let directory = self.agents[index].post.directory;
        self.directories[directory].left_over = None;
        let grace = self.chance.between(0, 3_000);
        let Some(run) = self.agents[index].runs.get_mut(key) else { return Ok(()) };
        let mut killed = None;
        for order in &mut run.orders {
            if matches!(order.act, Act::Start { .. } | Act::Undo { .. }) {
                order.stopped = true;
                killed = killed.or_else(|| order.began.then_some(order.number));
            }
        }
        if let Some(number) = killed {
            self.note_agent(index, grace, ToAgent::OrderOver(key.clone(), number));
        }
        Ok(())
    }

    pub(super) fn order_over(&mut self, index: usize, key: &RunKey, number: u64) -> Judged {
        let workflow = self.agents[index].workflow().clone();
        let Some(run) = self.agents[index].runs.get_mut(key) else { return Ok(()) };
        if run.orders.front().is_none_or(|order| order.number != number || !order.began) {
            return Ok(());
        }
        let Some(order) = run.orders.pop_front() else { return Ok(()) };
        let success = order.succeeds && !order.stopped;
        let error = if order.stopped { "stopped" } else { "exit status 1" }.to_owned();
        let writes = self.writes(index, key, &order.act);
        let target = self.targets.entry(workflow).or_default();
        let report = match order.act {
            Act::Prepare => Report::Prepared { view: None },
            Act::Finalize => Report::Finalized { warnings: Vec::new() },
            Act::Start { step, attempt } if success => {
                if writes && self.sabotage != Some(Sabotage::ForgetStart) {
                    target.finish(key, step);
                }
                Report::Finished { step, attempt, told: "done".to_owned().into() }
            }
            Act::Start { step, attempt } => {
                Report::Failed { step, attempt, error, output: String::new() }
            }
            Act::Undo { step } if success => {
                if self.sabotage != Some(Sabotage::ForgetUndo) {
                    target.undo(key, step);
                }
                Report::Undone { step, residue: Vec::new(), output: String::new() }
            }
            Act::Undo { step } => {
                Report::UndoFailed { step, error, left: Vec::new(), output: String::new() }
            }
            _ => return Ok(()),
        };
        self.tell_agent(index, key, Event::Reported(report))?;
        self.begin_order(index, key)
    }

    /// Whether an order writes to the target: a question does not.
    fn writes(&self, index: usize, key: &RunKey, act: &Act) -> bool {
        let step = match act {
            Act::Start { step, .. } | Act::Undo { step } => *step,
            _ => return false,
        };
        let workflow = self.agents[index].workflow();
        let plan = self.plan_of(key).and_then(|plan| plan.workflow(workflow));
        let planned = plan.and_then(|workflow| workflow.steps.get(step));
        planned.is_some_and(|planned| matches!(planned.action, Action::Run(_)))
    }

    fn watch(&mut self, index: usize, key: &RunKey, step: StepIndex) {
        if self.is_calm || !self.chance.percent(self.scenario.storm.failures) {
            return;
        }
        let delay = self.chance.between(100, 30_000);
        let event = Event::Degraded { step, error: "status 500".to_owned(), output: String::new() };
        self.note_agent(index, delay, ToAgent::Event(key.clone(), Box::new(event)));
    }

    fn judge_order(&mut self, index: usize, key: &RunKey, act: &Act) -> Judged {
        let agent = &self.agents[index];
        let mark = self.directories[agent.post.directory].mark(key);
        self.judge.ordered(key, agent.workflow(), act, mark)
    }

    /// The target is about to be written to: nobody else may be at it.
    fn write_begins(&mut self, index: usize, key: &RunKey, act: &Act) -> Judged {
        let agent = &self.agents[index];
        let (workflow, directory) = (agent.workflow().clone(), agent.post.directory);
        let owed = self.directories[directory].debts().find(|run| {
            let earlier = |run: &RunKey| self.log.slot(run, &Family::Plan.slot(1)).map(|e| e.seq);
            *run != key && earlier(run) < earlier(key)
        });
        if let (Some(owed), Act::Start { .. }) = (owed, act) {
            let text = format!("{workflow} writes for {key} while it owes {owed}");
            return Err(Violation::of(Invariant::DebtsComeFirst, text));
        }
        let rival = self.agents.iter().enumerate().find(|(other, rival)| {
            let at_it = |run: &super::agents::AgentRun| {
                let order = run.orders.front().filter(|order| order.began);
                order.is_some_and(|order| matches!(order.act, Act::Start { .. } | Act::Undo { .. }))
            };
            *other != index && *rival.workflow() == workflow && rival.runs.values().any(at_it)
        });
        if let Some((other, rival)) = rival {
            // A frozen process can land the one request that it had in hand.
            if !rival.vitals.frozen || rival.post.directory == directory {
                let text = format!("agents {index} and {other} write to {workflow} at once");
                return Err(Violation::of(Invariant::OneWriter, text));
            }
            let smeared = rival.runs.keys().cloned().collect::<Vec<_>>();
            self.targets.entry(workflow.clone()).or_default().smeared.extend(smeared);
        }
        if let (Act::Start { step, .. }, true) = (act, self.writes(index, key, act)) {
            self.targets.entry(workflow).or_default().begin(key, *step);
        }
        Ok(())
    }

    /// An agent died: its command may go on.
    pub(super) fn leave_orphans(&mut self, index: usize) {
        let agent = &self.agents[index];
        let (workflow, directory) = (agent.workflow().clone(), agent.post.directory);
        let begun = agent.runs.iter().find_map(|(key, run)| match run.orders.front() {
            Some(Order { began: true, stopped: false, act: Act::Start { step, .. }, .. }) => {
                Some((key.clone(), *step))
            }
            _ => None,
        });
        let Some((run, step)) = begun else { return };
        if self.chance.percent(40) {
            return;
        }
        let number = self.told.events;
        let lands = self.chance.between(0, REQUEST_LIMIT);
        self.directories[directory].left_over = Some(number);
        self.after(lands, Happening::Land(Orphan { number, workflow, directory, run, step }));
    }

    /// What an orphan did is done, unless somebody ended it before.
    pub(super) fn land(&mut self, orphan: Orphan) -> Judged {
        if self.directories[orphan.directory].left_over != Some(orphan.number) {
            return Ok(());
        }
        self.directories[orphan.directory].left_over = None;
        self.struck("orphan landed");
        self.say(|_| format!("an orphan finishes step {} of {}", orphan.step, orphan.workflow));
        let run = self.plan_of(&orphan.run).and_then(|plan| plan.workflow(&orphan.workflow));
        let planned = run.and_then(|workflow| workflow.steps.get(orphan.step));
        if !planned.is_some_and(|planned| matches!(planned.action, Action::Run(_))) {
            return Ok(());
        }
        let target = self.targets.entry(orphan.workflow.clone()).or_default();
        if target.of(&orphan.run, orphan.step).is_none() && !target.smeared.contains(&orphan.run) {
            let text = format!("{} was written to after it was undone", orphan.workflow);
            return Err(Violation::of(Invariant::OneWriter, text));
        }
        target.finish(&orphan.run, orphan.step);
        Ok(())
    }

    /// A workflow's last word must be true of its target.
    pub(super) fn check_report(&self, entry: &Entry) -> Judged {
        let Family::Workflow(workflow) = &entry.slot.family else { return Ok(()) };
        let Ok(stated) = &entry.content else { return Ok(()) };
        let Record::RolledBack { residue, accepted: false, .. } = &stated.record else {
            return Ok(());
        };
        let Some(target) = self.targets.get(workflow) else { return Ok(()) };
        let held = target.of_run(&entry.key);
        let smeared = target.smeared.contains(&entry.key);
        if residue.is_empty() && !held.is_empty() && !smeared {
            let text =
                format!("{workflow} says that {} is rolled back and holds {held:?}", entry.key);
            return Err(Violation::of(Invariant::AbortIsUndone, text));
        }
        Ok(())
    }

    /// At the end of the story: what targets hold is what the log says.
    pub(super) fn check_targets(&self, key: &RunKey) -> Judged {
        let Some(plan) = self.plan_of(key) else { return Ok(()) };
        for (workflow, planned) in plan.active() {
            let Some(target) = self.targets.get(workflow) else { continue };
            if target.smeared.contains(key) {
                continue;
            }
            let held = target.of_run(key);
            if self.judge.is_kept(key, workflow) {
                let commands =
                    planned.steps.iter().enumerate().filter(|(_, step)| {
                        matches!(step.action, Action::Run(_)) && !step.tolerated
                    });
                let missing = commands
                    .map(|(step, _)| step)
                    .find(|step| !held.contains(&(*step, Held::Whole)));
                if let Some(step) = missing {
                    let text = format!("{workflow} is committed in {key} without step {step}");
                    return Err(Violation::of(Invariant::CommitIsWhole, text));
                }
            } else if !held.is_empty() && !self.judge.is_reported(key, workflow) {
                let text = format!("{workflow} holds {held:?} of {key}, and nobody says so");
                return Err(Violation::of(Invariant::AbortIsUndone, text));
            }
        }
        Ok(())
    }

    pub(super) fn die(&mut self, process: Process) {
        if !self.vitals(process).is_up() {
            return;
        }
        self.vitals(process).life += 1;
        self.vitals(process).frozen = false;
        self.vitals(process).missed.clear();
        match process {
            Process::Agent(index) => {
                self.leave_orphans(index);
                let directory = self.agents[index].post.directory;
                if self.agents[index].has_lock {
                    self.directories[directory].lock = None;
                }
                let agent = &mut self.agents[index];
                agent.has_lock = false;
                agent.is_leaving = false;
                agent.runs.clear();
                agent.ended.clear();
            }
            Process::Coordinator(index) => self.coordinators[index].core = None,
        }
    }
}
