//! Reading as agents do: one multi-last get over a filter, answered by any replica, and the bell.

use lockstep_agent_core::{Reading, Watched};
use lockstep_shared::{
    codec::Entry,
    id::{RunKey, Sequence},
    record::Record,
    subject::Family,
    time::Timestamp,
};

use super::{
    agents::ToAgent,
    process::{Life, Process},
    world::{Happening, Message, World},
};

/// How long an answer is waited for before the question is asked anew, in milliseconds.
const ANSWER_LIMIT: u64 = 2_000;

/// A question under way.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) key: RunKey,
    pub(super) ticket: u64,
    asked: Vec<Watched>,
    asked_at: Timestamp,
    floor: Sequence,
}

impl World {
    /// Asks, if that is wanted and no answer is awaited.
    pub(super) fn start_reading(&mut self, index: usize, key: &RunKey) {
        let life = self.life(Process::Agent(index));
        let linked = self.agents[index].vitals.linked;
        let asked_at = self.agents[index].vitals.clock(self.now);
        let Some(run) = self.agents[index].runs.get_mut(key) else { return };
        if !run.wants_reading || run.awaits.is_some() {
            return;
        }
        run.wants_reading = false;
        run.tickets += 1;
        let ticket = run.tickets;
        run.awaits = Some(ticket);
        let (asked, floor) = (run.core.filter(), run.core.floor());
        let question = Question { key: key.clone(), ticket, asked, asked_at, floor };
        if linked {
            for delay in self.weather().delays(&mut self.chance) {
                self.after(delay, Happening::Read(life, question.clone()));
            }
        }
        let late = ToAgent::NoAnswer(key.clone(), ticket);
        self.after(ANSWER_LIMIT, Happening::To(life, Message::Agent(late)));
    }

    /// A replica answers; it may lag, and then it is mostly asked again.
    pub(super) fn question_arrives(&mut self, life: Life, question: Question) {
        if !self.vitals(life.process).linked {
            return;
        }
        let end = self.log.end();
        let lag = !self.is_calm && self.chance.percent(15);
        let upto = if lag { end.saturating_sub(self.chance.between(0, 6)) } else { end };
        if upto < question.floor && self.chance.percent(80) {
            return self.after(20, Happening::Read(life, question));
        }
        let matches = |entry: &&Entry| {
            entry.key == question.key
                && question.asked.iter().any(|watched| match watched {
                    Watched::Family(family) => entry.slot.family == *family,
                    Watched::Slot(slot) => entry.slot == *slot,
                })
        };
        let entries = self.log.up_to(upto).iter().filter(matches).cloned().collect();
        let (asked, asked_at) = (question.asked, question.asked_at);
        let mut reading = Reading { asked, asked_at, upto, entries };
        if let Some(sabotage) = self.sabotage {
            sabotage.read(&question.key, &mut reading);
        }
        let answer = ToAgent::Reading(question.key, question.ticket, reading);
        let delay = self.weather().delay(&mut self.chance);
        self.after(delay, Happening::To(life, Message::Agent(answer)));
    }

    /// The republished copy of what was stored goes to whoever listens.
    pub(super) fn ring(&mut self, entry: &Entry) {
        let admitted =
            entry.content.as_ref().is_ok_and(|stated| matches!(stated.record, Record::Admitted {}));
        for index in 0..self.agents.len() {
            let agent = &self.agents[index];
            if !agent.vitals.is_up() || !agent.vitals.linked {
                continue;
            }
            let listens = |family: &Family| {
                agent.runs.get(&entry.key).is_some_and(|run| run.hears.contains(family))
            };
            let rings = listens(&entry.slot.family);
            let life = self.life(Process::Agent(index));
            if rings {
                for delay in self.weather().delays(&mut self.chance) {
                    let rang = ToAgent::Rang(Box::new(entry.clone()));
                    self.after(delay, Happening::To(life, Message::Agent(rang)));
                }
            }
            if admitted {
                for delay in self.weather().delays(&mut self.chance) {
                    let found = ToAgent::Found(entry.key.clone());
                    self.after(delay, Happening::To(life, Message::Agent(found)));
                }
            }
        }
    }
}
