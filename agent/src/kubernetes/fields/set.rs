//! Sets of paths, as managers own them.

use std::collections::BTreeMap;

use super::{Element, Path};

/// A set of paths in the form of a tree.
///
/// To own a path with nothing of the set below it means to own all of its value: a scalar, an
/// atomic list or map, or one that was empty. To own a path with others below it (`.`) means to own
/// its presence only.
///
/// The algebra is that of plain sets of paths: without `{.a}`, the set `{.a, .a.b}` is `{.a.b}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSet(BTreeMap<Element, Node>);

/// What the set holds at and below one path. Never empty: either owned or with something below.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Node {
    owned: bool,
    below: FieldSet,
}

impl FieldSet {
    /// The set without a path.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether no path is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a path; the object itself (the empty path) is never a member.
    pub fn insert(&mut self, path: &Path) {
        self.insert_elements(path.elements());
    }

    fn insert_elements(&mut self, elements: &[Element]) {
        let Some((first, rest)) = elements.split_first() else { return };
        let node = self.0.entry(first.clone()).or_default();
        match rest {
            [] => node.owned = true,
            rest => node.below.insert_elements(rest),
        }
    }

    /// What is below one element; the way down the tree.
    pub(super) fn child(&self, element: &Element) -> Option<&FieldSet> {
        self.0.get(element).map(|node| &node.below)
    }

    /// The elements right below, whether the set owns each one itself, and what is below each.
    pub(super) fn children(&self) -> impl Iterator<Item = (&Element, bool, &FieldSet)> {
        self.0.iter().map(|(element, node)| (element, node.owned, &node.below))
    }

    /// Puts a whole subtree under an element that is not there yet.
    pub(super) fn graft(&mut self, element: Element, owned: bool, below: FieldSet) {
        if owned || !below.is_empty() {
            self.0.insert(element, Node { owned, below });
        }
    }

    fn node(&self, path: &Path) -> Option<&Node> {
        let (last, way) = path.elements().split_last()?;
        let set = way.iter().try_fold(self, |set, element| set.child(element))?;
        set.0.get(last)
    }

    /// Whether the path itself is in the set.
    pub fn contains(&self, path: &Path) -> bool {
        self.node(path).is_some_and(|node| node.owned)
    }

    /// Whether a path strictly below this one is in the set.
    pub fn has_below(&self, path: &Path) -> bool {
        match path.is_root() {
            true => !self.is_empty(),
            false => self.node(path).is_some_and(|node| !node.below.is_empty()),
        }
    }

    /// Whether whoever owns this set has a say in the value at `path`: the set has the path, one
    /// below it, or one above it that stands for a whole value.
    ///
    /// `shape` is all that is known of what lies inside of what ([`shape`](super::shape)): where it
    /// has paths below, the same path in this set means presence only.
    pub fn touches(&self, path: &Path, shape: &Self) -> bool {
        let (mut set, mut shape, mut way) = (self, Some(shape), Path::default());
        for (depth, element) in path.elements().iter().enumerate() {
            way = way.join(element.clone());
            let Some(node) = set.0.get(element) else { return false };
            shape = shape.and_then(|shape| shape.child(element));
            if node.below.is_empty() {
                let is_whole = shape.is_none_or(FieldSet::is_empty) && !way.is_taken_apart();
                return is_whole || depth + 1 == path.elements().len();
            }
            set = &node.below;
        }
        !set.is_empty()
    }

    /// All paths of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.extend(other);
        all
    }

    /// Adds all paths of another set.
    pub fn extend(&mut self, other: &Self) {
        for (element, node) in &other.0 {
            let own = self.0.entry(element.clone()).or_default();
            own.owned |= node.owned;
            own.below.extend(&node.below);
        }
    }

    /// The paths that both have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut shared = Self::new();
        for (element, node) in &self.0 {
            if let Some(others) = other.0.get(element) {
                let below = node.below.intersection(&others.below);
                shared.graft(element.clone(), node.owned && others.owned, below);
            }
        }
        shared
    }

    /// The paths that `other` does not have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = Self::new();
        for (element, node) in &self.0 {
            let (owned, below) = match other.0.get(element) {
                None => (node.owned, node.below.clone()),
                Some(others) => (node.owned && !others.owned, node.below.difference(&others.below)),
            };
            rest.graft(element.clone(), owned, below);
        }
        rest
    }

    /// The paths that are neither `prefix` nor below it.
    #[must_use]
    pub fn without(&self, prefix: &Path) -> Self {
        let mut rest = self.clone();
        rest.remove_elements(prefix.elements());
        rest
    }

    fn remove_elements(&mut self, prefix: &[Element]) {
        let Some((first, rest)) = prefix.split_first() else {
            self.0.clear();
            return;
        };
        let Some(node) = self.0.get_mut(first) else { return };
        if !rest.is_empty() {
            node.below.remove_elements(rest);
        }
        if rest.is_empty() || (!node.owned && node.below.is_empty()) {
            self.0.remove(first);
        }
    }

    /// The paths that are `prefix` or below it.
    #[must_use]
    pub fn within(&self, prefix: &Path) -> Self {
        self.paths().into_iter().filter(|path| path.starts_with(prefix)).collect()
    }

    /// The paths for which `keep` says yes.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&Path) -> bool) -> Self {
        self.paths().into_iter().filter(|path| keep(path)).collect()
    }

    /// Every path, in order; what contains others comes before them.
    pub fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        self.collect(&Path::default(), &mut paths);
        paths
    }

    fn collect(&self, at: &Path, paths: &mut Vec<Path>) {
        for (element, node) in &self.0 {
            let path = at.join(element.clone());
            if node.owned {
                paths.push(path.clone());
            }
            node.below.collect(&path, paths);
        }
    }

    /// The member that the API server prints as `text`, with or without the dot in front.
    pub fn find(&self, text: &str) -> Option<Path> {
        let bare = |text: &str| text.strip_prefix('.').unwrap_or(text).to_owned();
        let text = bare(text);
        self.paths().into_iter().find(|path| bare(&path.to_string()) == text)
    }
}

impl FromIterator<Path> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Path>>(paths: I) -> Self {
        let mut set = Self::new();
        paths.into_iter().for_each(|path| set.insert(&path));
        set
    }
}
