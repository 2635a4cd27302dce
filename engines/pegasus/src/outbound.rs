//! The source side's door.
//!
//! 1. Accept an intercepted client; where it wanted to go is the local address of its socket.
//! 2. Find the service by listener, its peer and a warm carrier.
//! 3. Send OPEN, and from then on whatever the client says: the target dials meanwhile.
//!
//! Without a warm carrier the flow waits for one in the making; to a peer that is down it is reset at once.

use std::{net::SocketAddr, sync::Arc};

use rustix::{
    io::Errno,
    net::{SocketFlags, acceptfrom_with, getsockname},
};

use crate::{
    config::{Outbound, Steering},
    endpoint::Endpoint,
    flow::Flow,
    frame::{CONTROL_PAYLOAD_BYTES_MAX, Kind, Open},
    limits::ACCEPTS_PER_TURN,
    reason::Reason,
    slots::{Key, Token},
    worker::{ListenerRole, Worker},
};

impl Worker {
    /// Takes what waits at a listener.
    pub fn accept(&mut self, key: Key) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(key) else { return };
            let role = listener.role.clone();
            match acceptfrom_with(&listener.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((fd, from)) => {
                    let Some(from) = from.and_then(|from| SocketAddr::try_from(from).ok()) else { continue };
                    match role {
                        ListenerRole::Data => self.accept_stranger(Endpoint::new(fd), from),
                        ListenerRole::Tproxy { steering, .. } => {
                            let Some(to) = getsockname(&fd).ok().and_then(|to| SocketAddr::try_from(to).ok()) else {
                                continue;
                            };
                            self.accept_client(Endpoint::new(fd), &steering, from, to);
                        }
                    }
                }
                Err(Errno::MFILE | Errno::NFILE) => return self.refuse_without_files(key),
                // The client has gone already; the next one may be there.
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => (),
                Err(_) => return,
            }
        }
    }

    /// No descriptor is left: the spare one takes the connection so that the client hears a refusal, not silence.
    fn refuse_without_files(&mut self, key: Key) {
        drop(self.spare.take());
        if let Some(listener) = self.listeners.get(key)
            && let Ok((fd, Some(from))) = acceptfrom_with(&listener.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
        {
            Endpoint::new(fd).reset();
            if let Ok(from) = SocketAddr::try_from(from) {
                self.shared.refusals.count(None, from, Reason::OutOfFiles.word(), self.now);
            }
        }
        self.spare = crate::listener::spare();
    }

    fn accept_client(&mut self, plain: Endpoint, steering: &Steering, client: SocketAddr, destination: SocketAddr) {
        let refuse = |worker: &Self, plain: Endpoint, reason| {
            plain.reset();
            worker.shared.refusals.count(None, client, reason, worker.now);
        };
        if self.shared.own.contains(&destination) {
            return refuse(self, plain, "loop");
        }
        let service_id = match steering {
            Steering::Service(service_id) => Some(service_id),
            Steering::Table(table) => table.lookup(client.ip(), destination.ip()),
        };
        let config = self.config.clone();
        let Some(outbound) = service_id.and_then(|service_id| config.outbound.get(service_id)) else {
            return refuse(self, plain, "no_service");
        };
        self.start_source_flow(plain, outbound, client, destination);
    }

    fn start_source_flow(
        &mut self,
        plain: Endpoint,
        outbound: &Arc<Outbound>,
        client: SocketAddr,
        destination: SocketAddr,
    ) {
        let Some(peer) = self.config.peer(outbound.transport, &outbound.peer_id).cloned() else {
            plain.reset();
            return self.shared.refusals.count(Some(&outbound.peer_id), client, Reason::PeerUnknown.word(), self.now);
        };
        let hops = crate::hops::of_client(&plain);
        let mut flow = Flow::new(plain, outbound.service.clone(), peer.clone(), client, destination, self.now);
        flow.hops = hops;
        let key = self.flows.insert(flow);
        if hops <= 1 {
            return self.reset_flow(key, Reason::HopLimit);
        }
        let watched = self.flows.get(key).map(|flow| self.watch(&flow.plain, Token::Flow(key)));
        if !matches!(watched, Some(Ok(()))) {
            return self.reset_flow(key, Reason::OutOfFiles);
        }
        match self.take_warm(&peer) {
            Some(carrier) => self.open_flow(key, carrier),
            None => self.wait_for_carrier(key, &peer),
        }
    }

    /// Gives a flow its carrier and tells the target of it.
    pub fn open_flow(&mut self, key: Key, carrier_key: Key) {
        let (Some(flow), Some(carrier)) = (self.flows.get_mut(key), self.carriers.get_mut(carrier_key)) else { return };
        flow.carrier = Some(carrier_key);
        carrier.begin(Some(key), carrier.number.wrapping_add(1), self.now);
        let open = Open {
            number: carrier.number,
            service_id: &flow.service.id,
            client: flow.client,
            destination: flow.destination,
            hops: flow.hops,
        };
        let mut payload = Vec::with_capacity(CONTROL_PAYLOAD_BYTES_MAX);
        open.encode(&mut payload);
        if let Err(broken) = carrier.hold_control(Kind::Open, &payload) {
            return self.lose_carrier(carrier_key, &broken.0);
        }
        // A client that speaks first has mostly done so by now: its words go with OPEN.
        flow.plain.readable = true;
        self.carry_up(key);
        if let Some(carrier) = self.carriers.get_mut(carrier_key)
            && let Err(broken) = carrier.release()
        {
            self.lose_carrier(carrier_key, &broken.0);
        }
    }
}
