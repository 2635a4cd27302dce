//! What a worker keeps for its conversations: who is who, what is due when, and who has to be looked at.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::IoSliceMut,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use quinn_udp::RecvMeta;
use rustc_hash::FxHashMap;

use super::{relay::Relays, udp::Udp};
use crate::{
    limits::{GONE_PER_SECOND, HANDSHAKES_PER_SECOND},
    slots::Key,
};

/// Conversations to be looked at before the worker sleeps.
#[derive(Clone, Default)]
pub struct Agenda(Arc<Mutex<Vec<Key>>>);

impl Agenda {
    pub fn put(&self, key: Key) {
        self.keys().push(key);
    }

    pub fn is_empty(&self) -> bool {
        self.keys().is_empty()
    }

    fn take(&self, into: &mut Vec<Key>) {
        into.clear();
        std::mem::swap(&mut *self.keys(), into);
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, Vec<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Desk {
    /// This worker's number: the first byte of the ids that it gives out.
    pub index: u8,
    pub agenda: Agenda,
    pub door: Option<Arc<Udp>>,
    pub relays: Relays,
    /// Conversations that others have begun, by the id that we gave them.
    pub ids: FxHashMap<u64, Key>,
    /// Those whose hello was answered and that have not said anything authentic yet, with the answer.
    pub answered: FxHashMap<(SocketAddr, u64), (Key, Vec<u8>)>,
    pub handshakes: PerSecond,
    pub gone: PerSecond,
    timers: BinaryHeap<Reverse<(Instant, Key)>>,
    due: Vec<Key>,
    pub inbox: Inbox,
    pub scratch: Vec<u8>,
}

impl Desk {
    pub fn new(index: u8, now: Instant) -> Self {
        Self {
            index,
            agenda: Agenda::default(),
            door: None,
            relays: Relays::default(),
            ids: FxHashMap::default(),
            answered: FxHashMap::default(),
            handshakes: PerSecond::new(HANDSHAKES_PER_SECOND, now),
            gone: PerSecond::new(GONE_PER_SECOND, now),
            timers: BinaryHeap::new(),
            due: Vec::new(),
            inbox: Inbox::default(),
            scratch: Vec::new(),
        }
    }

    /// An id for a conversation of this worker: its number, then chance.
    pub fn new_id(&self) -> u64 {
        let mut id = [0; 8];
        let _ = getrandom::fill(&mut id);
        id[0] = self.index;
        u64::from_le_bytes(id)
    }

    pub fn remind(&mut self, key: Key, at: Instant) {
        self.timers.push(Reverse((at, key)));
    }

    /// The conversations to look at now.
    pub fn take_due(&mut self, now: Instant) -> Vec<Key> {
        let mut due = std::mem::take(&mut self.due);
        self.agenda.take(&mut due);
        while let Some(Reverse((_, key))) = self.timers.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.timers.pop();
            due.push(key);
        }
        due
    }

    pub fn give_back(&mut self, due: Vec<Key>) {
        self.due = due;
    }

    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.agenda.is_empty() { self.timers.peek().map(|Reverse((at, _))| *at) } else { Some(now) }
    }
}

/// So many of something in a second, and no more.
pub struct PerSecond {
    most: u32,
    left: u32,
    since: Instant,
}

impl PerSecond {
    fn new(most: u32, now: Instant) -> Self {
        Self { most, left: most, since: now }
    }

    pub fn take(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since).as_secs() >= 1 {
            (self.left, self.since) = (self.most, now);
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// Where datagrams arrive: several calls' worth, each with several datagrams that the kernel has put together. Holds
/// memory from the first use on.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    metas: Vec<RecvMeta>,
}

const BUFFERS: usize = 8;
const BUFFER_BYTES: usize = 64 << 10;

impl Inbox {
    /// Takes what waits at a socket, up to the inbox's size. `each` gets every datagram, where it is from, where it came to.
    pub fn take(
        &mut self,
        socket: &Udp,
        mut each: impl FnMut(&mut [u8], SocketAddr, Option<IpAddr>),
    ) -> std::io::Result<()> {
        self.bytes.resize(BUFFERS * BUFFER_BYTES, 0);
        self.metas.resize(BUFFERS, RecvMeta::default());
        let mut buffers = self.bytes.chunks_exact_mut(BUFFER_BYTES);
        let mut slices: [IoSliceMut; BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(buffers.next().unwrap_or_default()));
        let count = socket.recv(&mut slices, &mut self.metas)?;
        for (slice, meta) in slices.iter_mut().zip(&self.metas[..count]) {
            let from = SocketAddr::new(meta.addr.ip(), meta.addr.port());
            for datagram in slice[..meta.len].chunks_mut(meta.stride.max(1)) {
                each(datagram, from, meta.dst_ip);
            }
        }
        Ok(())
    }
}
