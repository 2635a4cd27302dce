//! Handshake messages: which are worth an answer, and what each does.

use std::net::SocketAddr;

use super::Keeper;
use crate::{
    clock::Millis,
    desk::Letter,
    limits::INITIATIONS_PER_SECOND_MAX,
    message::{self, Message},
    peer::NotAnswered,
    refusals::Reason,
};

/// Whether strangers keep this host busy.
#[derive(Default)]
pub(super) struct Load {
    pub until: Millis,
    second: Millis,
    initiations: u32,
}

impl Keeper {
    pub(super) fn read(&mut self, letter: &Letter, now: Millis) {
        if let Err(reason) = self.try_read(letter, now) {
            self.shared.refusals.count(reason, letter.from, None);
        }
    }

    fn try_read(&mut self, letter: &Letter, now: Millis) -> Result<(), Reason> {
        let bytes = &letter.bytes[..letter.length];
        match message::parse(bytes).ok_or(Reason::Garbage)? {
            Message::Initiation(initiation) => {
                self.admit(bytes, letter.from, now)?;
                self.answer(bytes, initiation, letter.from, now)
            }
            Message::Response(response) => {
                self.admit(bytes, letter.from, now)?;
                let id = self.find_asking(response.receiver).ok_or(Reason::UnknownSession)?;
                let peer = self.peers.get_mut(&id).ok_or(Reason::UnknownSession)?;
                let session = peer.finish(response.sender, response.noise, now).ok_or(Reason::BadHandshake)?;
                let tunnel = peer.tunnel.clone();
                self.shared.table.insert(response.receiver, &tunnel);
                self.shared.table.remove(tunnel.begin_as_initiator(session).as_slice());
                tunnel.set_endpoint(Some(letter.from));
                tunnel.activity.received(false, now);
                // Shows the peer that this side has the keys; what was kept follows.
                let wire = self.listener.wire();
                if let Some(peer) = self.peers.get(&id) {
                    peer.keepalive(&wire, &self.shared.timing, now);
                }
                self.established(id);
                Ok(())
            }
            Message::CookieReply(reply) => {
                let id = self.find_asking(reply.receiver).ok_or(Reason::UnknownSession)?;
                let taken = self.peers.get_mut(&id).is_some_and(|peer| peer.take_cookie(&reply, now));
                if taken { Ok(()) } else { Err(Reason::BadHandshake) }
            }
            Message::Data(_) => Err(Reason::Garbage),
        }
    }

    /// Whether a message is worth the work that it asks for.
    fn admit(&mut self, bytes: &[u8], from: SocketAddr, now: Millis) -> Result<(), Reason> {
        let wire = self.listener.wire();
        if self.identities.is_empty() {
            return Err(Reason::UnknownPeer);
        }
        let Some((_, gate)) = self.identities.addressed(bytes) else { return Err(Reason::WrongMac) };
        if !self.load.is_high(now) {
            return Ok(());
        }
        let address = (from.ip(), from.port());
        if gate.mac2_is_valid(bytes, address, now) {
            return Ok(());
        }
        if let Some(reply) = gate.reply(bytes, address, now) {
            wire.send_to(&reply, &from);
        }
        Err(Reason::CookieAsked)
    }

    fn answer(
        &mut self,
        bytes: &[u8],
        initiation: message::Initiation<'_>,
        from: SocketAddr,
        now: Millis,
    ) -> Result<(), Reason> {
        let (identity, _) = self.identities.addressed(bytes).ok_or(Reason::WrongMac)?;
        let consumed = identity.consume(initiation.noise).ok_or(Reason::BadHandshake)?;
        let id = *self.by_key.get(&consumed.peer).ok_or(Reason::UnknownPeer)?;
        let index = self.free_index();
        let peer = self.peers.get_mut(&id).ok_or(Reason::UnknownPeer)?;
        let (session, response) =
            peer.answer(consumed, initiation.sender, index, now).map_err(|error| match error {
                NotAnswered::Replayed => Reason::ReplayedHandshake,
                NotAnswered::TooSoon => Reason::Flood,
                NotAnswered::Broken => Reason::BadHandshake,
            })?;
        let tunnel = peer.tunnel.clone();
        // The session is findable before the peer can know of it.
        self.shared.table.insert(index, &tunnel);
        let gone = tunnel.receiver().begin_as_responder(session);
        self.shared.table.remove(gone.as_slice());
        tunnel.set_endpoint(Some(from));
        tunnel.activity.received(false, now);
        self.listener.wire().send_to(&response, &from);
        tunnel.activity.sent(false, now);
        Ok(())
    }

    pub(super) fn find_asking(&self, index: u32) -> Option<u64> {
        self.peers.iter().find(|(_, peer)| peer.asking_index() == Some(index)).map(|(id, _)| *id)
    }
}

impl Load {
    /// Counts one more message that knows our key.
    fn is_high(&mut self, now: Millis) -> bool {
        if now / 1000 != self.second {
            self.second = now / 1000;
            self.initiations = 0;
        }
        self.initiations += 1;
        self.initiations > INITIATIONS_PER_SECOND_MAX || now < self.until
    }
}
