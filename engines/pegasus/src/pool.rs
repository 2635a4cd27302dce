//! Warm carriers to one peer, on one worker: connected and handshaken before a flow needs one. The number follows the
//! demand; a peer that fails is tried again with growing, jittered pauses.
//!
//! ```text
//! unproven ─(an address answers)→ proven ─(a connection fails)→ unproven
//!     └─(every address has failed)→ down ─(pause over)→ unproven
//! ```
//! Flows are reset at once while it is down, until an address answers, but not in the first seconds of a pool or after carriers
//! that worked were lost: the other engine may not know this host yet, or just be starting again.
//! Only the side that has made a carrier closes it while it is idle, so an OPEN never meets a closing carrier.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::{
    attempts::{Attempts, backoff},
    carrier::{End, Phase},
    limits::{BACKOFF_MIN, IDLE_MAX, IDLE_MIN, IDLE_SHRINK_EVERY, POOL_TICK, RESTART_GRACE, WAITING_FLOWS_MAX},
    peer::{Peer, Road},
    reason::Reason,
    slots::Key,
    worker::Worker,
};

pub struct Pool {
    pub peer: Arc<Peer>,
    idle: Vec<Key>,
    /// Idle too, but to be replaced: still used when there is no other, closed one by one as others come.
    retired: Vec<Key>,
    attempts: Attempts,
    waiting: VecDeque<Key>,
    /// How many are to be idle, and when that last grew.
    target: usize,
    grown: Instant,
    /// The fewest that were idle since `judged`.
    low: usize,
    judged: Instant,
    failures: u32,
    /// Down: nothing is tried before.
    retry_at: Option<Instant>,
    paused_at: Instant,
    /// When this began, or a carrier that worked was lost last.
    lost_at: Instant,
    closed: bool,
    /// Made ready for nobody but the flows that wait already: a successor has its own.
    winding_down: bool,
}

impl Pool {
    pub fn new(peer: Arc<Peer>, now: Instant) -> Self {
        Self {
            peer,
            idle: Vec::new(),
            retired: Vec::new(),
            attempts: Attempts::new(now),
            waiting: VecDeque::new(),
            target: IDLE_MIN,
            grown: now,
            low: IDLE_MIN,
            judged: now,
            failures: 0,
            retry_at: None,
            paused_at: now,
            lost_at: now,
            closed: false,
            winding_down: false,
        }
    }

    /// Takes over what the state says now; new addresses are tried at once.
    pub fn update(&mut self, peer: Arc<Peer>, now: Instant) {
        if self.peer.addresses != peer.addresses {
            self.attempts.list_changed(&peer.addresses, now);
            (self.failures, self.retry_at) = (0, None);
        }
        self.peer = peer;
    }

    /// Makes nothing new from now on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Whether it has to be looked at soon.
    pub fn is_waiting(&self) -> bool {
        !self.closed && (self.retry_at.is_some() || self.wanted() > 0)
    }

    /// The address to connect to now, if there is something to do; it counts as being connected to from now on.
    pub fn next_address(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.closed || self.wanted() == 0 {
            return None;
        }
        if let Some(at) = self.retry_at {
            // Another worker has got through: so shall we, soon.
            let at = if self.others_work() { at.min(self.paused_at + BACKOFF_MIN) } else { at };
            if now < at {
                return None;
            }
        }
        self.retry_at = None;
        self.attempts.next(&self.peer.addresses, now)
    }

    /// Carriers to this peer work, here or on another worker.
    pub fn others_work(&self) -> bool {
        self.peer.health.alive.load(Relaxed) > 0
    }

    fn wanted(&self) -> usize {
        let target = if self.winding_down { 0 } else { self.target };
        let missing = (self.waiting.len() + target).saturating_sub(self.idle.len());
        self.attempts.lacking(&self.peer.addresses, missing)
    }

    fn take(&mut self, now: Instant) -> Option<Key> {
        let key = self.idle.pop().or_else(|| self.retired.pop())?;
        self.low = self.low.min(self.idle.len());
        // Demand runs ahead of what is warm. Once a tick: a burst is no reason to grow with each flow of it.
        if self.idle.len() < self.target / 2 && now.duration_since(self.grown) >= POOL_TICK {
            self.target = (self.target + self.target / 2 + 1).min(IDLE_MAX);
            self.grown = now;
        }
        Some(key)
    }

