//! One peer's tunnel as all threads see it. Who touches what:
//!
//! | part | written by |
//! | --- | --- |
//! | `sender` | the tunnel's worker per batch; the keeper for keys and keepalives; under its lock |
//! | `receiver` | whichever worker received, the keeper for keys; under its lock |
//! | `endpoint` | workers when the peer moved, the keeper |
//! | `device` | the keeper attaches, whoever finds it deleted takes it out |
//!
//! Locks are taken in the order receiver, sender; the others alone.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{
    clock::Millis,
    limits::{STAGED_BYTES_MAX, STAGED_PACKETS_MAX},
    message::DATA_OVERHEAD_BYTES,
    receive_keys::ReceiveKeys,
    session::{SendKey, Session},
    tun::Tun,
};

pub struct Tunnel {
    /// Names the tunnel inside this process; never used twice.
    pub id: u64,
    pub peer_id: String,
    pub mtu: AtomicUsize,
    pub activity: Activity,
    pub counters: Counters,
    sender: Mutex<Sender>,
    receiver: Mutex<ReceiveKeys>,
    endpoint: Mutex<Option<SocketAddr>>,
    device: RwLock<Option<Arc<Tun>>>,
    device_name: Mutex<String>,
}

#[derive(Default)]
pub struct Sender {
    pub key: Option<SendKey>,
    pub staged: Staged,
    /// The tunnel is no more; what a worker was just doing must not bring a key back.
    is_closed: bool,
}

/// Packets, vnet header included, that wait for a session. The oldest make room.
#[derive(Default)]
pub struct Staged {
    packets: VecDeque<Box<[u8]>>,
    bytes: usize,
}

/// What the timers go by. Times are [`Millis`], 0 for "not".
#[derive(Default)]
pub struct Activity {
    /// Any packet of the peer's that was proven, and any sent to it.
    received_at: AtomicU64,
    sent_at: AtomicU64,
    /// First data sent since anything was received; first data received since anything was sent.
    unanswered_since: AtomicU64,
    unacknowledged_since: AtomicU64,
    handshake_wanted: AtomicBool,
}

#[derive(Default)]
pub struct Counters {
    pub handshake_at_ms: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub packets_in: AtomicU64,
    pub packets_out: AtomicU64,
    pub dropped: AtomicU64,
}

impl Tunnel {
    pub fn new(id: u64, peer_id: String, device_name: String, mtu: usize) -> Self {
        Self {
            id,
            peer_id,
            mtu: AtomicUsize::new(mtu),
            activity: Activity::default(),
            counters: Counters::default(),
            sender: Mutex::default(),
            receiver: Mutex::default(),
            endpoint: Mutex::default(),
            device: RwLock::default(),
            device_name: Mutex::new(device_name),
        }
    }

    pub fn sender(&self) -> MutexGuard<'_, Sender> {
        lock(&self.sender)
    }

    pub fn receiver(&self) -> MutexGuard<'_, ReceiveKeys> {
        lock(&self.receiver)
    }

    pub fn endpoint(&self) -> Option<SocketAddr> {
        *lock(&self.endpoint)
    }

    pub fn set_endpoint(&self, endpoint: Option<SocketAddr>) {
        *lock(&self.endpoint) = endpoint;
    }

    pub fn device(&self) -> Option<Arc<Tun>> {
        self.device.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_device(&self, device: Option<Arc<Tun>>) {
        *self.device.write().unwrap_or_else(PoisonError::into_inner) = device;
    }

    pub fn device_name(&self) -> String {
        lock(&self.device_name).clone()
    }

    pub fn set_device_name(&self, name: &str) {
        *lock(&self.device_name) = name.to_owned();
    }

    /// Takes a session that this side asked for into use. Returns the index of a key that had to go.
    pub fn begin_as_initiator(&self, session: Session) -> Option<u32> {
        // Both locks at once: an older session that a worker has just seen confirmed must not take this one's place.
        let mut receiver = self.receiver();
        let (key, gone) = receiver.begin_as_initiator(session);
        self.sender().set_key(key);
        gone
    }

    /// Ends the tunnel: forgets every key and packet, for good. Returns the indices that named its sessions.
    pub fn close(&self) -> Vec<u32> {
        let gone = self.receiver().clear();
        let mut sender = self.sender();
        sender.is_closed = true;
        sender.key = None;
        sender.staged.clear();
        gone
    }

    pub fn drop_packets(&self, count: usize) {
        self.counters.dropped.fetch_add(count as u64, Relaxed);
    }

    /// Bytes of the data message that carries a packet: padded to 16, but not beyond the tunnel's MTU.
    #[inline]
    pub fn message_length(packet: usize, mtu: usize) -> usize {
        let padded = packet.next_multiple_of(16);
        let padded = if padded > mtu { packet.max(mtu) } else { padded };
        padded + DATA_OVERHEAD_BYTES
    }
}

