//! One walk over a pipeline's plans, abort requests, admissions and Closed records, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Known, MAX_QUEUED, PipelineFold, Recorded, Standing};
use crate::{
    fold::cut,
    id::{RunId, Sequence},
    plan::Concurrency,
    record::MAX_CAUSE_BYTES,
    time::{Span, Timestamp},
};

/// What happens to a run at one position.
enum Turn {
    Planned,
    AbortRequested,
    Admitted,
    Closed(Timestamp),
}

/// Who is in the way, as far as the walk has come; runs are named by their plans' places.
pub(super) struct Walk<'a> {
    fold: &'a PipelineFold,
    /// Admitted and not closed: one, unless a record said otherwise.
    active: BTreeSet<Sequence>,
    queue: VecDeque<Sequence>,
    pub(super) standings: BTreeMap<Sequence, Standing>,
    pub(super) alarm: Option<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn over(fold: &'a PipelineFold) -> Self {
        let (active, queue) = (BTreeSet::new(), VecDeque::new());
        let mut walk = Self { fold, active, queue, standings: BTreeMap::new(), alarm: None };
        for (at, (place, turn)) in walk.turns() {
            match turn {
                Turn::Planned => walk.planned(place),
                Turn::AbortRequested => walk.abort_requested(place),
                Turn::Admitted => walk.admitted(at, place),
                Turn::Closed(time) => walk.closed(at, time, place),
            }
        }
        walk.name_who_waits();
        walk
    }

    /// Everything that happens, by position. A refused run never is in anybody's way; while it
    /// waited it took a place in the queue (`places_taken`).
    fn turns(&mut self) -> BTreeMap<Sequence, (Sequence, Turn)> {
        let mut turns = BTreeMap::new();
        for (&place, known) in &self.fold.runs {
            if let Some(Recorded::Refused { at, reason, cancelled, .. }) = &known.recorded {
                let (at, reason, cancelled) = (*at, reason.clone(), *cancelled);
                self.standings.insert(place, Standing::Refused { at, reason, cancelled });
                continue;
            }
            turns.insert(place, (place, Turn::Planned));
            if let Some(request) = known.abort.as_ref().filter(|_| !known.was_admitted()) {
                turns.insert(request.at, (place, Turn::AbortRequested));
            }
            if let Some(Recorded::Admitted { at }) = known.recorded {
                turns.insert(at, (place, Turn::Admitted));
            }
            if let Some(closed) = known.closed {
                turns.insert(closed.seq, (place, Turn::Closed(closed.time)));
            }
        }
        turns
    }

    fn planned(&mut self, place: Sequence) {
        let Some(known) = self.known(place) else { return };
        if let Some(excess) = known.excess.as_ref().filter(|_| !known.was_admitted()) {
            let reason = format!("its plan is too large: {excess}; submit it with `lockstep run`");
            return self.refuse(place, place, reason, false);
        }
        let Some(open) = self.active.first().and_then(|first| self.known(*first)) else {
            self.admit(place, place);
            return;
        };
        let (open, since) = (&open.run, open.planned);
        let reason = match known.concurrency {
            _ if known.was_admitted() => None,
            Some(Concurrency::Refuse) => Some(format!(
                "run {open} (submitted at {since}) is open and a pipeline runs one run at a time; \
                 wait until it is closed, end it with `lockstep abort {open} --reason TEXT`, or let runs wait \
                 for their turn with `concurrency: queue`"
            )),
            _ if self.places_taken(place) >= MAX_QUEUED => Some(format!(
                "{MAX_QUEUED} runs wait already behind run {open} (submitted at {since}), and no \
                 more may; submit it again when some of them are closed"
            )),
            _ => None,
        };
        match reason {
            Some(reason) => self.refuse(place, place, reason, false),
            None => self.queue.push_back(place),
        }
    }

    /// How many runs wait where this plan stands, also those that were refused further up.
    fn places_taken(&self, plan: Sequence) -> usize {
        let below = self.fold.runs.range(..plan);
        let gave_up = below
            .filter(|(place, known)| known.waited_until(**place).is_some_and(|until| plan < until));
        self.queue.len() + gave_up.count()
    }

    /// A queued run is refused at the request itself, so that nobody waits for its turn.
    fn abort_requested(&mut self, place: Sequence) {
        let Some(request) = self.known(place).and_then(|known| known.abort.as_ref()) else {
            return;
        };
        if self.leave_queue(place) {
            let (by, why) = (&request.by, &request.reason);
            let reason = format!("cancelled by {by} while it waited for its turn: {why}");
            self.refuse(place, request.at, cut(&reason, MAX_CAUSE_BYTES), true);
        }
    }

    /// The record is followed, also where it was not this run's turn.
    fn admitted(&mut self, at: Sequence, place: Sequence) {
        if !self.leave_queue(place) {
            return;
        }
        if let (Some(run), Some(open)) = (self.name(place), self.first_active()) {
            self.alarm = Some(format!("run {run} was admitted at #{at} while run {open} was open"));
        }
        self.admit(place, at);
    }

    fn closed(&mut self, at: Sequence, time: Timestamp, place: Sequence) {
        self.active.remove(&place);
        self.leave_queue(place);
        while self.active.is_empty() {
            let Some(next) = self.queue.pop_front() else { return };
            match self.known(next).and_then(|known| self.overdue(known, time)) {
                Some(reason) => self.refuse(next, at, reason, false),
                None => self.admit(next, at),
            }
        }
    }

    /// Why a run that waited until now is too old to begin: it must end while the log keeps it.
    fn overdue(&self, known: &Known, now: Timestamp) -> Option<String> {
        let limit = Span(self.fold.max_age.0 / 3);
        let waited = now.since(known.planned);
        (waited > limit && !known.was_admitted()).then(|| {
            format!(
                "its turn came {waited} after it was submitted, and the log keeps records too \
                 briefly to begin later than {limit} (a third of the stream's max_age); submit \
                 it again"
            )
        })
    }

    fn name_who_waits(&mut self) {
        let Some(behind) = self.first_active().cloned() else { return };
        for (ahead, place) in self.queue.iter().enumerate() {
            let standing = Standing::Queued { behind: behind.clone(), ahead };
            self.standings.insert(*place, standing);
        }
    }

    fn admit(&mut self, place: Sequence, at: Sequence) {
        self.active.insert(place);
        self.standings.insert(place, Standing::Admitted { at });
    }

    fn refuse(&mut self, place: Sequence, at: Sequence, reason: String, cancelled: bool) {
        self.standings.insert(place, Standing::Refused { at, reason, cancelled });
    }

    fn leave_queue(&mut self, place: Sequence) -> bool {
        let before = self.queue.len();
        self.queue.retain(|queued| *queued != place);
        self.queue.len() < before
    }

    fn first_active(&self) -> Option<&'a RunId> {
        self.active.first().and_then(|place| self.name(*place))
    }

    fn name(&self, place: Sequence) -> Option<&'a RunId> {
        self.known(place).map(|known| &known.run)
    }

    fn known(&self, place: Sequence) -> Option<&'a Known> {
        self.fold.runs.get(&place)
    }
}
