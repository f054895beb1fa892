//! Things numbered by their value, so that states are small and equal things are one.

use std::{hash::Hash, sync::Arc};

use rustc_hash::FxHashMap;

/// Distinct things in the order in which they came.
#[derive(Debug)]
pub(super) struct Interned<T> {
    numbers: FxHashMap<Arc<T>, u32>,
    things: Vec<Arc<T>>,
}

impl<T: Eq + Hash> Interned<T> {
    pub(super) fn new() -> Self {
        Self { numbers: FxHashMap::default(), things: Vec::new() }
    }

    pub(super) fn number(&mut self, thing: T) -> u32 {
        if let Some(number) = self.numbers.get(&thing) {
            return *number;
        }
        let number = u32::try_from(self.things.len()).expect("the cap on states is far below");
        let thing = Arc::new(thing);
        self.things.push(thing.clone());
        self.numbers.insert(thing, number);
        number
    }

    pub(super) fn of(&self, number: u32) -> Arc<T> {
        self.things[number as usize].clone()
    }

    pub(super) fn count(&self) -> usize {
        self.things.len()
    }
}

/// Answers that are worked out again if they are asked for after a long time: a search goes from
/// states to their neighbours, and what is asked is mostly what was asked lately.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    lately: FxHashMap<K, V>,
    earlier: FxHashMap<K, V>,
    /// How many each of the two holds at most.
    most: usize,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { lately: FxHashMap::default(), earlier: FxHashMap::default(), most }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.lately.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.earlier.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.lately.len() == self.most {
            self.earlier = std::mem::take(&mut self.lately);
        }
        self.lately.insert(key, value);
    }
}
