//! Conversations that we begin: the place of a TCP connect in the life of a carrier.
//!
//! 1. A socket of its own, a hello; again with the cookie when the responder wants one; again when nothing is heard.
//! 2. The answer: keys for datagrams and for frames, and READY.
//! 3. From then on its datagrams are the carrier's stream.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use rustix::event::epoll::{self, EventData, EventFlags};

use super::{
    conversation::{Conversation, Place},
    greeting::{self, ANSWER, ANSWER_DATAGRAM_BYTES, Mac, RETRY, SAID_BYTES},
    udp::Udp,
};
use crate::{
    carrier::{Carrier, Phase},
    handshake::Initiator,
    link::Link,
    peer::Peer,
    slots::{Key, Token},
    worker::Worker,
};

impl Worker {
    /// Begins a conversation with a peer.
    pub fn call(&mut self, peer: &Arc<Peer>, address: SocketAddr) {
        let config = self.config.clone();
        let id = self.kcp.new_id();
        let private_key = config.keys.towards(peer).private();
        let path = greeting::path(id);
        let (self_id, fast_aes) = (&config.self_id, self.shared.fast_aes);
        let started = Initiator::start_on(&path, private_key, self_id, &peer.id, &peer.public_key, fast_aes);
        let (initiator, hello) = match started {
            Ok(started) => started,
            Err(error) => return self.connect_failed(peer, address, &error.to_string()),
        };
        let socket = match Udp::connect(address, config.bypass_mark) {
            Ok(socket) => Arc::new(socket),
            Err(error) => return self.connect_failed(peer, address, &error.to_string()),
        };
        let (agenda, now) = (self.kcp.agenda.clone(), self.now);
        let key = self.carriers.insert_with(|key| {
            let place =
                Place { key, agenda, socket: socket.clone(), congestion_control: config.kcp_congestion_control };
            let conversation = Conversation::call(place, id, address, hello, peer.public_key, now);
            let phase = Phase::Greeting(Some(Box::new(initiator)));
            let link = Link::Kcp(Box::new(conversation));
            let mut carrier = Carrier::new(link, phase, true, Some(peer.clone()), address, now);
            carrier.pair = Some(config.keys.pair_towards(peer));
            carrier
        });
        // Level-triggered: what one turn leaves is there in the next.
        let data = EventData::new_u64(Token::Carrier(key).encode());
        if epoll::add(&self.epoll, &socket, data, EventFlags::IN).is_err() {
            self.lose_carrier(key, "out of file descriptors");
        }
    }

    /// Datagrams at a conversation's own socket.
    pub fn hear_socket(&mut self, key: Key) {
        let Some(Link::Kcp(conversation)) = self.carriers.get_mut(key).map(|carrier| &mut carrier.link) else { return };
        let socket = conversation.socket().clone();
        let mut inbox = std::mem::take(&mut self.kcp.inbox);
        let heard = inbox.take(&socket, |datagram, from, at| self.hear_datagram(key, datagram, from, at));
        self.kcp.inbox = inbox;
        if let Err(error) = heard
            && error.kind() == std::io::ErrorKind::ConnectionRefused
            && let Some(Link::Kcp(conversation)) = self.carriers.get_mut(key).map(|carrier| &mut carrier.link)
        {
            conversation.refused(self.now);
        }
    }

    fn hear_datagram(&mut self, key: Key, datagram: &mut [u8], from: SocketAddr, at: Option<std::net::IpAddr>) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        let Link::Kcp(conversation) = &mut carrier.link else { return };
        if !conversation.is_calling() {
            conversation.hear(datagram, from, at, now);
        } else if let Some(cookie) = greeting::rest_of(datagram, RETRY, conversation.id) {
            if let Ok(cookie) = Mac::try_from(cookie) {
                conversation.retry(&cookie, now);
            }
        } else if datagram.len() == ANSWER_DATAGRAM_BYTES
            && let Some(answer) = greeting::rest_of(datagram, ANSWER, conversation.id)
        {
            self.hear_kcp_answer(key, answer);
        }
    }

    fn hear_kcp_answer(&mut self, key: Key, answer: &[u8]) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        let (Phase::Greeting(initiator), Link::Kcp(conversation)) = (&mut carrier.phase, &mut carrier.link) else {
            return;
        };
        let Some(initiator) = initiator.take() else { return };
        let made = initiator.finish_with::<SAID_BYTES>(answer).and_then(|(secrets, said)| {
            let (to_id, word) = said.split_at(8);
            let to_id = u64::from_le_bytes(to_id.try_into().unwrap_or_default());
            conversation.established(secrets.datagrams()?, to_id, word.try_into().unwrap_or_default(), now);
            secrets.frames()
        });
        match made {
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

    /// For conversations that are open as well.
    pub fn set_congestion_control(&mut self, on: bool) {
        for key in self.carriers.keys(|carrier| matches!(carrier.link, Link::Kcp(_))) {
            if let Some(Link::Kcp(conversation)) = self.carriers.get_mut(key).map(|carrier| &mut carrier.link) {
                conversation.set_congestion_control(on);
            }
        }
    }

    /// Lets every conversation do and send what is due: once a turn, for all that the turn has changed.
    pub fn serve_conversations(&mut self) {
        if self.kcp.scratch.is_empty() && !self.kcp.agenda.is_empty() {
            self.kcp.scratch = super::conversation::scratch();
        }
        // What this sets off may put others on the agenda; what is left then is for the next turn.
        for _ in 0..4 {
            let due = self.kcp.take_due(self.now);
            if due.is_empty() {
                return self.kcp.give_back(due);
            }
            for &key in &due {
                self.serve_conversation(key);
            }
            self.kcp.give_back(due);
        }
    }

    /// What has ended one may have ended all with this peer: they are asked.
    fn lose_conversation(&mut self, key: Key, why: &'static str) {
        if let Some(carrier) = self.carriers.get(key)
            && let (false, Some(peer)) = (carrier.in_the_making(), &carrier.peer)
        {
            peer.health.suspicions.fetch_add(1, Relaxed);
        }
        self.lose_carrier(key, why);
    }

    fn serve_conversation(&mut self, key: Key) {
        let now = self.now;
        let Some(Link::Kcp(conversation)) = self.carriers.get_mut(key).map(|carrier| &mut carrier.link) else { return };
        let fails = conversation.failure();
        if conversation.takes_wake() {
            match fails {
                Some(why) => return self.lose_conversation(key, why),
                None => self.carrier_event(key, EventFlags::empty()),
            }
        }
        let mut scratch = std::mem::take(&mut self.kcp.scratch);
        if let Some(Link::Kcp(conversation)) = self.carriers.get_mut(key).map(|carrier| &mut carrier.link) {
            conversation.work(&mut scratch, now);
            let (is_to_close, worn) = (conversation.is_to_close(), conversation.is_worn());
            let at = conversation.deadline(now);
            let armed = conversation.armed.filter(|armed| *armed > now);
            if let Some(at) = at.filter(|at| armed.is_none_or(|armed| *at < armed)) {
                self.kcp.remind(key, at);
                conversation.armed = Some(at);
            }
            if is_to_close {
                self.close_carrier(key);
            } else if let (true, Some(carrier)) = (worn, self.carriers.get_mut(key)) {
                carrier.retired = true;
            }
        }
        self.kcp.scratch = scratch;
    }
}
