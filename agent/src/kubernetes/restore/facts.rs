//! What is known of one object on its way back, and what follows from it for each path.

use serde_json::Value;

use super::{
    super::{
        adopt::{Adopt, replicas},
        fields::{
            Differences, Element, Entry, FieldSet, FieldsError, Path, compare, entries, exists,
            get, has_item_twice, item_name, owned,
        },
    },
    Residue,
};

/// One object: before the run's first write, as planned, and now.
pub(super) struct Facts<'a> {
    pub(super) before: &'a Value,
    pub(super) live: &'a Value,
    planned: Option<&'a Value>,
    /// All that any manager of any of these states tells of what lies inside of what.
    pub(super) shape: FieldSet,
    /// What our entry or an adopted one owned before.
    pub(super) mine_before: FieldSet,
    /// What our entries own now.
    pub(super) ours: FieldSet,
    /// What our apply alone owns now.
    applied: FieldSet,
    /// What this run's write owned, as planned and as far as it still owns it.
    pub(super) written: FieldSet,
    planned_fields: FieldSet,
    all_before: Vec<Entry>,
    theirs_before: FieldSet,
    theirs: Vec<Entry>,
    pub(super) differences: Differences,
    /// Items that we had removed and another manager has made anew.
    remade: FieldSet,
    /// Items that our write left and somebody else has removed.
    removed: FieldSet,
    /// What we added and another manager holds something of.
    pub(super) held: FieldSet,
    /// Whether an autoscaler that this run made has decided how many replicas there are.
    is_rescaled: bool,
}

/// What is to become of a path at which the object differs from what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// An apply brings its former value.
    GiveBack {
        /// Nobody had written that value: the server chose it.
        by_server: bool,
    },
    /// It was not there, and an apply that leaves it out removes it.
    Retract,
    /// It was not there, and nobody owns it: only a patch removes it.
    Vanish,
    /// An autoscaler that is gone again has changed it: a patch takes it from its entry.
    Rescale,
    /// It is left as it is, and told.
    Leave(Residue),
    /// It is somebody else's business, and never was ours.
    Ignore,
}

impl<'a> Facts<'a> {
    /// `gentle`: keep also fields, not only list items, in which others hold something.
    pub(super) fn new(
        before: &'a Value,
        planned: Option<&'a Value>,
        live: &'a Value,
        adopt: &Adopt,
        gentle: bool,
    ) -> Result<Self, FieldsError> {
        let (all_before, all) = (entries(before)?, entries(live)?);
        let planned_entries = planned.map_or(Ok(Vec::new()), entries)?;
        let is_former = |entry: &Entry| entry.is_ours() || adopt.takes(entry);
        let planned_fields = planned
            .map(|planned| owned(planned, &planned_entries, Entry::is_applied_by_us))
            .unwrap_or_default();
        let mut shape = owned(before, &all_before, |_| true);
        shape.extend(&owned(live, &all, |_| true));
        if let Some(planned) = planned {
            shape.extend(&owned(planned, &planned_entries, |_| true));
        }
        let ours = owned(live, &all, Entry::is_ours);
        let mut facts = Self {
            before,
            live,
            planned,
            mine_before: owned(before, &all_before, is_former),
            applied: owned(live, &all, Entry::is_applied_by_us),
            written: planned_fields.union(&ours),
            ours,
            planned_fields,
            theirs_before: owned(before, &all_before, |entry| !is_former(entry)),
            theirs: theirs(live, &all),
            differences: compare(before, live, &shape),
            shape,
            all_before,
            remade: FieldSet::new(),
            removed: FieldSet::new(),
            held: FieldSet::new(),
            is_rescaled: false,
        };
        facts.remade = facts.find_remade(adopt);
        facts.removed = facts.find_removed();
        facts.held = facts.find_held(gentle);
        Ok(facts)
    }

    /// The same, without what is left to others.
    pub(super) fn leaving(mut self, leave: &FieldSet) -> Self {
        for path in leave.paths() {
            for set in [
                &mut self.mine_before,
                &mut self.written,
                &mut self.differences.paths,
                &mut self.differences.reordered,
            ] {
                *set = set.without(&path);
            }
        }
        self
    }

    /// The same, where an autoscaler that this run made has scaled the object.
    pub(super) fn rescaled(mut self, is_rescaled: bool) -> Self {
        self.is_rescaled = is_rescaled;
        self
    }

