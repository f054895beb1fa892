//! A run's log written line by line, without agents: each line is a record at the next sequence,
//! and what the fold makes of it is looked at in between.

use lockstep_shared::{
    codec::{Entry, Stated},
    fold::{Effect, RunFold},
    id::{BarrierId, PartyName, RunKey, Sequence, StepIndex, WorkflowName},
    plan::Plan,
    record::Record,
    source::Source,
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

use crate::plans::PIPELINE;

/// A log in the making and what it means so far.
#[derive(Debug, Clone)]
pub struct Script {
    /// What the log means so far.
    pub fold: RunFold,
    /// Every record so far.
    pub entries: Vec<Entry>,
    now: Timestamp,
}

impl Script {
    /// A run that everybody has joined and is prepared for.
    pub fn prepared(plan: Plan) -> Self {
        let mut script = Self::planned(plan);
        script.write(Family::Admission, Record::Admitted {});
        let workflows: Vec<WorkflowName> = script.fold.workflows().keys().cloned().collect();
        for workflow in &workflows {
            let (instance, version) = ("i".to_owned(), "1".to_owned());
            script.write(Family::Workflow(workflow.clone()), Record::Joined { instance, version });
        }
        for workflow in &workflows {
            script.arrive(&BarrierId::prepare(), &PartyName::from(workflow));
        }
        script
    }

    /// A run of which only the plan stands.
    pub fn planned(plan: Plan) -> Self {
        let run = "r0".parse().expect("the name is valid");
        let key = RunKey { pipeline: PIPELINE.parse().expect("the name is valid"), run };
        let mut script =
            Self { fold: RunFold::new(key), entries: Vec::new(), now: Timestamp(1_000_000) };
        let record = Record::Plan { plan: Box::new(plan), submitted_by: "ada".to_owned() };
        script.write(Family::Plan, record);
        script
    }

    /// The last sequence.
    pub fn end(&self) -> Sequence {
        self.entries.len() as Sequence
    }

    /// Lets time pass.
    pub fn wait(&mut self, span: Span) {
        self.now = self.now.after(span);
    }

    /// Writes a record to its family's next slot, a second after the one before.
    pub fn write(&mut self, family: Family, record: Record) -> Effect {
        let slot = self.fold.next_slot(&family);
        self.write_to(slot, record)
    }

    fn write_to(&mut self, slot: Slot, record: Record) -> Effect {
        self.wait(Span::seconds(1));
        let seq = self.end() + 1;
        let source = Source::Operator("script".to_owned());
        let content = Ok(Stated { event: format!("e{seq}"), source, record });
        let key = self.fold.key().clone();
        let entry = Entry { seq, time: self.now, key, slot, content };
        let effect = self.fold.apply(&entry);
        self.entries.push(entry);
        effect
    }

    /// A party arrives.
    pub fn arrive(&mut self, barrier: &BarrierId, party: &PartyName) -> Effect {
        let family = Family::Party(barrier.clone(), party.clone());
        let epoch = Some(1);
        self.write(
            family,
            Record::Arrived { epoch, view: None, by: None, message: None, link: None },
        )
    }

    /// A workflow's step is begun and is over.
    pub fn finish(&mut self, workflow: &WorkflowName, step: StepIndex) -> Effect {
        let family = Family::Workflow(workflow.clone());
        self.write(family.clone(), Record::StepStarted { epoch: 1, step, attempt: 1 });
        let output = String::new();
        self.write(
            family,
            Record::StepFinished {
                epoch: 1,
                step,
                ignored: None,
                output,
                images: Default::default(),
            },
        )
    }

    /// A workflow fails.
    pub fn fail(&mut self, workflow: &WorkflowName) -> Effect {
        let (error, output) = ("exit status 1".to_owned(), String::new());
        let record = Record::Failed { epoch: 1, step: None, error, output };
        self.write(Family::Workflow(workflow.clone()), record)
    }
}
