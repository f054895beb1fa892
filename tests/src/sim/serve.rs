//! How an agent's process lives: starts, holds the lock, finds runs, settles debts first, leaves.

use lockstep_agent_core::{
    Agent, Event, PlanFound, Setup, Standing,
    debt::{self, Debt},
};
use lockstep_shared::{
    codec::Rubbish,
    fold::SharedPlan,
    id::{Epoch, PartyName, RunKey},
    record::Record,
    subject::Family,
};

use super::{
    Sabotage,
    agents::{AgentRun, ToAgent},
    judge::Judged,
    process::Process,
    world::{Happening, Message, World},
};

/// How often a spare looks for the lock, in milliseconds.
const TRY_LOCK: u64 = 250;

/// How often open runs are asked for, in milliseconds; more often until somebody answers.
const DISCOVER: u64 = 30_000;
const DISCOVER_UNANSWERED: u64 = 2_000;

/// How long leaving may take, in milliseconds.
const LEAVE_LIMIT: u64 = 20_000;

impl World {
    pub(super) fn start(&mut self, process: Process) -> Judged {
        if self.vitals(process).is_up() {
            return Ok(());
        }
        self.vitals(process).life += 1;
        self.say(|_| format!("{process:?} starts"));
        match process {
            Process::Agent(index) => self.try_lock(index),
            Process::Coordinator(index) => self.start_coordinator(index),
        }
    }

    pub(super) fn note_agent(&mut self, index: usize, delay: u64, message: ToAgent) {
        let life = self.life(Process::Agent(index));
        self.after(delay, Happening::To(life, Message::Agent(message)));
    }

    pub(super) fn try_lock(&mut self, index: usize) -> Judged {
        let life = self.life(Process::Agent(index));
        let directory = &mut self.directories[self.agents[index].post.directory];
        let shared = self.sabotage == Some(Sabotage::ShareLock);
        if directory.lock.is_some() && !shared {
            self.note_agent(index, TRY_LOCK, ToAgent::TryLock);
            return Ok(());
        }
        directory.lock = Some(life);
        let unsettled = directory.unsettled();
        self.agents[index].has_lock = true;
        self.say(|_| format!("agent {index} holds the lock"));
        for key in unsettled {
            self.begin_run(index, &key)?;
        }
        self.note_agent(index, 1, ToAgent::Discover);
        Ok(())
    }

    /// Asks a coordinator which runs are open; one that has not read to the end does not answer.
    pub(super) fn discover(&mut self, index: usize) -> Judged {
        if self.agents[index].post.early {
            for (key, ..) in self.scenario.runs.clone() {
                if self.judge.fold(&key).is_some() {
                    self.found(index, &key)?;
                }
            }
        }
        let party = PartyName::from(self.agents[index].workflow());
        let answer = self.coordinators.iter().find_map(|coordinator| {
            let core = coordinator.core.as_ref().filter(|_| coordinator.can_answer())?;
            core.open_runs(&self.scenario.runs[0].0.pipeline, &party)
        });
        let answer = answer.filter(|_| self.agents[index].vitals.linked);
        let again = if answer.is_some() { DISCOVER } else { DISCOVER_UNANSWERED };
        self.note_agent(index, again, ToAgent::Discover);
        let key = |run| RunKey { pipeline: self.scenario.runs[0].0.pipeline.clone(), run };
        let ended = &self.agents[index].ended;
        let first = answer.into_iter().flatten().map(key).find(|key| !ended.contains(key));
        match first {
            Some(key) => self.found(index, &key),
            None => Ok(()),
        }
    }

    /// A run was found; its plan is read by direct get, which needs a link.
    pub(super) fn found(&mut self, index: usize, key: &RunKey) -> Judged {
        let agent = &self.agents[index];
        if agent.is_leaving || agent.ended.contains(key) || agent.runs.contains_key(key) {
            return Ok(());
        }
        if !agent.has_lock || !agent.vitals.linked {
            return Ok(());
        }
        // Whatever run it is wanted for: what an earlier one left comes first, also where another
        // agent took that run over and this one dropped it.
        let owed: Vec<RunKey> = self.directories[agent.post.directory].debts().cloned().collect();
        for owed in owed {
            self.begin_run(index, &owed)?;
        }
        self.begin_run(index, key)
    }

    /// An idle agent whose directory owes something is started again by its operator.
    pub(super) fn restart_debtors(&mut self) -> Judged {
        for index in 0..self.agents.len() {
            let agent = &self.agents[index];
            let owes = self.directories[agent.post.directory].debts().next().is_some();
            if owes && agent.has_lock && agent.is_idle() {
                self.terminate(index)?;
            }
        }
        Ok(())
    }

