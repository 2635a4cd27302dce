//! How flows and carriers end.
//!
//! 1. Clean: FIN both ways. The carrier is free (`settle`) and the flow ends when its last bytes are delivered. The source's FIN,
//!    when it is the second, waits a moment for the next flow on that carrier and goes with its OPEN.
//! 2. A reset here: RESET to the other side, which confirms; then the carrier is free as well. A carrier that is blocked
//!    is given up instead, which tells the other side the same.
//! 3. A reset there: RST here.
//! 4. A lost carrier: RST here; the other side finds the same. A flow that has neither sent nor got anything begins again, once:
//!    nobody can tell the difference.

use crate::{
    carrier::{Carrier, End, Phase},
    config::Config,
    flow::Flow,
    frame::{Kind, Reset},
    link::Link,
    reason::Reason,
    service::Side,
    slots::Key,
    worker::Worker,
};

impl Worker {
    /// FIN of the other side.
    pub fn finished(&mut self, key: Key) -> Result<(), &'static str> {
        let Some(carrier) = self.carriers.get_mut(key) else { return Ok(()) };
        if carrier.received != End::Open || !matches!(carrier.phase, Phase::Busy | Phase::Confirming) {
            return Err("a FIN where none may be");
        }
        carrier.received = End::Fin;
        if let Some(flow_key) = carrier.flow
            && let Some(flow) = self.flows.get_mut(flow_key)
        {
            flow.down_ended = true;
            flow.finish_if_delivered();
        }
        self.settle(key);
        Ok(())
    }

    /// Sends the ends of flows for which no other flow has come in time.
    pub fn release_fins(&mut self) {
        while let Some((key, _)) = self.held_fins.pop_front_if(|(_, until)| *until <= self.now) {
            if let Some(carrier) = self.carriers.get_mut(key)
                && let Err(broken) = carrier.release()
            {
                self.lose_carrier(key, &broken.0);
            }
        }
    }

    /// RESET of the other side. One that comes after its flow's end here means nothing any more.
    pub fn was_reset(&mut self, key: Key, reset: Reset) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        if reset.number != carrier.number || !matches!(carrier.phase, Phase::Busy | Phase::Confirming) {
            return;
        }
        carrier.received = End::Reset;
        let flow = carrier.flow.take();
        if carrier.sent == End::Open {
            carrier.sent = End::Reset;
            if let Err(broken) = carrier.send_control(Kind::Reset, &reset.encode()) {
                self.lose_carrier(key, &broken.0);
            }
        }
        if let Some(flow) = flow.and_then(|flow| self.flows.remove(flow)) {
            self.end_with_reset(flow, reset.reason);
        }
        self.settle(key);
    }

    /// Frees a carrier whose both directions have ended.
    pub fn settle(&mut self, key: Key) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        if carrier.sent == End::Open || carrier.received == End::Open {
            return;
        }
        let flow = carrier.flow.take();
        if carrier.ours {
            self.offer(key);
        } else {
            carrier.enter(Phase::Idle, self.now);
            carrier.sent = End::Open;
            carrier.received = End::Open;
        }
        if let Some(flow_key) = flow
            && let Some(flow) = self.flows.get_mut(flow_key)
        {
            flow.carrier = None;
            self.deliver_rest(flow_key);
        }
    }

    /// A flow that needs no carrier any more ends when its last bytes are delivered.
    pub fn deliver_rest(&mut self, key: Key) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        if flow.dialling || !flow.up_ended || !flow.down_ended {
            return;
        }
        match flow.backlog.flush(&mut flow.plain) {
            Ok(false) => (),
            Ok(true) => {
                if let Some(flow) = self.flows.remove(key) {
                    flow.report(Reason::Closed, &self.shared.events, self.now);
                }
            }
            Err(_) => {
                let reason =
                    if flow.service.side == Side::Source { Reason::ClientReset } else { Reason::DestinationReset };
                self.reset_flow(key, reason);
            }
        }
    }

    /// Ends a flow at once, for a reason found here.
    pub fn reset_flow(&mut self, key: Key, reason: Reason) {
        let Some(flow) = self.flows.remove(key) else { return };
        if let Some(carrier) = flow.carrier {
            self.send_reset(carrier, reason);
        }
        self.end_with_reset(flow, reason);
    }

    fn end_with_reset(&mut self, flow: Flow, reason: Reason) {
        flow.report(reason, &self.shared.events, self.now);
        flow.plain.reset();
    }

    /// Tells the other side that the carrier's flow has ended at once.
    pub fn send_reset(&mut self, key: Key, reason: Reason) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        carrier.flow = None;
        if !carrier.backlog.is_empty() {
            return self.lose_carrier(key, "given up with its flow");
        }
        carrier.sent = End::Reset;
        let reset = Reset { number: carrier.number, reason };
        match carrier.send_control(Kind::Reset, &reset.encode()) {
            Ok(()) => {
                carrier.enter(Phase::Confirming, self.now);
                // What is still to come for the flow, and behind it what confirms, may wait in a full socket since the flow's side
                // took no more: nothing else says that it is to be read again.
                self.queue_carrier(key);
                self.settle(key);
            }
            Err(broken) => self.lose_carrier(key, &broken.0),
        }
    }

    /// The carrier is gone or not to be trusted any more, and its flow with it.
    pub fn lose_carrier(&mut self, key: Key, error: &str) {
        let Some(carrier) = self.forget_carrier(key) else { return };
        if carrier.in_the_making() {
            match &carrier.peer {
                Some(peer) if carrier.ours => self.connect_failed(peer, carrier.address, error),
                peer => {
                    let peer_id = peer.as_ref().map(|peer| &*peer.id);
                    self.shared.refusals.count(peer_id, carrier.address, "handshake_not_finished", self.now);
                }
            }
        }
        if carrier.ours
            && !carrier.in_the_making()
            && let Some(peer) = &carrier.peer
        {
            let now = self.now;
            if let Some(pool) = self.pool(peer) {
                pool.note_loss(now);
            }
            if let Some(flow) = carrier.flow.filter(|flow| self.may_begin_again(*flow)) {
                carrier.link.reset();
                return self.wait_for_carrier(flow, peer);
            }
        }
        if let Some(flow) = carrier.flow.and_then(|flow| self.flows.remove(flow)) {
            control::log::debug(
                "a carrier was lost",
                &[("peer_id", &flow.peer.id), ("address", &carrier.address), ("error", &error)],
            );
            carrier.link.reset();
            self.end_with_reset(flow, Reason::CarrierLost);
        } else if matches!(carrier.phase, Phase::Busy | Phase::Confirming) {
            carrier.link.reset();
        }
    }

    /// Notes that it does.
    fn may_begin_again(&mut self, key: Key) -> bool {
        let now = self.now;
        self.flows.get_mut(key).is_some_and(|flow| flow.may_begin_again(now))
    }

    /// Closes a carrier that carries nothing, once its last words have arrived.
    pub fn close_carrier(&mut self, key: Key) {
        match self.carriers.get_mut(key).map(|carrier| &mut carrier.link) {
            Some(Link::Kcp(conversation)) if !conversation.has_delivered() => conversation.close_when_delivered(),
            _ => drop(self.forget_carrier(key)),
        }
    }

    /// Made with keys that are not good any more: its flow may go on to its end.
    fn outdate_carrier(&mut self, key: Key) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        carrier.retired = true;
        if carrier.flow.is_none() {
            self.lose_carrier(key, "a key was changed");
        }
    }

    fn forget_carrier(&mut self, key: Key) -> Option<Carrier> {
        let mut carrier = self.carriers.remove(key)?;
        carrier.leave();
        // An end that still waits here: without it the other side would take it for a truncation. One that is lost says nothing
        // any more.
        let _ = carrier.release();
        if let Link::Kcp(conversation) = &carrier.link {
            self.forget_conversation(key, conversation.id);
        }
        if let (true, Phase::Idle, Some(peer)) = (carrier.ours, &carrier.phase, &carrier.peer) {
            self.forget_idle(peer, key);
        }
        Some(carrier)
    }

    pub fn reset_flows(&mut self, reason: Reason, select: impl FnMut(&Flow) -> bool) {
        for key in self.flows.keys(select) {
            self.reset_flow(key, reason);
        }
    }

    /// After a new state: flows of services, and carriers of peers, that are not in it any more.
    pub fn drop_unwanted(&mut self, before: &Config) {
        let config = self.config.clone();
        self.reset_flows(Reason::ServiceRemoved, |flow| {
            let now = match flow.service.side {
                Side::Source => config.outbound.get(&flow.service.id).map(|outbound| &outbound.peer_id),
                Side::Target => config.inbound.get(&flow.service.id).map(|inbound| &inbound.peer_id),
            };
            // A change of transport is for new flows.
            now.is_none_or(|peer_id| *peer_id != flow.peer.id)
        });
        let renamed = config.self_id != before.self_id;
        for key in self.carriers.keys(|carrier| carrier.peer.is_some()) {
            let Some(carrier) = self.carriers.get_mut(key) else { continue };
            let Some(peer) = &carrier.peer else { continue };
            let Some(peer) = config.peers.get(&peer.id) else {
                // A RESET is on its way; an end at once would overtake it, and it says why the flow has ended.
                if matches!(carrier.phase, Phase::Confirming) {
                    self.close_carrier(key);
                } else {
                    self.lose_carrier(key, "the peer was removed");
                }
                continue;
            };
            let Some(pair) = carrier.pair.filter(|_| !renamed) else {
                if renamed || !matches!(carrier.phase, Phase::Connecting) {
                    self.outdate_carrier(key);
                }
                continue;
            };
            if !config.keys.accepts(peer, &pair) {
                self.outdate_carrier(key);
            } else if carrier.ours && pair != config.keys.pair_towards(peer) {
                // Still good, but there are newer keys: another one takes its place first.
                self.retire_carrier(key);
            }
        }
    }
}
