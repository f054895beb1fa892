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
