//! A hash map that is never changed once others have it: a copy shares all but what it changes. The entries are spread over
//! small maps, and only the one that an entry is in is copied, so one of 10,000 costs as much as one of 100.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use rustc_hash::{FxBuildHasher, FxHashMap};

/// Entries per part at which there get to be twice as many parts.
const ENTRIES_MAX: usize = 96;

#[derive(Debug)]
pub struct Shards<K, V> {
    /// As many as a power of two.
    parts: Vec<Arc<FxHashMap<K, V>>>,
    length: usize,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self { parts: vec![Arc::default()], length: 0 }
    }
}

impl<K, V> Clone for Shards<K, V> {
    fn clone(&self) -> Self {
        Self { parts: self.parts.clone(), length: self.length }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Shards<K, V> {
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.parts[self.place(key)].get(key)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(|part| part.values())
    }

    /// The value that was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.length >= self.parts.len() * ENTRIES_MAX {
            self.split();
        }
        let place = self.place(&key);
        let before = Arc::make_mut(&mut self.parts[place]).insert(key, value);
        self.length += usize::from(before.is_none());
        before
    }

    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key);
        if !self.parts[place].contains_key(key) {
            return None;
        }
        self.length -= 1;
        Arc::make_mut(&mut self.parts[place]).remove(key)
    }

    /// By other bits of the hash than those that place an entry in its part, of the lower 26, which are the good ones.
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        (FxBuildHasher.hash_one(key) >> 10) as usize & (self.parts.len() - 1)
    }

    fn split(&mut self) {
        let mut wider = Self { parts: vec![Arc::default(); self.parts.len() * 2], length: self.length };
        for part in &self.parts {
            for (key, value) in part.iter() {
                let place = wider.place(key);
                Arc::make_mut(&mut wider.parts[place]).insert(key.clone(), value.clone());
            }
        }
        *self = wider;
    }
}

impl<K: Eq + Hash + Clone, V: Clone> FromIterator<(K, V)> for Shards<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut shards = Self::default();
        for (key, value) in entries {
            shards.insert(key, value);
        }
        shards
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_map_and_copies_stay_as_they_were(
            steps in proptest::collection::vec((0u16..600, proptest::option::of(any::<u8>())), 0..900)
        ) {
            let (mut shards, mut model) = (Shards::default(), HashMap::new());
            let mut copies = Vec::new();
            for (number, (key, value)) in steps.into_iter().enumerate() {
                let (before, expected) = match value {
                    Some(value) => (shards.insert(key, value), model.insert(key, value)),
                    None => (shards.remove(&key), model.remove(&key)),
                };
                prop_assert_eq!(before, expected);
                if number % 100 == 0 {
                    copies.push((shards.clone(), model.clone()));
                }
            }
            copies.push((shards, model));
            for (shards, model) in &copies {
                prop_assert_eq!((shards.length, shards.is_empty()), (model.len(), model.is_empty()));
                prop_assert!((0..600).all(|key| shards.get(&key) == model.get(&key)));
                let (mut values, mut expected): (Vec<_>, Vec<_>) = (shards.values().collect(), model.values().collect());
                values.sort();
                expected.sort();
                prop_assert_eq!(values, expected);
            }
        }
    }

    #[test]
    fn a_change_leaves_nearly_everything_shared() {
        let before: Shards<u32, u32> = (0..10_000).map(|number| (number, number)).collect();
        let mut after = before.clone();
        after.insert(77, 0);
        let shared = before.parts.iter().zip(&after.parts).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, before.parts.len() - 1);
    }

    #[test]
    fn networks_and_names_are_spread_evenly() {
        fn largest<K: Eq + Hash + Clone>(keys: impl Iterator<Item = K>) -> usize {
            let shards: Shards<K, ()> = keys.map(|key| (key, ())).collect();
            shards.parts.iter().map(|part| part.len()).max().unwrap_or(0)
        }
        let networks = largest((0..10_000u128).map(|number| (0u128, (10 << 120) | (number << 104))));
        let names = largest((0..10_000).map(|number| Arc::<str>::from(format!("01J{number:023}"))));
        assert!(networks < 2 * ENTRIES_MAX && names < 2 * ENTRIES_MAX, "{networks} {names}");
    }
}
