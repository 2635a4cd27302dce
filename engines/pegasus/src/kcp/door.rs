//! Conversations that others begin: the place of the data port's listener.
//!
//! 1. A hello without a good cookie gets a cookie, one that was not made for this host gets nothing.
//! 2. With it, it is a stranger at a known address, counted at the gate; then the handshake, as over TCP.
//! 3. Its carrier is unproven until its first authentic frame. The same hello again gets the same answer.
//! 4. A datagram of a conversation that is not known is for the engine before this one, while that has some left; else it
//!    gets the word that it is gone.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    conversation::{Conversation, Place},
    greeting::{self, DATA, HELLO, HELLO_DATAGRAM_BYTES, HelloDatagram},
    udp::Udp,
};
use crate::{
    carrier::{Carrier, Phase},
    handshake::{Hello, Refusal, respond_on},
    limits::GONE_ASKED_BYTES_MIN,
    link::Link,
    slots::Key,
    worker::Worker,
};

impl Worker {
    /// Datagrams at the door.
    pub fn hear_door(&mut self) {
        let Some(door) = self.kcp.door.clone() else { return };
        let mut inbox = std::mem::take(&mut self.kcp.inbox);
        let _ = inbox.take(&door, |datagram, from, at| self.hear_visitor(&door, datagram, from, at));
        self.kcp.inbox = inbox;
    }

    pub fn hear_visitor(&mut self, door: &Arc<Udp>, datagram: &mut [u8], from: SocketAddr, at: Option<IpAddr>) {
        let Some(&kind) = datagram.first() else { return };
        if kind == HELLO && datagram.len() == HELLO_DATAGRAM_BYTES {
            self.hear_hello(door, datagram, from, at)
        } else if let (DATA, Some(id)) = (kind, greeting::id(datagram)) {
            match self.kcp.ids.get(&id) {
                Some(&key) => {
                    let link = self.carriers.get_mut(key).map(|carrier| &mut carrier.link);
                    if let Some(Link::Kcp(conversation)) = link {
                        conversation.hear(datagram, from, at, self.now);
                    }
                }
                None if self.kcp.relays.pass_on(datagram, from, at) => (),
                None if datagram.len() >= GONE_ASKED_BYTES_MIN && self.kcp.gone.take(self.now) => {
                    // Whoever began it before a key was changed knows the word of that key.
                    for own in self.config.keys.own() {
                        let word = greeting::write_gone(&own.door.gone_word(id));
                        let _ = door.send(from, at, &word, word.len());
                    }
                }
                None => (),
            }
        } else {
            self.shared.refusals.count(None, from, Refusal::NotOurProtocol.word(), self.now);
        }
    }

    fn hear_hello(&mut self, door: &Arc<Udp>, datagram: &[u8], from: SocketAddr, at: Option<IpAddr>) {
        let (config, now) = (self.config.clone(), self.now);
        let age = now.duration_since(self.shared.started);
        let Some(hello) = config.keys.own().find_map(|own| own.door.read_hello(datagram)) else {
            return self.shared.refusals.count(None, from, Refusal::NotOurProtocol.word(), now);
        };
        if !self.shared.cookies.is_good(&hello.cookie, from, hello.id, age) {
            let retry = greeting::write_retry(hello.id, &self.shared.cookies.make(from, hello.id, age));
            let _ = door.send(from, at, &retry, retry.len());
        } else if let Some((_, answer)) = self.kcp.answered.get(&(from, hello.id)) {
            let _ = door.send(from, at, answer, answer.len());
        } else if let Err((peer_id, reason)) = self.welcome(door, &hello, from, at) {
            self.shared.refusals.count(peer_id, from, reason, now);
        }
    }

    /// The handshake with somebody who is where it says to be.
    fn welcome<'a>(
        &mut self,
        door: &Arc<Udp>,
        datagram: &HelloDatagram<'a>,
        from: SocketAddr,
        at: Option<IpAddr>,
    ) -> Result<(), (Option<&'a str>, &'static str)> {
        if self.is_draining() {
            return Err((None, "drained"));
        }
        let (config, now) = (self.config.clone(), self.now);
        let address = SocketAddr::new(from.ip().to_canonical(), from.port());
        let hello = Hello::decode(datagram.hello).map_err(|refusal| (None, refusal.word()))?;
        let hello = hello.ok_or((None, Refusal::NotOurProtocol.word()))?;
        let nobody = (Some(hello.peer_id), Refusal::UnknownPeer.word());
        let peer = config.kcp_peers.get(hello.peer_id).ok_or(nobody)?;
        let known = config.is_peer_address(address.ip());
        let permit = self.shared.gate.admit(address.ip(), known).ok_or((None, "too_many_strangers"))?;
        if !self.kcp.handshakes.take(now) {
            return Err((None, "too_many_handshakes"));
        }
        let id = self.kcp.new_id();
        let said = [&id.to_le_bytes()[..], &config.keys.newest().door.gone_word(id)].concat();
        let path = greeting::path(datagram.id);
        let fast_aes = self.shared.fast_aes;
        let made = config.keys.respond(peer, |own, theirs| {
            let (secrets, noise) = respond_on(&path, &hello, own.private(), &config.self_id, theirs, fast_aes, &said)?;
            Ok((secrets.frames()?, secrets.datagrams()?, noise))
        });
        let ((frames, datagrams, noise), pair) = made.map_err(|refusal| (Some(hello.peer_id), refusal.word()))?;
        let answer = greeting::write_answer(datagram.id, &noise);
        let agenda = self.kcp.agenda.clone();
        let key = self.carriers.insert_with(|key| {
            let place = Place { key, agenda, socket: door.clone(), congestion_control: config.kcp_congestion_control };
            let conversation = Conversation::answer(place, id, from, at, datagram.id, datagrams, now);
            let link = Link::Kcp(Box::new(conversation));
            let mut carrier = Carrier::new(link, Phase::Unproven, false, Some(peer.clone()), address, now);
            carrier.keys = Some(frames);
            carrier.pair = Some(pair);
            carrier.permit = Some(permit);
            carrier
        });
        self.kcp.ids.insert(id, key);
        let _ = door.send(from, at, &answer, answer.len());
        self.kcp.answered.insert((from, datagram.id), (key, answer));
        Ok(())
    }

    /// A carrier is gone: nothing finds it any more.
    pub fn forget_conversation(&mut self, key: Key, id: u64) {
        self.kcp.ids.remove(&id);
        self.kcp.answered.retain(|_, (answered, _)| *answered != key);
    }

    /// Once a second: answers are kept only as long as their hello may come again.
    pub fn forget_answers(&mut self) {
        let carriers = &self.carriers;
        self.kcp
            .answered
            .retain(|_, (key, _)| carriers.get(*key).is_some_and(|carrier| matches!(carrier.phase, Phase::Unproven)));
    }
}