    /// What is to become of a path at which the object differs.
    pub(super) fn fate(&self, path: &Path) -> Fate {
        if let Some(item) = self.first_in(&self.held, path) {
            let manager = self.holder(|entry| entry.fields.has_below(&item));
            return Fate::Leave(Residue::Held { path: item, manager });
        }
        if let Some(item) = self.first_in(&self.remade, path) {
            let manager = self.holder(|entry| entry.fields.contains(&item));
            return Fate::Leave(Residue::Taken { path: item, manager });
        }
        if let Some(item) = self.first_in(&self.removed, path) {
            return Fate::Leave(Residue::Removed { path: item });
        }
        let touches = |set: &FieldSet| set.touches(path, &self.shape);
        let mut holders = self.theirs.iter().filter(|entry| touches(&entry.fields)).peekable();
        if self.is_of_autoscaler(path)
            && exists(self.before, path)
            && holders.peek().is_some()
            && holders.all(Entry::is_autoscalers)
        {
            return Fate::Rescale;
        }
        if self.theirs.iter().any(|entry| touches(&entry.fields)) {
            let manager = self.holder(|entry| touches(&entry.fields));
            return match self.was_changed_by_us(path) {
                true => Fate::Leave(Residue::Taken { path: path.clone(), manager }),
                false => Fate::Ignore,
            };
        }
        if !exists(self.before, path) {
            return if touches(&self.applied) { Fate::Retract } else { Fate::Vanish };
        }
        match (touches(&self.mine_before) || touches(&self.written), touches(&self.theirs_before)) {
            (true, _) => Fate::GiveBack { by_server: false },
            (false, false) => Fate::GiveBack { by_server: true },
            (false, true) if self.went_with_our_item(path) => Fate::GiveBack { by_server: false },
            (false, true) => Fate::Ignore,
        }
    }

    /// All differing paths with what is to become of them.
    pub(super) fn fates(&self) -> Vec<(Path, Fate)> {
        let paths = self.differences.paths.paths();
        paths.into_iter().map(|path| (path.clone(), self.fate(&path))).collect()
    }

    /// Items that another manager has made anew.
    pub(super) fn remade(&self) -> &FieldSet {
        &self.remade
    }

    /// Whether what was at a path comes back by a patch: a list that had an item twice, in what is
    /// there now.
    pub(super) fn is_replaced(&self, path: &Path) -> bool {
        let parent = path.and_ancestors().rev().nth(1);
        has_item_twice(self.before, path, &self.shape)
            && parent.is_some_and(|parent| exists(self.live, &parent))
    }

    /// What others have taken since the pre-image: paths that they did not own, and paths that have
    /// another value now.
    pub(super) fn taken(&self) -> FieldSet {
        let mut taken = FieldSet::new();
        for entry in &self.theirs {
            taken.extend(&entry.fields.filter(|path| {
                !self.held_before(entry, path) || get(self.before, path) != get(self.live, path)
            }));
        }
        for item in self.remade.union(&self.removed).paths() {
            taken.extend(&self.mine_before.union(&self.written).within(&item));
        }
        taken
    }

    /// Whether anybody but us owns something at or below a path.
    pub(super) fn is_held_inside(&self, path: &Path) -> bool {
        self.theirs.iter().any(|e| e.fields.contains(path) || e.fields.has_below(path))
    }

    /// Whether two values are the same item of the list at a path.
    pub(super) fn is_same_item(&self, list: &Path, one: &Value, other: &Value) -> bool {
        let name = |item: &Value| item_name(item, list, &self.shape);
        name(one).is_some() && name(one) == name(other)
    }

    fn held_before(&self, writer: &Entry, path: &Path) -> bool {
        let mut same = self.all_before.iter().filter(|entry| entry.is_same_writer(writer));
        same.any(|entry| entry.fields.contains(path))
    }

    fn holder(&self, holds: impl Fn(&Entry) -> bool) -> String {
        let holder = self.theirs.iter().find(|entry| holds(entry));
        holder.map(|entry| entry.manager.clone()).unwrap_or_default()
    }

    fn first_in(&self, set: &FieldSet, path: &Path) -> Option<Path> {
        path.and_ancestors().find(|ancestor| set.contains(ancestor))
    }

    /// Whether a path is changed by an autoscaler, and that one was made by this run.
    fn is_of_autoscaler(&self, path: &Path) -> bool {
        self.is_rescaled && *path == replicas()
    }

    /// Whether our write changed the value at a path. Without the dry run's answer it counts as
    /// changed if it was ours to change.
    fn was_changed_by_us(&self, path: &Path) -> bool {
        let was_mine = self.mine_before.touches(path, &self.shape);
        match self.planned {
            Some(planned) if self.planned_fields.touches(path, &self.shape) => {
                get(planned, path) != get(self.before, path)
            }
            Some(_) => was_mine,
            None => was_mine || self.written.touches(path, &self.shape),
        }
    }