    pub fn succeeded(&mut self, address: SocketAddr) {
        self.attempts.succeeded(address);
        (self.failures, self.retry_at) = (0, None);
    }

    /// True when every address has failed.
    pub fn failed(&mut self, address: SocketAddr, now: Instant) -> bool {
        self.attempts.failed(address, &self.peer.addresses, now)
    }

    pub fn pause(&mut self, unit: f64, now: Instant) -> Duration {
        let whole = backoff(self.failures);
        let whole = if self.may_be_back_soon(now) { BACKOFF_MIN } else { whole };
        let pause = whole / 2 + whole.mul_f64(unit / 2.0);
        self.failures += 1;
        self.attempts.begin_anew(now);
        self.paused_at = now;
        self.retry_at = Some(now + pause);
        pause
    }

    /// The peer worked, or was new, a moment ago.
    pub fn may_be_back_soon(&self, now: Instant) -> bool {
        now.duration_since(self.lost_at) < RESTART_GRACE
    }

    /// No address has answered since all of them failed: nobody should wait for one that does.
    pub fn is_hopeless(&self, now: Instant) -> bool {
        self.failures > 0 && !self.others_work() && !self.may_be_back_soon(now)
    }

    pub fn note_loss(&mut self, now: Instant) {
        self.lost_at = now;
    }

    /// The flows that waited, when waiting has become hopeless.
    pub fn take_waiting(&mut self) -> VecDeque<Key> {
        std::mem::take(&mut self.waiting)
    }

    /// How many idle ones to close now: half of what was never needed for a while.
    fn surplus(&mut self, now: Instant) -> usize {
        if now.duration_since(self.judged) < IDLE_SHRINK_EVERY {
            return 0;
        }
        self.judged = now;
        let unneeded = std::mem::replace(&mut self.low, self.idle.len());
        self.target = (self.target - self.target.min(unneeded) / 2).max(IDLE_MIN);
        self.idle.len().saturating_sub(self.target).min(unneeded.div_ceil(2))
    }
}

impl Worker {
    /// The pool of carriers to this peer by this peer's transport.
    pub fn pool(&mut self, peer: &Peer) -> Option<&mut Pool> {
        self.pools.get_mut(&peer.road())
    }

    /// A warm carrier to this peer, if there is one.
    pub fn take_warm(&mut self, peer: &Peer) -> Option<Key> {
        let now = self.now;
        self.pool(peer)?.take(now)
    }

    /// The flow waits for a carrier in the making, or is reset when that is hopeless.
    pub fn wait_for_carrier(&mut self, flow: Key, peer: &Peer) {
        let now = self.now;
        let Some(pool) = self.pool(peer) else { return self.reset_flow(flow, Reason::PeerUnknown) };
        let refused = pool.is_hopeless(now) || pool.waiting.len() >= WAITING_FLOWS_MAX;
        if pool.closed || refused || pool.peer.addresses.is_empty() {
            return self.reset_flow(flow, Reason::PeerDown);
        }
        pool.waiting.push_back(flow);
        // As many again as wait now: the next burst finds them warm.
        pool.target = pool.target.max(pool.waiting.len()).min(IDLE_MAX);
    }

    /// Resets what has waited for a peer that is down after all.
    pub fn sweep_pools(&mut self) {
        let now = self.now;
        let hopeless = self.pools.values_mut().filter(|pool| pool.is_hopeless(now));
        let waiting: Vec<Key> = hopeless.flat_map(Pool::take_waiting).collect();
        for flow in waiting {
            self.reset_flow(flow, Reason::PeerDown);
        }
    }

