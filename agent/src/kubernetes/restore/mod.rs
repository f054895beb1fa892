//! How one object gets back what it was before the run's first write (rules 25 and 26).
//!
//! Decides the next request from the pre-image and the object as it is now, and in the end what is
//! left other than it was. There is no record of what was done: it is all seen in the object, so
//! that whoever goes on after a crash simply asks again. Deliberately does not know health, time
//! and transport. What the run created goes another way: [`created`].
//!
//! A path belongs to us if our entry owns it, or if nobody does and it was not so before. What
//! another manager has taken since our write is never touched. The server removes a list item with
//! all that is inside, whoever owns it; so an item that we added and in which another manager owns
//! something is kept as a whole, and one that we removed comes back with what others had in it.
//! A list with two items of one name, which may be there but cannot be applied, comes back by a
//! patch.

pub mod created;
mod facts;
mod request;
mod residue;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::{
    adopt::{self, Adopt},
    fields::{FieldSet, FieldsError, Path},
    object::{is_being_deleted, uid},
};
use facts::{Facts, Fate};
pub use residue::Residue;

/// Once with what the object was, and "once more with the path" (rule 26).
const MAX_APPLIES: u32 = 2;

/// How often entries are put right before the way back ends without it.
const MAX_ENTRY_PATCHES: u32 = 3;

/// The next request on an object's way back. Every one holds only for the object as it was read:
/// when the server answers 409, read the object again and ask [`Restoration::next`] again.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Server-side apply of this body, as [`MANAGER`](super::object::MANAGER), without force.
    Apply(Value),
    /// JSON patch (RFC 6902), as [`MANAGER`](super::object::MANAGER).
    Patch(Value),
    /// Nothing is left to do: what differs from the pre-image, if anything. Empty is *verified*.
    Done(Vec<Residue>),
}

/// One existing object on its way back.
///
/// Read the object, ask [`next`](Self::next), send what it says; then say how it went with
/// [`carried_out`](Self::carried_out) or [`refused`](Self::refused), and begin again.
#[derive(Debug)]
pub struct Restoration<'a> {
    before: &'a Value,
    planned: Option<&'a Value>,
    adopt: &'a Adopt,
    leave: FieldSet,
    is_rescaled: bool,
    asked: Option<Asked>,
    applies: u32,
    entry_patches: u32,
    /// Paths that were patched already: if they differ again, they are kept by somebody.
    patched: FieldSet,
    /// How many kinds of exactness were given up after refusals.
    leniency: Leniency,
}

/// What was asked for last.
#[derive(Debug, Clone)]
enum Asked {
    Apply,
    Entries,
    Patch(FieldSet),
}

/// What the server's refusals have made us give up, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Leniency {
    /// Nothing.
    Exact,
    /// Values that the server had chosen: another object may have them now.
    WithoutServers,
    /// Removing what is around or beside what others have put there: that may be invalid alone.
    KeepAround,
}

impl<'a> Restoration<'a> {
    /// The way back to `before`, an object that existed. `planned` is the dry run's answer, which
    /// tells what the write was to change; without it, more counts as changed by it.
    pub fn new(before: &'a Value, planned: Option<&'a Value>, adopt: &'a Adopt) -> Self {
        Self {
            before,
            planned,
            adopt,
            leave: FieldSet::new(),
            is_rescaled: false,
            asked: None,
            applies: 0,
            entry_patches: 0,
            patched: FieldSet::new(),
            leniency: Leniency::Exact,
        }
    }

    /// Leaves these paths, and all below them, as they are: an autoscaler's replicas (rule 6), the
    /// size of a claim that has grown.
    #[must_use]
    pub fn leaving(mut self, leave: FieldSet) -> Self {
        self.leave = leave;
        self
    }

    /// Takes back what an autoscaler did that this run had made and that is deleted by now: without
    /// the run it would not have been.
    #[must_use]
    pub fn rescaled(mut self, is_rescaled: bool) -> Self {
        self.is_rescaled = is_rescaled;
        self
    }

    /// What to do next, seeing the object as it is now (`None`: it is not there).
    ///
    /// # Errors
    /// [`FieldsError`] if it cannot be read who owns what.
    pub fn next(&mut self, live: Option<&Value>) -> Result<Step, FieldsError> {
        self.asked = None;
        let Some(live) = live.filter(|live| !is_being_deleted(live)) else {
            return Ok(Step::Done(vec![Residue::Gone]));
        };
        if uid(live) != uid(self.before) {
            return Ok(Step::Done(vec![Residue::Replaced]));
        }
        let gentle = self.leniency >= Leniency::KeepAround;
        let facts = Facts::new(self.before, self.planned, live, self.adopt, gentle)?;
        let facts = facts.leaving(&self.leave).rescaled(self.is_rescaled);
        let fates = facts.fates();
        if let Some(step) = self.apply(&facts, &fates)? {
            return Ok(step);
        }
        if let Some(step) = self.patch(&facts, &fates) {
            return Ok(step);
        }
        let we_took = |path: &Path| facts.was_taken_by_us(path);
        let patch = adopt::put_back(self.before, live, self.adopt, we_took, facts.remade())?;
        if let Some(patch) = patch.filter(|_| self.entry_patches < MAX_ENTRY_PATCHES) {
            self.asked = Some(Asked::Entries);
            return Ok(Step::Patch(patch));
        }
        Ok(Step::Done(self.residue(&facts, fates)))
    }

