//! One service as the workers see it: who it is, what it has carried, how fast it may be.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};

use crate::{
    limiter::Bucket,
    return_path::{Lost, ReturnPath},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Here clients are intercepted.
    Source,
    /// Here destinations are dialled.
    Target,
}

/// Lives as long as the service is in the state, across generations, and with its last flow.
#[derive(Debug)]
pub struct Service {
    pub id: Arc<str>,
    pub side: Side,
    pub counters: Counters,
    /// What this side reads: from the clients at the source, from the destinations at the target.
    pub bucket: Bucket,
    /// Of a fully transparent service at its target.
    pub return_path: ReturnPath,
}

#[derive(Debug, Default)]
pub struct Counters {
    pub flows: AtomicU64,
    pub flows_total: AtomicU64,
    /// Payload from the clients towards the destinations.
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

#[derive(Debug, Serialize)]
pub struct ServiceStats {
    pub service_id: Arc<str>,
    pub side: Side,
    pub flows: u64,
    pub flows_total: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Whose answers were last seen to take another way than through this host; None: nobody's.
    pub return_path_lost: Option<Lost>,
}

impl Service {
    pub fn new(id: Arc<str>, side: Side) -> Self {
        Self { id, side, counters: Counters::default(), bucket: Bucket::default(), return_path: ReturnPath::default() }
    }

    pub fn stats(&self) -> ServiceStats {
        ServiceStats {
            service_id: self.id.clone(),
            side: self.side,
            flows: self.counters.flows.load(Relaxed),
            flows_total: self.counters.flows_total.load(Relaxed),
            bytes_in: self.counters.bytes_in.load(Relaxed),
            bytes_out: self.counters.bytes_out.load(Relaxed),
            return_path_lost: self.return_path.lost(),
        }
    }
}