    /// Whether something of another manager is gone because we removed the item it was in: the
    /// server removes a list item or an entry of a map with all that is inside, whoever owns it.
    fn went_with_our_item(&self, path: &Path) -> bool {
        path.and_ancestors().any(|item| !self.is_left(&item) && !exists(self.live, &item))
    }

    /// Whether our write leaves an item in place: the server removes what its applier owned and
    /// applies no more, unless another manager owns it too.
    ///
    /// Told by who owned what, and not by what the dry run showed: that one does not yet know that
    /// the entries of adopted managers are ours by the time of the write.
    fn is_left(&self, item: &Path) -> bool {
        !self.mine_before.contains(item)
            || self.planned_fields.contains(item)
            || self.theirs_before.contains(item)
    }

    /// Whether our write took a path from its owner, with another value or with the item it was in.
    pub(super) fn was_taken_by_us(&self, path: &Path) -> bool {
        let changed = match self.planned {
            Some(planned) => get(planned, path) != get(self.before, path),
            None => !self.mine_before.contains(path),
        };
        let in_our_item = || path.and_ancestors().any(|item| !self.is_left(&item));
        self.ours.contains(path) && (changed || in_our_item() || self.is_of_autoscaler(path))
    }

    /// Items that were ours, that our write removed, and that another manager has made anew:
    /// they are that manager's as a whole. Its parts and our former ones do not mix.
    fn find_remade(&self, adopt: &Adopt) -> FieldSet {
        let mine_now = |path: &Path| {
            let is_mine = |entry: &&Entry| {
                adopt.takes(entry) && self.all_before.iter().any(|b| b.is_same_writer(entry))
            };
            self.ours.contains(path)
                || self.theirs.iter().filter(is_mine).any(|entry| entry.fields.contains(path))
        };
        self.mine_before.filter(|path| {
            self.is_part(path)
                && exists(self.before, path)
                && exists(self.live, path)
                && !mine_now(path)
                && self.theirs.iter().any(|e| e.fields.contains(path) && !self.held_before(e, path))
        })
    }

    /// Items in which something was ours, that our write did not remove, and values that it did not
    /// change, that are gone: a removal leaves no trace of who did it, but it was not us. Giving
    /// back only what was ours of an item might make it invalid.
    fn find_removed(&self) -> FieldSet {
        let is_removed = |item: &Path| {
            (is_item(item) || self.mine_before.contains(item))
                && exists(self.before, item)
                && !exists(self.live, item)
                && self.is_left(item)
        };
        let mine = self.mine_before.union(&self.planned_fields).paths();
        let gone = mine.iter().filter_map(|path| {
            path.and_ancestors().find(|item| {
                is_removed(item) && (self.shape.has_below(item) || self.is_kept_by_us(item))
            })
        });
        gone.collect()
    }

    /// Whether our write left the value at a path as it was, and applied it.
    fn is_kept_by_us(&self, path: &Path) -> bool {
        self.planned_fields.contains(path)
            && self.planned.is_some_and(|planned| get(planned, path) == get(self.before, path))
    }

    /// Whether a path names a list item, or a field whose parts are owned one by one.
    fn is_part(&self, path: &Path) -> bool {
        is_item(path) || (path.elements().len() > 2 && self.shape.has_below(path))
    }

    /// The outermost of what was not there before and is there now, in which another manager owns
    /// something without owning the whole: the server would remove it together with that. Gently,
    /// also what another manager owns beside us: its part alone is refused.
    fn find_held(&self, gentle: bool) -> FieldSet {
        let mut held = FieldSet::new();
        let is_theirs = |path: &Path| self.theirs.iter().any(|entry| entry.fields.contains(path));
        let goes_as_a_whole = |path: &Path| {
            is_item(path) || self.ours.contains(path) || (gentle && path.elements().len() > 2)
        };
        for path in self.theirs.iter().flat_map(|entry| entry.fields.paths()) {
            let mut ancestors = path.and_ancestors().filter(|ancestor| *ancestor != path);
            let outermost = ancestors.find(|ancestor| {
                goes_as_a_whole(ancestor)
                    && !exists(self.before, ancestor)
                    && exists(self.live, ancestor)
                    && (gentle || !is_theirs(ancestor))
            });
            held.extend(&outermost.into_iter().collect());
        }
        held.without(&Path::of_fields(&["status"]))
    }
}

/// The entries of everybody but us, in the object's terms.
fn theirs(live: &Value, all: &[Entry]) -> Vec<Entry> {
    let others = all.iter().filter(|entry| !entry.is_ours());
    others.map(|entry| Entry { fields: entry.fields_in(live), ..entry.clone() }).collect()
}

fn is_item(path: &Path) -> bool {
    path.elements().last().is_some_and(Element::is_item)
}