    /// The last step was accepted by the server.
    pub fn carried_out(&mut self) {
        match self.asked.take() {
            Some(Asked::Apply) => self.applies += 1,
            Some(Asked::Entries) => self.entry_patches += 1,
            Some(Asked::Patch(paths)) => self.patched.extend(&paths),
            None => {}
        }
    }

    /// The last step was refused as invalid or forbidden (not 409, and not for want of a
    /// connection). Whether there is a milder way: if not, the object is stuck for the reason that
    /// the server gave.
    pub fn refused(&mut self) -> bool {
        match self.asked.take() {
            Some(Asked::Apply) => match self.leniency {
                Leniency::Exact => self.leniency = Leniency::WithoutServers,
                Leniency::WithoutServers => self.leniency = Leniency::KeepAround,
                Leniency::KeepAround => return false,
            },
            // What may not be patched stays, and is told.
            Some(Asked::Patch(paths)) => self.patched.extend(&paths),
            Some(Asked::Entries) | None => return false,
        }
        true
    }

    fn apply(
        &mut self,
        facts: &Facts<'_>,
        fates: &[(Path, Fate)],
    ) -> Result<Option<Step>, FieldsError> {
        let mut given_back = FieldSet::new();
        let mut is_needed = false;
        for (path, fate) in fates {
            match fate {
                Fate::GiveBack { by_server } if !(*by_server && self.is_without_servers()) => {
                    given_back.insert(path);
                    is_needed |= !facts.is_replaced(path);
                }
                Fate::Retract => is_needed = true,
                _ => {}
            }
        }
        if !is_needed || self.applies >= MAX_APPLIES {
            return Ok(None);
        }
        // An apply would conflict with what we wrote other than by apply.
        let nobody = Adopt::nobody();
        // What is left to others would be removed by an apply while our entry has it.
        let fold = adopt::before_apply(facts.live, &nobody, &self.leave)?;
        if let Some(patch) = fold.filter(|_| self.entry_patches < MAX_ENTRY_PATCHES) {
            self.asked = Some(Asked::Entries);
            return Ok(Some(Step::Patch(patch)));
        }
        self.asked = Some(Asked::Apply);
        Ok(Some(Step::Apply(request::apply_body(facts, &given_back))))
    }

    fn is_without_servers(&self) -> bool {
        self.leniency >= Leniency::WithoutServers
    }

    fn patch(&mut self, facts: &Facts<'_>, fates: &[(Path, Fate)]) -> Option<Step> {
        let of_fate = |wanted: Fate| -> FieldSet {
            let paths = fates.iter().filter(|(_, fate)| *fate == wanted);
            paths.map(|(path, _)| path.clone()).collect()
        };
        let reordered = &facts.differences.reordered;
        let given_back = fates.iter().filter(|(_, fate)| matches!(fate, Fate::GiveBack { .. }));
        let replaced = given_back.filter(|(path, _)| facts.is_replaced(path));
        let replaced: FieldSet = replaced.map(|(path, _)| path.clone()).collect();
        for (paths, request) in [
            (of_fate(Fate::Vanish), request::removal as fn(&Facts<'_>, &FieldSet) -> Value),
            (of_fate(Fate::Rescale), request::replacement),
            (reordered.clone(), request::reordering),
            (replaced, request::whole_lists),
        ] {
            let paths = paths.difference(&self.patched);
            if !paths.is_empty() {
                let patch = request(facts, &paths);
                self.asked = Some(Asked::Patch(paths));
                return Some(Step::Patch(patch));
            }
        }
        None
    }

    fn residue(&self, facts: &Facts<'_>, fates: Vec<(Path, Fate)>) -> Vec<Residue> {
        let told = fates.into_iter().filter_map(|(path, fate)| match fate {
            Fate::Ignore => None,
            Fate::Leave(residue) => Some(residue),
            Fate::GiveBack { by_server: true } if self.is_without_servers() => {
                Some(Residue::NotGivenAgain { path })
            }
            Fate::GiveBack { .. } | Fate::Retract | Fate::Vanish | Fate::Rescale => {
                Some(Residue::KeptByAdmission { path })
            }
        });
        let disordered = facts.differences.reordered.paths().into_iter();
        let mut residue: Vec<Residue> =
            told.chain(disordered.map(|path| Residue::KeptByAdmission { path })).collect();
        residue.sort();
        residue.dedup();
        residue
    }
}
