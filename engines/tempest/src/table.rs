//! From the index in a message to the tunnel whose session it names.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::tunnel::Tunnel;

#[derive(Default)]
pub struct Table(RwLock<HashMap<u32, Arc<Tunnel>>>);

impl Table {
    pub fn get(&self, index: u32) -> Option<Arc<Tunnel>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&index).cloned()
    }

    pub fn contains(&self, index: u32) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(&index)
    }

    pub fn insert(&self, index: u32, tunnel: &Arc<Tunnel>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(index, tunnel.clone());
    }

    pub fn remove(&self, indices: &[u32]) {
        if indices.is_empty() {
            return;
        }
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for index in indices {
            table.remove(index);
        }
    }
}
