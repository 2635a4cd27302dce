//! How a carrier of ours is made.
//!
//! 1. Connect to the address that the pool names.
//! 2. Greet: hello out, answer in, READY out (`handshake`).
//! 3. It works: the peer is up, the pool remembers the address, a waiting flow gets the carrier.
//! 4. It does not: the next address, or a pause; with no carrier left the peer is down and its waiting flows are reset, unless
//!    it worked a moment ago.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    carrier::{Carrier, Phase},
    endpoint::Endpoint,
    handshake::{ANSWER_BYTES, Initiator},
    link::Link,
    peer::Peer,
    reason::Reason,
    slots::{Key, Token},
    state::Transport,
    worker::Worker,
};

impl Worker {
    /// Makes what the pools want.
    pub fn fill_pools(&mut self) {
        let mut wanted = Vec::new();
        for pool in self.pools.values_mut() {
            while let Some(address) = pool.next_address(self.now) {
                wanted.push((pool.peer.clone(), address));
            }
        }
        for (peer, address) in wanted {
            if peer.transport == Transport::Kcp {
                self.call(&peer, address);
                continue;
            }
            match crate::dial::carrier(address, self.config.bypass_mark) {
                Ok(fd) => {
                    let key = self.carriers.insert_with(|_| {
                        let link = Link::Tcp(Endpoint::new(fd));
                        Carrier::new(link, Phase::Connecting, true, Some(peer.clone()), address, self.now)
                    });
                    if self.watch_carrier(key).is_err() {
                        self.lose_carrier(key, "out of file descriptors");
                    }
                }
                Err(error) => self.connect_failed(&peer, address, &error.to_string()),
            }
        }
    }

    /// Lets epoll tell of a carrier's TCP connection.
    pub fn watch_carrier(&self, key: Key) -> rustix::io::Result<()> {
        match self.carriers.get(key).map(|carrier| &carrier.link) {
            Some(Link::Tcp(endpoint)) => self.watch(endpoint, Token::Carrier(key)),
            _ => Ok(()),
        }
    }

    /// The TCP connection stands or has failed: greet.
    pub fn greet(&mut self, key: Key) {
        let config = self.config.clone();
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        if let Some(error) = carrier.link.error() {
            return self.lose_carrier(key, &error.to_string());
        }
        let Link::Tcp(endpoint) = &carrier.link else { return };
        // As it is known now, since its keys may have changed while the connection was made.
        let peer = carrier.peer.as_ref().filter(|_| endpoint.writable).and_then(|peer| config.peers.get(&peer.id));
        let Some(peer) = peer.cloned() else { return };
        let own = config.keys.towards(&peer).private();
        match Initiator::start(own, &config.self_id, &peer.id, &peer.public_key, self.shared.fast_aes) {
            Ok((initiator, hello)) => {
                carrier.pair = Some(config.keys.pair_towards(&peer));
                carrier.enter(Phase::Greeting(Some(Box::new(initiator))), carrier.since);
                if let Err(broken) = carrier.send(&hello) {
                    self.lose_carrier(key, &broken.0);
                }
            }
            Err(error) => self.lose_carrier(key, &error.to_string()),
        }
    }

    /// Reads the responder's answer.
    pub fn hear_answer(&mut self, key: Key) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        let mut answer = [0; ANSWER_BYTES];
        let kept = carrier.partial.len();
        answer[..kept].copy_from_slice(&carrier.partial);
        match carrier.link.read(&mut answer[kept..], self.now) {
            Ok(None) => return,
            Ok(Some(0)) => {
                return self
                    .lose_carrier(key, "the peer refused the handshake; it may not know this host, or its key, yet");
            }
            Err(error) => return self.lose_carrier(key, &error.to_string()),
            Ok(Some(length)) if kept + length < ANSWER_BYTES => {
                carrier.partial = answer[..kept + length].to_vec();
                return;
            }
            Ok(Some(_)) => carrier.partial = Vec::new(),
        }
        let Phase::Greeting(initiator) = &mut carrier.phase else { return };
        let Some(initiator) = initiator.take() else { return };
        match initiator.finish(&answer) {
            Err(refusal) => self.lose_carrier(key, refusal.word()),
            Ok(keys) => {
                carrier.keys = Some(keys);
                match carrier.say_ready() {
                    Ok(()) => self.made(key),
                    Err(broken) => self.lose_carrier(key, &broken.0),
                }
            }
        }
    }

    /// A new carrier works.
    pub fn made(&mut self, key: Key) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        let (Some(peer), address) = (carrier.peer.clone(), carrier.address) else { return };
        carrier.made = self.now;
        carrier.enter(Phase::Idle, self.now);
        peer.up(address, &self.shared.events);
        match self.pool(&peer) {
            Some(pool) => pool.succeeded(address),
            None => return self.close_carrier(key),
        }
        self.offer(key);
    }

    pub fn connect_failed(&mut self, peer: &Arc<Peer>, address: SocketAddr, error: &str) {
        let (now, unit) = (self.now, self.random_unit());
        let Some(pool) = self.pools.get_mut(&peer.road()) else { return };
        if !pool.failed(address, now) {
            return;
        }
        let pause = pool.pause(unit, now);
        let peer = pool.peer.clone();
        control::log::debug(
            "no address of a peer answers",
            &[("peer_id", &peer.id), ("error", &error), ("pause_ms", &pause.as_millis())],
        );
        peer.down(Some(address), error, &self.shared.events);
        // Whoever waits on a carrier to this peer should look whether it is gone for them, too: what the own host cannot
        // even send counts as nothing unacknowledged.
        peer.health.suspicions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if pool.others_work() || pool.may_be_back_soon(now) {
            // Others work; this was a crowd at the door. Or its engine starts again.
            return;
        }
        let waiting = pool.take_waiting();
        for flow in waiting {
            self.reset_flow(flow, Reason::PeerDown);
        }
    }
}
