//! What goes wrong, and what people do: operators and foreign parties are part of the weather.

use lockstep_shared::{
    id::{BarrierId, PartyName, RunKey, WorkflowName},
    record::Record,
    source::Source,
    subject::{Family, Slot},
};

use super::{
    agents::ToAgent,
    coordinators::ToCoordinator,
    judge::Judged,
    process::Process,
    world::{Happening, Message, World},
};

/// How often people look, in milliseconds.
const PEOPLE: u64 = 20_000;

impl World {
    pub(super) fn fault(&mut self) -> Judged {
        if self.is_calm {
            return Ok(());
        }
        let pause = self.scenario.storm.pause;
        let next = self.chance.between(pause / 4 + 1, pause * 2);
        self.after(next, Happening::Fault);
        let process = self.any_process();
        match self.chance.between(0, 199) {
            0..=49 => self.crash(process),
            50..=89 => self.freeze(process),
            90..=129 => self.cut(process),
            130..=149 => self.ask_to_end(process),
            150..=193 => return self.litter(),
            194..=198 => return self.early_party(),
            _ => return self.abort(),
        }
        Ok(())
    }

    fn any_process(&mut self) -> Process {
        let agents = self.agents.len();
        let any = self.chance.below(agents + self.coordinators.len());
        if any < agents { Process::Agent(any) } else { Process::Coordinator(any - agents) }
    }

    /// kill -9; somebody starts it again.
    fn crash(&mut self, process: Process) {
        self.struck("crash");
        self.say(|_| format!("{process:?} is killed"));
        self.die(process);
        let long = self.chance.percent(25);
        let back = self.chance.between(50, if long { 60_000 } else { 5_000 });
        self.after(back, Happening::Start(process));
    }

    /// SIGSTOP, and SIGCONT later.
    fn freeze(&mut self, process: Process) {
        if !self.vitals(process).is_up() || self.vitals(process).frozen {
            return;
        }
        self.struck("freeze");
        self.say(|_| format!("{process:?} freezes"));
        self.vitals(process).frozen = true;
        let long = self.chance.percent(50);
        let back = self.chance.between(500, if long { 90_000 } else { 8_000 });
        self.after(back, Happening::Thaw(process));
    }

    pub(super) fn thaw(&mut self, process: Process) -> Judged {
        if !self.vitals(process).frozen {
            return Ok(());
        }
        self.say(|_| format!("{process:?} goes on"));
        self.vitals(process).frozen = false;
        let life = self.life(process);
        let missed: Vec<Message> = self.vitals(process).missed.drain(..).collect();
        for message in missed {
            self.reach(life, message)?;
        }
        Ok(())
    }

    /// The log cannot be reached from there.
    fn cut(&mut self, process: Process) {
        if !self.vitals(process).linked {
            return;
        }
        self.struck("cut off");
        self.say(|_| format!("{process:?} is cut off"));
        self.vitals(process).linked = false;
        let long = self.chance.percent(40);
        let back = self.chance.between(500, if long { 70_000 } else { 9_000 });
        self.after(back, Happening::Mend(process));
        let noticed = self.chance.between(10, 7_000);
        self.link(process, noticed, false);
    }

    pub(super) fn mend(&mut self, process: Process) -> Judged {
        self.say(|_| format!("{process:?} is linked again"));
        self.vitals(process).linked = true;
        let noticed = self.chance.between(10, 1_000);
        self.link(process, noticed, true);
        Ok(())
    }

    fn link(&mut self, process: Process, delay: u64, up: bool) {
        let life = self.life(process);
        match process {
            Process::Coordinator(_) => {
                let message = Message::Coordinator(ToCoordinator::Link(up));
                self.after(delay, Happening::To(life, message));
            }
            Process::Agent(index) if up => {
                let keys: Vec<RunKey> = self.agents[index].runs.keys().cloned().collect();
                for key in keys {
                    let connected = Box::new(lockstep_agent_core::Event::Connected);
                    self.note_agent(index, delay, ToAgent::Event(key, connected));
                }
            }
            Process::Agent(_) => {}
        }
    }

    /// SIGTERM.
    fn ask_to_end(&mut self, process: Process) {
        match process {
            Process::Agent(index) if self.agents[index].vitals.is_up() => {
                self.struck("SIGTERM");
                self.note_agent(index, 0, ToAgent::Terminate);
            }
            Process::Agent(_) => {}
            Process::Coordinator(_) => self.crash(process),
        }
    }

