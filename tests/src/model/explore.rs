//! Every state that can be reached, each looked at once.

use std::{collections::VecDeque, fmt};

use rustc_hash::FxHashSet;

use super::{
    Settings,
    moves::Model,
    state::{Move, State, Step},
};
use crate::sim::{Invariant, Violation};

/// How much was looked at.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// Distinct states.
    pub states: usize,
    /// Moves between them.
    pub moves: usize,
    /// Distinct logs.
    pub logs: usize,
    /// Distinct states of agents' cores.
    pub cores: usize,
    /// States in which nothing is left to happen.
    pub ends: usize,
}

/// A way to a state in which an invariant is broken.
#[derive(Debug)]
pub struct Counterexample {
    /// What is broken.
    pub violation: Violation,
    /// What happened, from the beginning.
    pub moves: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.moves {
            writeln!(formatter, "{line}")?;
        }
        write!(formatter, "{:?} is broken: {}", self.violation.invariant, self.violation.text)
    }
}

/// Looks at every state that can be reached.
///
/// # Errors
/// The first invariant that is broken, with the shortest way there; also if there are more states
/// than the cap.
pub fn explore(settings: Settings) -> Result<Counted, Box<Counterexample>> {
    let cap = settings.cap;
    let mut search = Search::new(Model::new(settings));
    let begun = search.model.begin();
    let first = begun.map_err(|violation| search.way(None, violation))?;
    search.found(first, 0, 0);
    while let Some((number, state)) = search.frontier.pop_front() {
        search.look(number, &state)?;
        if search.seen.len() > cap {
            let text = format!("more than {cap} states: this is no check any more");
            let violation = Violation::of(Invariant::EveryRunCloses, text);
            return Err(search.way(Some((number, None)), violation));
        }
    }
    let (logs, cores) = search.model.counts();
    let (states, moves, ends) = (search.seen.len(), search.moves, search.ends);
    Ok(Counted { states, moves, logs, cores, ends })
}

struct Search {
    model: Model,
    seen: FxHashSet<State>,
    frontier: VecDeque<(usize, State)>,
    /// For each state the one that it was reached from, and by which of its moves.
    parents: Vec<(u32, u16)>,
    moves: usize,
    ends: usize,
}

impl Search {
    fn new(model: Model) -> Self {
        Self {
            model,
            seen: FxHashSet::default(),
            frontier: VecDeque::new(),
            parents: Vec::new(),
            moves: 0,
            ends: 0,
        }
    }

    fn found(&mut self, state: State, from: usize, by: usize) {
        if self.seen.insert(state) {
            let (from, by) = (u32::try_from(from), u16::try_from(by));
            self.parents.push((from.unwrap_or(u32::MAX), by.unwrap_or(u16::MAX)));
            self.frontier.push_back((self.parents.len() - 1, state));
        }
    }

    fn look(&mut self, number: usize, state: &State) -> Result<(), Box<Counterexample>> {
        let moves = self.model.moves(state);
        let moves = moves.map_err(|violation| self.way(Some((number, None)), violation))?;
        if moves.iter().all(Move::is_fault) {
            self.ends += 1;
            let checked = self.model.check_end(state);
            checked.map_err(|violation| self.way(Some((number, None)), violation))?;
        }
        for (by, chosen) in moves.iter().enumerate() {
            self.moves += 1;
            match self.model.after(state, chosen) {
                Ok(next) => self.found(next, number, by),
                Err(violation) => return Err(self.way(Some((number, Some(chosen))), violation)),
            }
        }
        Ok(())
    }

    /// The moves that led to a state, told again from the beginning.
    fn way(
        &mut self,
        to: Option<(usize, Option<&Move>)>,
        violation: Violation,
    ) -> Box<Counterexample> {
        let mut moves = Vec::new();
        if let Some((mut number, last)) = to {
            let mut taken = Vec::new();
            while number != 0 {
                let (from, by) = self.parents[number];
                taken.push(usize::from(by));
                number = from as usize;
            }
            if let Ok(mut state) = self.model.begin() {
                for by in taken.into_iter().rev() {
                    let Ok(all) = self.model.moves(&state) else { break };
                    let Some(chosen) = all.get(by) else { break };
                    moves.push(self.told(&state, chosen));
                    let Ok(next) = self.model.after(&state, chosen) else { break };
                    state = next;
                }
                moves.extend(last.map(|chosen| self.told(&state, chosen)));
            }
        }
        Box::new(Counterexample { violation, moves })
    }

    fn told(&self, state: &State, chosen: &Move) -> String {
        let Move::Agent(index, step) = chosen else { return format!("{chosen:?}") };
        let cell = self.model.cell(state, *index);
        let workflow = &self.model.agents.workflows[*index];
        match step {
            Step::Land(at) | Step::LandInDoubt(at) | Step::Doubt(at) => {
                let sent = &cell.sent[*at];
                format!("{workflow}: {step:?}: {} {:?}", sent.slot, sent.record)
            }
            Step::Report(_) => format!("{workflow}: {step:?}: {:?}", cell.order),
            _ => format!("{workflow}: {step:?}"),
        }
    }
}