impl Sender {
    /// Sends under this from now on.
    pub fn set_key(&mut self, key: SendKey) {
        if !self.is_closed {
            self.key = Some(key);
        }
    }
}

impl Staged {
    /// Keeps a copy. Returns how many older ones made room, itself included when it is too large.
    pub fn push(&mut self, packet: &[u8]) -> usize {
        let mut dropped = 0;
        if packet.len() > STAGED_BYTES_MAX {
            return 1;
        }
        while self.packets.len() == STAGED_PACKETS_MAX || self.bytes + packet.len() > STAGED_BYTES_MAX {
            self.pop();
            dropped += 1;
        }
        self.bytes += packet.len();
        self.packets.push_back(packet.into());
        dropped
    }

    pub fn pop(&mut self) -> Option<Box<[u8]>> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.len();
        Some(packet)
    }

    pub fn clear(&mut self) -> usize {
        let count = self.packets.len();
        *self = Self::default();
        count
    }
}

impl Activity {
    pub fn sent(&self, is_data: bool, now: Millis) {
        self.sent_at.store(now, Relaxed);
        self.unacknowledged_since.store(0, Relaxed);
        if is_data && self.unanswered_since.load(Relaxed) == 0 {
            self.unanswered_since.store(now, Relaxed);
        }
    }

    pub fn received(&self, is_data: bool, now: Millis) {
        self.received_at.store(now, Relaxed);
        self.unanswered_since.store(0, Relaxed);
        if is_data && self.unacknowledged_since.load(Relaxed) == 0 {
            self.unacknowledged_since.store(now, Relaxed);
        }
    }

    /// True: nobody has said so since the last handshake.
    pub fn want_handshake(&self) -> bool {
        !self.handshake_wanted.load(Relaxed) && !self.handshake_wanted.swap(true, Relaxed)
    }

    pub fn wants_handshake(&self) -> bool {
        self.handshake_wanted.load(Relaxed)
    }

    /// A handshake ended, well or not: begin anew.
    pub fn handshake_ended(&self) {
        self.handshake_wanted.store(false, Relaxed);
        self.unanswered_since.store(0, Relaxed);
    }

    pub fn received_at(&self) -> Millis {
        self.received_at.load(Relaxed)
    }

    /// Last packet in either direction.
    pub fn last(&self) -> Millis {
        self.received_at().max(self.sent_at.load(Relaxed))
    }

    pub fn is_unanswered_for(&self, time: Millis, now: Millis) -> bool {
        is_due(self.unanswered_since.load(Relaxed), time, now)
    }

    pub fn is_unacknowledged_for(&self, time: Millis, now: Millis) -> bool {
        is_due(self.unacknowledged_since.load(Relaxed), time, now)
    }
}

fn is_due(since: Millis, time: Millis, now: Millis) -> bool {
    since != 0 && now.saturating_sub(since) >= time
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the whole engine, so no lock is ever seen poisoned.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_the_oldest_go_first() {
        let mut staged = Staged::default();
        for number in 0..STAGED_PACKETS_MAX + 3 {
            let dropped = staged.push(&[number as u8]);
            assert_eq!(dropped, usize::from(number >= STAGED_PACKETS_MAX));
        }
        assert_eq!(staged.pop().as_deref(), Some(&[3][..]));
        assert_eq!(staged.push(&vec![0; STAGED_BYTES_MAX]), STAGED_PACKETS_MAX - 1);
        assert_eq!(staged.push(&vec![0; STAGED_BYTES_MAX + 1]), 1);
        assert_eq!(staged.clear(), 1);
    }

    #[test]
    fn padding_stops_at_the_mtu() {
        let plain = |packet| Tunnel::message_length(packet, 1420) - DATA_OVERHEAD_BYTES;
        assert_eq!(
            [plain(0), plain(1), plain(16), plain(1408), plain(1409), plain(1420), plain(1500)],
            [0, 16, 16, 1408, 1420, 1420, 1500]
        );
    }

    #[test]
    fn only_data_asks_for_an_answer() {
        let activity = Activity::default();
        activity.sent(false, 5);
        assert!(!activity.is_unanswered_for(10, 1000));
        activity.sent(true, 5);
        activity.sent(true, 900);
        assert!(activity.is_unanswered_for(10, 1000), "counted from the first");
        activity.received(true, 950);
        assert!(!activity.is_unanswered_for(10, 1000) && activity.is_unacknowledged_for(50, 1000));
    }
}