    /// A carrier of ours has become free: for a flow that waits, else for the pool.
    pub fn offer(&mut self, key: Key) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        carrier.flow = None;
        carrier.sent = End::Open;
        carrier.received = End::Open;
        if !matches!(carrier.phase, Phase::Idle) {
            carrier.enter(Phase::Idle, now);
        }
        let worn = carrier.is_worn(now);
        let Some(pool) = carrier.peer.as_ref().and_then(|peer| self.pools.get_mut(&peer.road())) else {
            return self.close_carrier(key);
        };
        if worn || pool.closed {
            return self.close_carrier(key);
        }
        let winding_down = pool.winding_down;
        while let Some(flow) = pool.waiting.pop_front() {
            if self.flows.get(flow).is_some() {
                return self.open_flow(flow, key);
            }
        }
        if winding_down {
            return self.close_carrier(key);
        }
        pool.idle.push(key);
        if let Some(old) = pool.retired.pop() {
            self.close_carrier(old);
        }
    }

    /// An idle carrier of ours is gone.
    pub fn forget_idle(&mut self, peer: &Peer, key: Key) {
        if let Some(pool) = self.pool(peer) {
            pool.idle.retain(|idle| *idle != key);
            pool.retired.retain(|idle| *idle != key);
        }
    }

    /// A carrier of ours is to be replaced without a flow noticing: after its flow, or when another has come.
    pub fn retire_carrier(&mut self, key: Key) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        carrier.retired = true;
        if let (Phase::Idle, Some(peer)) = (&carrier.phase, carrier.peer.clone())
            && let Some(pool) = self.pool(&peer)
            && let Some(at) = pool.idle.iter().position(|idle| *idle == key)
        {
            pool.idle.swap_remove(at);
            pool.retired.push(key);
        }
    }

    /// Closes carriers that were not needed for a while, and such as are worn out.
    pub fn shrink_pools(&mut self) {
        let mut close = Vec::new();
        for pool in self.pools.values_mut() {
            let surplus = pool.surplus(self.now);
            close.extend(pool.idle.drain(..surplus.min(pool.idle.len())));
            if pool.idle.len() >= pool.target {
                close.append(&mut pool.retired);
            }
            let worn = |key: &Key| self.carriers.get(*key).is_none_or(|carrier| carrier.is_worn(self.now));
            close.extend(pool.idle.extract_if(.., |key| worn(key)));
        }
        for key in close {
            self.close_carrier(key);
        }
    }

    /// Nothing is kept warm any more; flows that wait get theirs.
    pub fn wind_pools_down(&mut self) {
        let mut close = Vec::new();
        for pool in self.pools.values_mut() {
            pool.winding_down = true;
            close.append(&mut pool.idle);
            close.append(&mut pool.retired);
        }
        for key in close {
            self.close_carrier(key);
        }
    }

    /// After a new state: pools for the peers of our services, and for nobody else.
    pub fn adjust_pools(&mut self) {
        let config = self.config.clone();
        let wanted: Vec<&Arc<Peer>> =
            config.roads.keys().filter_map(|(transport, peer_id)| config.peer(*transport, peer_id)).collect();
        let winding_down = self.is_leaving();
        for peer in &wanted {
            let pool = self.pools.entry(peer.road()).or_insert_with(|| Pool::new((*peer).clone(), self.now));
            pool.update((*peer).clone(), self.now);
            pool.winding_down = winding_down;
        }
        let gone: Vec<Road> =
            self.pools.keys().filter(|road| !wanted.iter().any(|peer| peer.road() == **road)).cloned().collect();
        for road in gone {
            let Some(pool) = self.pools.remove(&road) else { continue };
            for key in pool.idle.into_iter().chain(pool.retired) {
                self.close_carrier(key);
            }
            for flow in pool.waiting {
                self.wait_elsewhere(flow);
            }
        }
    }

    /// Its pool is gone while it waited: another if its service goes another way now, else its service is gone as well.
    fn wait_elsewhere(&mut self, key: Key) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let outbound = self.config.outbound.get(&flow.service.id);
        match outbound.and_then(|outbound| self.config.peer(outbound.transport, &outbound.peer_id)).cloned() {
            Some(peer) => {
                flow.peer = peer.clone();
                self.wait_for_carrier(key, &peer);
            }
            None => self.reset_flow(key, Reason::ServiceRemoved),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Transport;

    #[test]
    fn nobody_waits_for_a_peer_of_which_every_address_has_failed() {
        let address: SocketAddr = "10.9.2.2:7947".parse().unwrap();
        let mut now = Instant::now();
        let peer = Peer {
            id: "peer".into(),
            transport: Transport::Tcp,
            public_key: [0; 32],
            public_key_before: None,
            use_key_before: false,
            addresses: vec![address],
            health: Arc::default(),
        };
        let mut pool = Pool::new(Arc::new(peer), now);
        assert_eq!(pool.next_address(now), Some(address));
        assert!(pool.failed(address, now));
        pool.pause(1.0, now);
        assert!(!pool.is_hopeless(now), "it may not know us yet");
        now += RESTART_GRACE;
        assert_eq!(pool.next_address(now), Some(address));
        assert!(pool.is_hopeless(now), "also while it is tried again, which may take long");
        pool.succeeded(address);
        assert!(!pool.is_hopeless(now));
    }
}
