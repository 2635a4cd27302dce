//! A flow as this side sees it: a client here and a carrier (source), or a carrier and a destination here (target).
//!
//! 1. Source: TPROXY accept → `outbound`. Target: OPEN on a carrier → `inbound`, which dials.
//! 2. Bytes: plain → carrier and carrier → plain, in `carriage`.
//! 3. The end of a direction is a FIN frame and a FIN. Both directions over: the carrier is free at once, the flow ends
//!    when its last bytes are delivered.
//! 4. An end at once is a RESET frame and an RST: `ending`.
//! 5. One `flow` event, here.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use control::Events;
use serde::Serialize;

use crate::{
    endpoint::{Backlog, Endpoint},
    limits::RESTART_GRACE,
    peer::Peer,
    reason::Reason,
    service::{Service, Side},
    slots::Key,
};

pub struct Flow {
    /// The client at the source, the destination at the target.
    pub plain: Endpoint,
    /// None: waits for one, or needs none any more.
    pub carrier: Option<Key>,
    pub service: Arc<Service>,
    pub peer: Arc<Peer>,
    pub client: SocketAddr,
    pub destination: SocketAddr,
    /// Of the client's first packet; see `hops`.
    pub hops: u8,
    pub dialled_from: Option<SocketAddr>,
    /// How long the destination took to answer.
    pub connect_ms: Option<u32>,
    pub dialling: bool,
    /// The dial's last segment waits for the client's words, which are here.
    pub acknowledges_with_data: bool,
    /// Plain → carrier is over.
    pub up_ended: bool,
    /// Carrier → plain is over, but for what waits in `backlog`.
    pub down_ended: bool,
    /// FIN was said to the plain side.
    finished: bool,
    /// Opened bytes that the plain side did not take.
    pub backlog: Backlog,
    /// The carrier did not keep up lately: read less.
    pub stalled: bool,
    pub queued: bool,
    /// Waits in its service's throttle.
    pub throttled: bool,
    /// What it may read there, it being its turn.
    pub granted: u32,
    pub has_keepalive: bool,
    /// Its first carrier was lost before anything was said.
    begun_again: bool,
    pub started: Instant,
    first_byte_ms: Option<u32>,
    bytes_up: u64,
    bytes_down: u64,
}

#[derive(Serialize)]
struct FlowEvent<'a> {
    side: Side,
    service_id: &'a str,
    peer_id: &'a str,
    client: SocketAddr,
    destination: SocketAddr,
    dialled_from: Option<SocketAddr>,
    dialled: Option<SocketAddr>,
    bytes_in: u64,
    bytes_out: u64,
    duration_ms: u64,
    connect_ms: Option<u32>,
    first_byte_ms: Option<u32>,
    reason: &'static str,
}

impl Flow {
    pub fn new(
        plain: Endpoint,
        service: Arc<Service>,
        peer: Arc<Peer>,
        client: SocketAddr,
        destination: SocketAddr,
        now: Instant,
    ) -> Self {
        service.counters.flows.fetch_add(1, Relaxed);
        service.counters.flows_total.fetch_add(1, Relaxed);
        Self {
            plain,
            carrier: None,
            service,
            peer,
            client,
            destination,
            hops: 0,
            dialled_from: None,
            connect_ms: None,
            dialling: false,
            acknowledges_with_data: false,
            up_ended: false,
            down_ended: false,
            finished: false,
            backlog: Backlog::default(),
            stalled: false,
            queued: false,
            throttled: false,
            granted: 0,
            has_keepalive: false,
            begun_again: false,
            started: now,
            first_byte_ms: None,
            bytes_up: 0,
            bytes_down: 0,
        }
    }

    /// Whether another carrier will do as well as the one that was lost: nothing has gone over it. Notes that it has another.
    pub fn may_begin_again(&mut self, now: Instant) -> bool {
        let silent = (self.bytes_up, self.bytes_down, self.up_ended, self.down_ended) == (0, 0, false, false);
        let young = now.duration_since(self.started) < RESTART_GRACE;
        if !silent || !young || std::mem::replace(&mut self.begun_again, true) {
            return false;
        }
        self.carrier = None;
        true
    }

    /// Dialled as the client itself.
    pub fn has_clients_address(&self) -> bool {
        self.dialled_from.is_some_and(|from| from.ip() == self.client.ip())
    }

    /// Passes the carrier's FIN on once everything before it is delivered. When the other direction is over as well, the
    /// close says it.
    pub fn finish_if_delivered(&mut self) {
        if self.down_ended && !self.up_ended && !self.finished && !self.dialling && self.backlog.is_empty() {
            self.finished = true;
            self.plain.finish();
        }
    }

    /// Counts payload that came from the plain side.
    pub fn count_up(&mut self, bytes: usize, now: Instant) {
        self.bytes_up += bytes as u64;
        if self.service.side == Side::Source {
            self.service.counters.bytes_in.fetch_add(bytes as u64, Relaxed);
        } else {
            self.service.counters.bytes_out.fetch_add(bytes as u64, Relaxed);
            self.note_first_byte(now);
        }
    }

    /// Counts payload that came from the carrier.
    pub fn count_down(&mut self, bytes: usize, now: Instant) {
        self.bytes_down += bytes as u64;
        if self.service.side == Side::Source {
            self.service.counters.bytes_out.fetch_add(bytes as u64, Relaxed);
            self.note_first_byte(now);
        } else {
            self.service.counters.bytes_in.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// Payload from the client towards the destination, and back.
    pub fn bytes(&self) -> (u64, u64) {
        match self.service.side {
            Side::Source => (self.bytes_up, self.bytes_down),
            Side::Target => (self.bytes_down, self.bytes_up),
        }
    }

    pub fn first_byte_ms(&self) -> Option<u32> {
        self.first_byte_ms
    }

    /// The first byte from the destination.
    fn note_first_byte(&mut self, now: Instant) {
        if self.first_byte_ms.is_none() {
            self.first_byte_ms = Some(now.duration_since(self.started).as_millis() as u32);
        }
    }

    /// Writes the one line that a flow leaves.
    pub fn report(&self, reason: Reason, events: &Events, now: Instant) {
        self.service.counters.flows.fetch_sub(1, Relaxed);
        let (bytes_in, bytes_out) = self.bytes();
        events.send(
            "flow",
            FlowEvent {
                side: self.service.side,
                service_id: &self.service.id,
                peer_id: &self.peer.id,
                client: self.client,
                destination: self.destination,
                dialled_from: self.dialled_from,
                dialled: (self.service.side == Side::Target && self.dialled_from.is_some()).then_some(self.destination),
                bytes_in,
                bytes_out,
                duration_ms: now.duration_since(self.started).as_millis() as u64,
                connect_ms: self.connect_ms,
                first_byte_ms: self.first_byte_ms,
                reason: reason.word(),
            },
        );
    }
}
