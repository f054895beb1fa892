//! What an agent says of itself: to its process, in its beats, and in its log.

use lockstep_shared::{id::StepIndex, time::Timestamp};

use crate::{
    agent::Agent,
    course::Course,
    debt::Debt,
    join::{Incarnation, is_vacant},
    lock::{LockHeld, NOT_HEARD},
    stand::Stand,
    standing::{Beat, Standing},
    turn::Turn,
    work::Order,
};

impl Agent {
    /// How the work stands.
    pub fn standing(&self, now: Timestamp) -> Standing {
        if let Some(ending) = &self.over {
            return Standing::Over(ending.clone());
        }
        let course = self.course(&self.view);
        if let Course::Wait(why) = &course {
            return Standing::Waiting((*why).to_owned());
        }
        if let Course::Owe(why) = &course {
            return Standing::Owing(why.clone());
        }
        if course.needs_epoch()
            && self.term().is_none()
            && let Some(whom) = self.stands_by_for(now)
        {
            return Standing::StandingBy(whom);
        }
        match self.hold(now) {
            Some(why) => Standing::Holding(why),
            None => Standing::Working,
        }
    }

    /// For whom an agent that has not joined stands by.
    fn stands_by_for(&self, now: Timestamp) -> Option<String> {
        let own = &self.view.own;
        if let LockHeld::No(holder) = &self.lock {
            return Some(format!("another agent on this machine has the lock ({holder})"));
        }
        let free = self.incarnation != Incarnation::Outside || is_vacant(own, &self.setup.instance);
        let deaf = || match self.quiet.is_deaf(now) {
            Some(why) => format!(", and is not taken over, since its beats cannot be heard: {why}"),
            None => String::new(),
        };
        let whom = || format!("{} (epoch {}) has the workflow", own.instance, own.epoch);
        (!free).then(|| whom() + &deaf())
    }

    /// Why nothing is done though something should be.
    fn hold(&self, now: Timestamp) -> Option<String> {
        let forward = matches!(self.course(&self.view), Course::Forward | Course::Wait(_));
        if let Some(how) = self.contact.went_back.as_ref().filter(|_| forward) {
            return Some(format!(
                "the log lost records ({how}): this agent goes no step forward and waits for the \
                 run to be decided"
            ));
        }
        self.term()?;
        if !self.contact.is_fresh(now) {
            return Some(NOT_HEARD.to_owned());
        }
        if let LockHeld::No(why) = &self.lock {
            return Some(format!("the workflow's lock is not held: {why}"));
        }
        match self.stand(&self.view) {
            Stand::Barrier { id, .. }
                if self.view.meeting(&id).is_some_and(|meeting| meeting.is_doubtful()) =>
            {
                Some(format!(
                    "barrier {id} is said to be released by a record below our own arrival: it is \
                     not followed"
                ))
            }
            _ => None,
        }
    }

    /// Logs a new reason for holding, once.
    pub(crate) fn tell_hold(&mut self, turn: &mut Turn) {
        let hold = if self.over.is_some() { None } else { self.hold(turn.now) };
        if hold != self.said {
            match &hold {
                Some(why) => turn.error(format!("{} holds: {why}", self.setup.workflow)),
                None => turn.info(format!("{} goes on", self.setup.workflow)),
            }
            self.said = hold;
        }
    }

    /// What to beat every 5 s; `None` unless this is the current incarnation of an open workflow.
    pub fn beat(&self) -> Option<Beat> {
        let term = self.term()?;
        if self.over.is_some() || self.view.own.ended.is_some() {
            return None;
        }
        let progress = match &self.said {
            Some(why) => format!("{}; holds: {why}", self.progress()),
            None => self.progress(),
        };
        Some(Beat { epoch: term.epoch, step: self.current_step(), progress })
    }

    fn current_step(&self) -> Option<StepIndex> {
        match (self.work.order(), self.stand(&self.view)) {
            (Some(Order::Start { step, .. } | Order::Undo { step }), _) => Some(*step),
            (_, Stand::Step { index, .. }) => Some(index),
            _ => None,
        }
    }

    /// One line on what the agent is doing now.
    fn progress(&self) -> String {
        match self.work.order() {
            Some(Order::Prepare) => return "preparing".to_owned(),
            Some(Order::Start { step, attempt: 1 }) => {
                return format!("running {}", self.step_name(*step));
            }
            Some(Order::Start { step, attempt }) => {
                return format!("running {} (attempt {attempt})", self.step_name(*step));
            }
            Some(Order::Undo { step }) => return format!("undoing {}", self.step_name(*step)),
            Some(Order::Finalize) => return "finalizing".to_owned(),
            None => {}
        }
        match self.course(&self.view) {
            Course::Forward => self.progress_forward(),
            Course::Fail => "failed; waiting for the log's decision".to_owned(),
            Course::Back { .. } => "rolling back".to_owned(),
            Course::Keep => "about to finalize".to_owned(),
            Course::Wait(why) => why.to_owned(),
            Course::Owe(_) => "waiting for an operator".to_owned(),
            Course::Accept | Course::Contradicted | Course::Unstarted | Course::Done(_) => {
                "ending".to_owned()
            }
        }
    }

    fn progress_forward(&self) -> String {
        match self.stand(&self.view) {
            Stand::Prepare { arrived: false } => match &self.setup.debt {
                Debt::Settling(run) => format!("settling the earlier run {} first", run.run),
                Debt::None | Debt::Stuck { .. } => "preparing".to_owned(),
            },
            Stand::Prepare { arrived: true } => "prepared".to_owned(),
            Stand::Step { index, .. } => format!("at {}", self.step_name(index)),
            Stand::Barrier { id, arrived: true } => format!("waiting at barrier {id}"),
            Stand::Barrier { id, arrived: false } => format!("arriving at barrier {id}"),
            Stand::Through { .. } => "through; holding until everybody is".to_owned(),
        }
    }
}
