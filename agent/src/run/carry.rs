//! Carrying decisions out, in the order in which the core gives them.

use std::collections::BTreeSet;

use lockstep_agent_core::{Act, Decisions, Ending, Event, Level, Lock, Note, Standing};

use super::{RunLoop, append};
use crate::undo::Prepared;

impl RunLoop {
    pub(super) async fn carry_out(&mut self, decisions: Decisions) {
        let Decisions { recall, save, send, act, read, wake, notes } = decisions;
        for note in notes {
            self.log(&note);
        }
        if recall {
            self.history.gate.recall();
        }
        for mark in save {
            let (key, workflow) = (&self.key, &self.post.workflow);
            let history = self.post.options.undo_history;
            let saved = self.undo.advance(key, workflow, mark, self.prepared(), history).await;
            if let Err(error) = saved {
                // Nothing may follow what is not safe.
                tracing::error!(run = %self.key.run, workflow = %self.post.workflow, error);
                self.at_once.push_back(Event::SaveFailed { mark, error });
                self.wake = wake.map(|when| self.post.clock.instant(when));
                return;
            }
        }
        for append in send {
            self.send(append);
        }
        for order in act {
            match order {
                // The state directory's is held for as long as the agent is up: without it there
                // is no loop. A cluster's is taken by the first order that acts there.
                Act::TakeLock => self.at_once.push_back(Event::Lock(Lock::Held)),
                Act::Recall => {
                    let (undo, key) = (self.undo.clone(), self.key.clone());
                    self.acts.recall(undo, key, self.post.workflow.clone());
                }
                order => self.acts.begin(order, self.agent.epoch().unwrap_or_default()),
            }
        }
        self.listen().await;
        if read {
            self.reader.want();
        }
        self.wake = wake.map(|when| self.post.clock.instant(when));
        self.show_standing().await;
    }

    /// What a record says that is made now.
    fn prepared(&self) -> Option<Prepared> {
        let planned = self.acts.planned()?;
        Some(Prepared {
            epoch: self.agent.epoch().unwrap_or_default(),
            prepared_at: self.post.clock.now(),
            params: planned.params.clone(),
            plan: (*planned.workflow).clone(),
        })
    }

    /// Asks for a reading if one is wanted and it is known to be of the same log.
    pub(super) fn start_reading(&mut self) {
        if !self.history.is_comparing() {
            let now = self.post.clock.now();
            self.reader.start(&self.post.bus, &self.key, &self.agent, now);
        }
    }

    fn send(&mut self, append: lockstep_agent_core::Append) {
        let now = self.post.clock.now();
        match self.pen.draft(&self.post.bus, &append, now) {
            Ok(draft) => {
                self.appends.push(Box::pin(append::append(
                    self.post.bus.clone(),
                    append.slot,
                    draft,
                    self.history.gate.passage(),
                )));
            }
            Err(error) => {
                tracing::error!(run = %self.key.run, slot = %append.slot, %error, "cannot be appended");
                let outcome = lockstep_agent_core::Appended::InDoubt;
                self.at_once.push_back(Event::Appended { slot: append.slot, outcome });
            }
        }
    }

    /// Listens to what the core wants to hear from now on, before the next reading is asked for.
    async fn listen(&mut self) {
        let wanted = self.agent.bell();
        if wanted == self.heard {
            return;
        }
        let subjects = self.post.bus.subjects();
        let filters: BTreeSet<String> =
            wanted.iter().map(|family| subjects.family(&self.key, family)).collect();
        self.bell.listen(&filters).await;
        self.heard = wanted;
    }

    /// Says how the work stands whenever that changes, and listens to another incarnation's beats
    /// while it stands by for one.
    async fn show_standing(&mut self) {
        let standing = self.agent.standing(self.post.clock.now());
        if self.standing.as_ref() == Some(&standing) {
            return;
        }
        self.log_standing(&standing);
        self.post.board.publish(&self.key, &standing);
        match (&standing, &self.beats) {
            (Standing::StandingBy(_), None) => {
                let beats = self.post.bus.beats_of(&self.key, &self.post.workflow).await;
                self.beats = Some(beats);
            }
            (Standing::StandingBy(_), Some(_)) => {}
            _ => self.beats = None,
        }
        self.standing = Some(standing);
    }

    fn log_standing(&self, standing: &Standing) {
        let (run, workflow) = (&self.key.run, &self.post.workflow);
        match standing {
            Standing::Waiting(why) => tracing::info!(%run, %workflow, "waiting: {why}"),
            Standing::StandingBy(whom) => tracing::info!(%run, %workflow, "standing by: {whom}"),
            Standing::Working => tracing::info!(%run, %workflow, "working"),
            Standing::Holding(why) => tracing::warn!(%run, %workflow, "holding: {why}"),
            // A target of its own: `lockstep dev` has another way to settle it, and says so.
            Standing::Owing(why) => tracing::error!(
                target: "lockstep::owing",
                %run, %workflow,
                "{why}; repair the target and try `lockstep rollback resume {run}`, or keep what \
                 is there with `lockstep rollback accept {run} --reason TEXT`"
            ),
            Standing::Over(Ending::Superseded { by }) => {
                tracing::warn!(%run, %workflow, "superseded by epoch {by}: this run is dropped");
            }
            Standing::Over(ending) => {
                tracing::info!(%run, %workflow, "over: {}", ending.describe());
            }
        }
    }

    fn log(&self, note: &Note) {
        let (run, workflow) = (&self.key.run, &self.post.workflow);
        match note.level {
            Level::Debug => tracing::debug!(%run, %workflow, "{}", note.text),
            Level::Info => tracing::info!(%run, %workflow, "{}", note.text),
            Level::Warn => tracing::warn!(%run, %workflow, "{}", note.text),
            Level::Error => tracing::error!(%run, %workflow, "{}", note.text),
        }
    }
}