    fn begin_run(&mut self, index: usize, key: &RunKey) -> Judged {
        let agent = &self.agents[index];
        if agent.runs.contains_key(key) {
            return Ok(());
        }
        let debt = self.debt(index, key);
        let setup = Setup {
            key: key.clone(),
            workflow: agent.workflow().clone(),
            instance: agent.instance.clone(),
            version: "1".to_owned(),
            plan: self.find_plan(key),
            undo: self.directories[agent.post.directory].mark(key),
            debt: debt.clone(),
        };
        let run = AgentRun::new(Agent::new(setup), debt);
        self.agents[index].runs.insert(key.clone(), run);
        self.at_once(index, key, Event::Woke);
        let beat = self.chance.between(1, super::agents::BEAT);
        self.note_agent(index, beat, ToAgent::BeatTime(key.clone()));
        Ok(())
    }

    fn find_plan(&self, key: &RunKey) -> PlanFound {
        let Some(entry) = self.log.slot(key, &Family::Plan.slot(1)) else {
            return PlanFound::Missing { workflow: None };
        };
        match &entry.content {
            Ok(stated) => match &stated.record {
                Record::Plan { plan, .. } => {
                    let plan = SharedPlan::from((**plan).clone());
                    PlanFound::Planned { seq: entry.seq, plan }
                }
                other => PlanFound::Rubbish(other.kind().to_owned()),
            },
            Err(Rubbish::Protocol(version)) => PlanFound::Foreign(*version),
            Err(rubbish) => PlanFound::Rubbish(rubbish.to_string()),
        }
    }

    /// Whether an earlier run's debt stands in the way, as the process knows it.
    fn debt(&self, index: usize, wanted: &RunKey) -> Debt {
        if self.sabotage == Some(Sabotage::ForgetDebts) {
            return Debt::None;
        }
        let agent = &self.agents[index];
        let mut known = self.directories[agent.post.directory].known();
        while let Some(run) = debt::first(&known, wanted).cloned() {
            let debt = match agent.runs.get(&run) {
                Some(other) => debt::of(&run, &other.standing),
                None => Debt::Settling(run.clone()),
            };
            if debt != Debt::None {
                return debt;
            }
            known.retain(|record| record.run != run);
        }
        Debt::None
    }

    /// Tells the other runs of a process what its debts are now.
    pub(super) fn debts_moved(&mut self, index: usize) -> Judged {
        let keys: Vec<RunKey> = self.agents[index].runs.keys().cloned().collect();
        for key in keys {
            let debt = self.debt(index, &key);
            let Some(run) = self.agents[index].runs.get_mut(&key) else { continue };
            if run.debt != debt {
                run.debt = debt.clone();
                self.at_once(index, &key, Event::Debt(debt));
            }
        }
        Ok(())
    }

    pub(super) fn send_beat(&mut self, index: usize, key: &RunKey, epoch: Epoch) {
        let workflow = self.agents[index].workflow().clone();
        for to in 0..self.coordinators.len() {
            if self.coordinators[to].vitals.linked {
                self.beat_to_coordinator(to, key, &workflow, epoch);
            }
        }
        for to in 0..self.agents.len() {
            let other = &self.agents[to];
            let listens = other
                .runs
                .get(key)
                .is_some_and(|run| matches!(run.standing, Standing::StandingBy(_)));
            if to != index && listens && other.vitals.linked && *other.workflow() == workflow {
                for delay in self.weather().delays(&mut self.chance) {
                    self.note_agent(to, delay, ToAgent::Beat(key.clone(), epoch));
                }
            }
        }
    }

    /// SIGTERM: every run leaves, in a limited time.
    pub(super) fn terminate(&mut self, index: usize) -> Judged {
        if self.agents[index].is_leaving {
            return Ok(());
        }
        self.agents[index].is_leaving = true;
        let keys: Vec<RunKey> = self.agents[index].runs.keys().cloned().collect();
        if keys.is_empty() {
            return self.go(index);
        }
        for key in keys {
            self.at_once(index, &key, Event::Terminate);
        }
        self.note_agent(index, LEAVE_LIMIT, ToAgent::TimeToGo);
        Ok(())
    }

    /// The process ends.
    pub(super) fn go(&mut self, index: usize) -> Judged {
        self.say(|_| format!("agent {index} ends"));
        self.die(Process::Agent(index));
        let back = self.chance.between(100, 20_000);
        self.after(back, Happening::Start(Process::Agent(index)));
        Ok(())
    }
}