    /// Rubbish in any slot, also ahead of the next free one.
    fn litter(&mut self) -> Judged {
        let runs = self.scenario.runs.len();
        let key = self.scenario.runs[self.chance.below(runs)].0.clone();
        let Some(plan) = self.plan_of(&key).cloned() else { return Ok(()) };
        let workflows: Vec<WorkflowName> =
            plan.active().map(|(workflow, _)| workflow.clone()).collect();
        let workflow = self.chance.pick(&workflows).clone();
        let barriers: Vec<BarrierId> = plan.all_barriers().into_iter().collect();
        let barrier = self.chance.pick(&barriers).clone();
        let party = PartyName::from(&workflow);
        let families = [
            Family::Admission,
            Family::Workflow(workflow.clone()),
            Family::Workflow(workflow.clone()),
            Family::Party(barrier.clone(), party),
            Family::BarrierVerdict(barrier),
            Family::Verdict,
            Family::Outcome(workflow),
            Family::Clock,
            Family::Request,
            Family::Closed,
        ];
        let family = self.chance.pick(&families).clone();
        let mut slot: Slot = self.log.next_free(&key, family.slot(1));
        if self.chance.percent(30) {
            slot.number += 1;
        }
        self.struck("rubbish");
        let kind = self.chance.number();
        let rubbish = self.log.rubbish(&key, &slot, kind);
        self.publish_now(&rubbish)
    }

    /// A foreign party is there before anybody else, or says no.
    fn early_party(&mut self) -> Judged {
        let fails = self.chance.percent(40);
        let Some((key, barrier, party)) = self.missing_parties().into_iter().next() else {
            return Ok(());
        };
        self.struck("foreign party");
        self.speak(&key, &barrier, &party, fails)
    }

    fn speak(
        &mut self,
        key: &RunKey,
        barrier: &BarrierId,
        party: &PartyName,
        fails: bool,
    ) -> Judged {
        let family = Family::Party(barrier.clone(), party.clone());
        let source = Source::Party(key.pipeline.clone(), party.clone(), "ada".to_owned());
        let record = if fails {
            let (by, message) = ("ada".to_owned(), "the tests fail".to_owned());
            Record::PartyFailed { by, message, link: None }
        } else {
            let by = Some("ada".to_owned());
            Record::Arrived { epoch: None, view: None, by, message: None, link: None }
        };
        self.state(key, &family, &record, &source)
    }

    /// The foreign parties that have not arrived, where the run is open.
    fn missing_parties(&self) -> Vec<(RunKey, BarrierId, PartyName)> {
        let mut missing = Vec::new();
        for (key, ..) in &self.scenario.runs {
            let Some(fold) = self.judge.fold(key) else { continue };
            let Some(plan) = fold.plan().filter(|_| fold.closed().is_none()) else { continue };
            for (id, state) in fold.barriers().iter().filter(|(_, state)| state.is_open()) {
                let foreign = state.missing().filter(|party| !plan.is_workflow(party));
                missing.extend(foreign.map(|party| (key.clone(), id.clone(), party.clone())));
            }
        }
        missing
    }

    fn abort(&mut self) -> Judged {
        let runs = self.scenario.runs.len();
        let key = self.scenario.runs[self.chance.below(runs)].0.clone();
        if self.judge.fold(&key).is_none() {
            return Ok(());
        }
        self.struck("abort requested");
        let (by, reason) = ("ada".to_owned(), "wrong version".to_owned());
        let record = Record::AbortRequested { by, reason };
        self.state(&key, &Family::Request, &record, &Source::Operator("ada".to_owned()))
    }

    /// Everything works from now on.
    pub(super) fn calm(&mut self) -> Judged {
        self.say(|_| "the storm is over".to_owned());
        self.is_calm = true;
        let agents = (0..self.agents.len()).map(Process::Agent);
        let coordinators = (0..self.coordinators.len()).map(Process::Coordinator);
        for process in agents.chain(coordinators).collect::<Vec<_>>() {
            self.thaw(process)?;
            if !self.vitals(process).linked {
                self.mend(process)?;
            }
            self.start(process)?;
        }
        Ok(())
    }

    /// Now and then foreign parties arrive, and an operator helps where a debt is stuck.
    pub(super) fn people(&mut self) -> Judged {
        self.after(PEOPLE, Happening::People);
        for (key, barrier, party) in self.missing_parties() {
            if self.chance.percent(50) {
                self.speak(&key, &barrier, &party, false)?;
            }
        }
        if self.is_calm {
            self.restart_debtors()?;
            for (key, ..) in self.scenario.runs.clone() {
                if self.judge.needs_an_operator(&key) && self.chance.percent(50) {
                    self.help(&key)?;
                }
            }
        }
        Ok(())
    }

    fn help(&mut self, key: &RunKey) -> Judged {
        let (by, reason) = ("ada".to_owned(), "repaired".to_owned());
        let record = if self.chance.percent(70) {
            Record::ResumeRequested { by, reason, workflow: None }
        } else {
            Record::AcceptRequested { by, reason, workflow: None }
        };
        self.struck("operator's help");
        self.state(key, &Family::Request, &record, &Source::Operator("ada".to_owned()))
    }
}
