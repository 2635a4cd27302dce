//! What all threads of the engine hold together.

use std::sync::{Arc, RwLock};

use crate::{desk::Desk, refusals::Refusals, table::Table, timing::Timing, tunnel::Tunnel};

pub struct Shared {
    pub desk: Desk,
    pub table: Table,
    pub refusals: Refusals,
    pub timing: Timing,
    /// For counting; the keeper writes it.
    pub tunnels: RwLock<Vec<Arc<Tunnel>>>,
}

impl Shared {
    pub fn new(timing: Timing) -> Self {
        Self {
            desk: Desk::default(),
            table: Table::default(),
            refusals: Refusals::default(),
            timing,
            tunnels: RwLock::default(),
        }
    }

    pub fn want_handshake(&self, tunnel: &Tunnel) {
        if tunnel.activity.want_handshake() {
            self.desk.want_handshake(tunnel.id);
        }
    }
}
