//! The target side's door.
//!
//! 1. Accept a connection on the data port: a stranger with a few seconds and a few bytes.
//! 2. Its hello names a peer that we know; the handshake proves it; its READY proves that it is alive.
//! 3. OPEN: the peer must own that service and one of its routes must cover the flow, else RESET with the reason.
//! 4. Dial the destination; what the client says meanwhile waits, within a bound.

use std::{io, net::SocketAddr, sync::Arc};

use rustix::net::getsockname;
use socket2::Socket;

use crate::{
    carrier::{Carrier, Phase},
    config::Inbound,
    dial::Manner,
    endpoint::Endpoint,
    flow::Flow,
    frame::Open,
    handshake::{HELLO_BYTES_MAX, Hello, Refusal, respond},
    link::Link,
    peer::Peer,
    reason::Reason,
    slots::{Key, Token},
    worker::Worker,
};

impl Worker {
    pub fn accept_stranger(&mut self, endpoint: Endpoint, from: SocketAddr) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let known = self.config.is_peer_address(from.ip());
        let Some(permit) = self.shared.gate.admit(from.ip(), known) else {
            endpoint.reset();
            return self.shared.refusals.count(None, from, "too_many_strangers", self.now);
        };
        crate::dial::keep_carrier_alive(&endpoint);
        let mut carrier = Carrier::new(Link::Tcp(endpoint), Phase::Stranger, false, None, from, self.now);
        carrier.permit = Some(permit);
        let key = self.carriers.insert(carrier);
        if self.watch_carrier(key).is_err() {
            self.carriers.remove(key);
        }
    }

    /// Reads a stranger's hello, as far as it has come.
    pub fn hear_stranger(&mut self, key: Key) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        let mut buffer = [0; HELLO_BYTES_MAX + 1];
        loop {
            let kept = carrier.partial.len();
            buffer[..kept].copy_from_slice(&carrier.partial);
            match carrier.link.read(&mut buffer[kept..], self.now) {
                Ok(Some(0)) | Err(_) => return self.refuse_stranger(key, None, "hung_up"),
                Ok(None) => return,
                Ok(Some(length)) => match Hello::decode(&buffer[..kept + length]) {
                    Ok(None) => carrier.partial = buffer[..kept + length].to_vec(),
                    Ok(Some(hello)) => return self.judge_hello(key, &hello),
                    Err(refusal) => return self.refuse_stranger(key, None, refusal.word()),
                },
            }
            if !carrier.link.is_readable() {
                return;
            }
        }
    }

    fn judge_hello(&mut self, key: Key, hello: &Hello) {
        let config = self.config.clone();
        let Some(peer) = config.peers.get(hello.peer_id) else {
            return self.refuse_stranger(key, Some(hello.peer_id), Refusal::UnknownPeer.word());
        };
        let fast_aes = self.shared.fast_aes;
        let answered =
            config.keys.respond(peer, |own, theirs| respond(hello, own.private(), &config.self_id, theirs, fast_aes));
        match answered {
            Err(refusal) => self.refuse_stranger(key, Some(hello.peer_id), refusal.word()),
            Ok(((keys, answer), pair)) => {
                let Some(carrier) = self.carriers.get_mut(key) else { return };
                carrier.peer = Some(peer.clone());
                carrier.pair = Some(pair);
                carrier.keys = Some(keys);
                carrier.partial = Vec::new();
                carrier.phase = Phase::Unproven;
                // It has read nothing yet, so its buffer takes these few bytes; if not, it is gone.
                if let Link::Tcp(endpoint) = &mut carrier.link {
                    endpoint.writable = true;
                }
                if carrier.send(&answer).is_err() {
                    self.refuse_stranger(key, None, "hung_up");
                }
            }
        }
    }

    pub fn refuse_stranger(&mut self, key: Key, peer_id: Option<&str>, reason: &'static str) {
        if let Some(carrier) = self.carriers.remove(key) {
            self.shared.refusals.count(peer_id, carrier.address, reason, self.now);
            carrier.link.reset();
        }
    }

    /// A peer opens a flow on its carrier; `speaks`: the client's first words are here as well. Err: this is not what the
    /// protocol allows.
    pub fn opened(&mut self, key: Key, open: &Open, speaks: bool) -> Result<(), &'static str> {
        let Some(carrier) = self.carriers.get_mut(key) else { return Ok(()) };
        if carrier.ours || !matches!(carrier.phase, Phase::Idle) || open.number != carrier.number.wrapping_add(1) {
            return Err("an OPEN where none may be");
        }
        let Some(peer) = carrier.peer.clone() else { return Err("an OPEN of nobody") };
        match self.authorize(&peer, open) {
            Ok(inbound) => self.dial_for(key, &peer, &inbound, open, speaks),
            Err(reason) => {
                self.shared.refusals.count(Some(&peer.id), open.destination, reason.word(), self.now);
                self.decline(key, open.number, reason);
            }
        }
        Ok(())
    }

    fn authorize(&self, peer: &Peer, open: &Open) -> Result<Arc<Inbound>, Reason> {
        if self.is_draining() {
            return Err(Reason::Drained);
        }
        // A service of somebody else is as unknown to this peer as one that does not exist.
        let inbound = self.config.inbound.get(open.service_id).filter(|inbound| inbound.peer_id == peer.id);
        let inbound = inbound.ok_or(Reason::UnknownService)?;
        let one_family = open.client.is_ipv4() == open.destination.is_ipv4();
        if !one_family || !inbound.covers(open.client, open.destination) || self.shared.own.contains(&open.destination)
        {
            return Err(Reason::NotCovered);
        }
        if open.hops <= 1 {
            return Err(Reason::HopLimit);
        }
        Ok(inbound.clone())
    }

    /// Answers an OPEN with RESET, without a flow ever having been here.
    fn decline(&mut self, key: Key, number: u32, reason: Reason) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        carrier.begin(None, number, self.now);
        self.send_reset(key, reason);
    }

    fn dial_for(&mut self, carrier_key: Key, peer: &Arc<Peer>, inbound: &Inbound, open: &Open, speaks: bool) {
        let (socket, started) = match dial(open, inbound.transparent, self.config.bypass_mark, speaks) {
            Ok(dialling) => dialling,
            Err(error) => {
                self.shared.refusals.count(Some(&peer.id), open.destination, dial_reason(&error).word(), self.now);
                return self.decline(carrier_key, open.number, dial_reason(&error));
            }
        };
        let plain = Endpoint::new(socket.into());
        let mut flow = Flow::new(plain, inbound.service.clone(), peer.clone(), open.client, open.destination, self.now);
        flow.dialling = true;
        flow.acknowledges_with_data = speaks;
        flow.carrier = Some(carrier_key);
        flow.dialled_from = getsockname(&flow.plain).ok().and_then(|from| SocketAddr::try_from(from).ok());
        let key = self.flows.insert(flow);
        if let Some(carrier) = self.carriers.get_mut(carrier_key) {
            carrier.begin(Some(key), open.number, self.now);
        }
        if let Err(error) = started {
            return self.reset_flow(key, dial_reason(&error));
        }
        let watched = self.flows.get(key).map(|flow| self.watch(&flow.plain, Token::Flow(key)));
        if !matches!(watched, Some(Ok(()))) {
            self.reset_flow(key, Reason::OutOfFiles);
        }
    }

    /// The destination has answered, or not.
    pub fn dialled(&mut self, key: Key) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        if let Some(error) = flow.plain.error() {
            let reason = dial_reason(&error);
            if reason == Reason::DestinationRefused {
                self.destination_answered(key);
            }
            return self.reset_flow(key, reason);
        }
        if !flow.plain.writable {
            return;
        }
        flow.dialling = false;
        flow.connect_ms = Some(self.now.duration_since(flow.started).as_millis() as u32);
        let carrier = flow.carrier;
        self.destination_answered(key);
        if let Some(carrier) = carrier {
            self.carry_down(carrier);
        }
        if let Some(flow) = self.flows.get_mut(key)
            && std::mem::take(&mut flow.acknowledges_with_data)
        {
            flow.plain.acknowledge_with_data(false);
        }
        self.carry_up(key);
    }
}

/// A socket that connects to the destination, from this host's own address or the client's, and whether it could
/// start to.
/// When the client has spoken, the handshake's last segment takes its words along.
fn dial(open: &Open, transparent: bool, mark: u32, speaks: bool) -> io::Result<(Socket, io::Result<()>)> {
    let manner = Manner { hops: open.hops.saturating_sub(1), speaks };
    if transparent {
        return crate::dial::connect_as(open.client, open.destination, mark, manner);
    }
    crate::dial::connect_from_any_port(open.destination, mark, Some(manner))
}

/// What the kernel's refusal means to whoever waits for the destination.
fn dial_reason(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => Reason::DestinationRefused,
        Some(libc::ETIMEDOUT) => Reason::DestinationTimeout,
        Some(libc::ECONNRESET | libc::EPIPE) => Reason::DestinationReset,
        Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => Reason::NoLocalPort,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Reason::OutOfFiles,
        _ => Reason::DestinationUnreachable,
    }
}
