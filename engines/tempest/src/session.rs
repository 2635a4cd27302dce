//! The keys that packets travel under, and their succession: previous, current, next (paper, 6.1 to 6.3).
//!
//! A sending key exists once and is used through `&mut`, so a counter can never be given out twice. It moves from the
//! handshake to [`ReceiveKeys::next`] (when this side answered) and from there to the sender once the peer has shown,
//! by a packet, that it has the keys.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::{
    clock::Millis,
    message::{DATA_HEADER_BYTES, DATA_OVERHEAD_BYTES, TAG_BYTES, write_data_header},
    noise::SessionKeys,
    replay::ReplayWindow,
    timing::Timing,
};

pub struct SendKey {
    key: LessSafeKey,
    receiver: u32,
    counter: u64,
    pub born: Millis,
    pub initiator: bool,
}

pub struct ReceiveKey {
    key: LessSafeKey,
    pub index: u32,
    window: ReplayWindow,
    born: Millis,
}

/// A finished handshake's two halves.
pub struct Session {
    pub send: SendKey,
    pub receive: ReceiveKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    UnknownSession,
    Replay,
    BadPacket,
}

impl Session {
    /// `own` and `theirs` are the indices by which each side names the session.
    pub fn new(keys: &SessionKeys, own: u32, theirs: u32, initiator: bool, born: Millis) -> Option<Self> {
        let aead = |bytes: &[u8; 32]| Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, bytes).ok()?));
        Some(Self {
            send: SendKey { key: aead(&keys.send)?, receiver: theirs, counter: 0, born, initiator },
            receive: ReceiveKey { key: aead(&keys.receive)?, index: own, window: ReplayWindow::default(), born },
        })
    }
}

impl SendKey {
    pub fn is_usable(&self, timing: &Timing, now: Millis) -> bool {
        self.counter < timing.reject_after_messages && now.saturating_sub(self.born) < timing.reject_after_ms
    }

    /// Whether a new handshake is due although this key still serves.
    pub fn wants_rekey(&self, timing: &Timing, now: Millis) -> bool {
        self.counter >= timing.rekey_after_messages
            || (self.initiator && now.saturating_sub(self.born) >= timing.rekey_after_ms)
    }

    /// Makes a data message in `slot`, whose middle (after the header, before the tag) is the padded packet.
    #[inline]
    pub fn seal(&mut self, slot: &mut [u8]) -> bool {
        let Some(end) = slot.len().checked_sub(TAG_BYTES) else { return false };
        let (message, tag_at) = slot.split_at_mut(end);
        let Some((header, packet)) = message.split_first_chunk_mut::<DATA_HEADER_BYTES>() else { return false };
        let counter = self.counter;
        self.counter += 1;
        write_data_header(header, self.receiver, counter);
        match self.key.seal_in_place_separate_tag(nonce(counter), Aad::empty(), packet) {
            Ok(tag) => {
                tag_at.copy_from_slice(tag.as_ref());
                true
            }
            Err(_) => false,
        }
    }
}

impl ReceiveKey {
    pub fn is_usable(&self, timing: &Timing, now: Millis) -> bool {
        now.saturating_sub(self.born) < timing.reject_after_ms
    }

    /// Opens a data message in place. The packet is `message[16..][..length]`.
    #[inline]
    pub fn open(&mut self, counter: u64, message: &mut [u8]) -> Result<usize, Refusal> {
        if message.len() < DATA_OVERHEAD_BYTES {
            return Err(Refusal::BadPacket);
        }
        if !self.window.may_accept(counter) {
            return Err(Refusal::Replay);
        }
        let sealed = &mut message[DATA_HEADER_BYTES..];
        let opened = self.key.open_in_place(nonce(counter), Aad::empty(), sealed).map_err(|_| Refusal::BadPacket)?;
        let length = opened.len();
        if self.window.accept(counter) { Ok(length) } else { Err(Refusal::Replay) }
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// What a tunnel receives under.
#[derive(Default)]
pub struct ReceiveKeys {
    previous: Option<ReceiveKey>,
    current: Option<ReceiveKey>,
    /// Answered by this side, not yet used by the peer.
    next: Option<Session>,
}

impl ReceiveKeys {
    /// This side asked and was answered: the session is in use at once. Returns its sending half, and the indices whose
    /// keys are gone.
    pub fn begin_as_initiator(&mut self, session: Session) -> (SendKey, Vec<u32>) {
        let mut gone = Vec::new();
        let replaced = match self.next.take() {
            Some(next) => {
                gone.extend(self.current.take().map(|key| key.index));
                Some(next.receive)
            }
            None => self.current.take(),
        };
        gone.extend(self.previous.take().map(|key| key.index));
        self.previous = replaced;
        self.current = Some(session.receive);
        (session.send, gone)
    }

    /// This side answered: the session waits for the peer's first packet. Returns the indices whose keys are gone.
    pub fn begin_as_responder(&mut self, session: Session) -> Vec<u32> {
        let mut gone = Vec::new();
        gone.extend(self.next.replace(session).map(|next| next.receive.index));
        gone.extend(self.previous.take().map(|key| key.index));
        gone
    }

    /// Opens a message under the key it names. `Some(send)`: the peer confirmed the waiting session, send under this.
    #[inline]
    pub fn open(
        &mut self,
        index: u32,
        counter: u64,
        message: &mut [u8],
        timing: &Timing,
        now: Millis,
    ) -> Result<(usize, Option<SendKey>), Refusal> {
        for key in [&mut self.current, &mut self.previous].into_iter().flatten() {
            if key.index == index {
                if !key.is_usable(timing, now) {
                    return Err(Refusal::UnknownSession);
                }
                return key.open(counter, message).map(|length| (length, None));
            }
        }
        let Some(next) = self.next.as_mut().filter(|next| next.receive.index == index) else {
            return Err(Refusal::UnknownSession);
        };
        if !next.receive.is_usable(timing, now) {
            return Err(Refusal::UnknownSession);
        }
        let length = next.receive.open(counter, message)?;
        let confirmed = self.next.take().map(|next| {
            // `begin_as_responder` emptied `previous`, and only another handshake fills it.
            self.previous = self.current.replace(next.receive);
            next.send
        });
        Ok((length, confirmed))
    }

    /// Drops what is too old to be used. Returns the indices.
    pub fn expire(&mut self, timing: &Timing, now: Millis) -> Vec<u32> {
        let mut gone = Vec::new();
        for slot in [&mut self.previous, &mut self.current] {
            gone.extend(slot.take_if(|key| !key.is_usable(timing, now)).map(|key| key.index));
        }
        gone.extend(self.next.take_if(|next| !next.receive.is_usable(timing, now)).map(|next| next.receive.index));
        gone
    }

    /// Drops all. Returns the indices.
    pub fn clear(&mut self) -> Vec<u32> {
        let keys = [self.previous.take(), self.current.take(), self.next.take().map(|next| next.receive)];
        keys.into_iter().flatten().map(|key| key.index).collect()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.previous.is_none() && self.current.is_none() && self.next.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    const TIMING: Timing = Timing::WIREGUARD;

    /// A session and its mirror; `own` and `theirs` as the first sees it.
    fn pair(own: u32, theirs: u32, born: Millis) -> (Session, Session) {
        let key = |seed: u32| Zeroizing::new([seed as u8; 32]);
        let ours = SessionKeys { send: key(own), receive: key(theirs) };
        let mirror = SessionKeys { send: key(theirs), receive: key(own) };
        (
            Session::new(&ours, own, theirs, true, born).unwrap(),
            Session::new(&mirror, theirs, own, false, born).unwrap(),
        )
    }

    fn sealed(key: &mut SendKey) -> Vec<u8> {
        let mut slot = vec![b'x'; 64 + DATA_OVERHEAD_BYTES];
        assert!(key.seal(&mut slot));
        slot
    }

    fn open(keys: &mut ReceiveKeys, message: &[u8], now: Millis) -> Result<Option<SendKey>, Refusal> {
        let mut message = message.to_vec();
        let crate::message::Message::Data(data) = crate::message::parse(&message).unwrap() else { panic!("data") };
        let (length, confirmed) = keys.open(data.receiver, data.counter, &mut message, &TIMING, now)?;
        assert_eq!(message[16..][..length], [b'x'; 64]);
        Ok(confirmed)
    }

    #[test]
    fn the_responder_sends_only_once_the_peer_has_shown_its_keys() {
        let (initiator, responder) = pair(1, 2, 10);
        let (mut a, mut b) = (ReceiveKeys::default(), ReceiveKeys::default());
        let (mut a_send, _) = a.begin_as_initiator(initiator);
        b.begin_as_responder(responder);
        let first = sealed(&mut a_send);
        let mut b_send = open(&mut b, &first, 11).unwrap().expect("confirms the session");
        assert!(open(&mut b, &sealed(&mut a_send), 11).unwrap().is_none(), "confirmed once");
        assert!(matches!(open(&mut b, &first, 11), Err(Refusal::Replay)));
        assert!(open(&mut a, &sealed(&mut b_send), 11).unwrap().is_none());
    }

    #[test]
    fn the_key_before_is_received_on_until_the_one_after_it_is_gone() {
        let (mut a, mut b) = (ReceiveKeys::default(), ReceiveKeys::default());
        let mut sends = Vec::new();
        for round in 0..3 {
            let (initiator, responder) = pair(10 + round, 20 + round, 1);
            b.begin_as_responder(responder);
            sends.push(a.begin_as_initiator(initiator).0);
            assert!(open(&mut b, &sealed(sends.last_mut().unwrap()), 2).unwrap().is_some());
        }
        assert!(open(&mut b, &sealed(&mut sends[2]), 2).is_ok());
        assert!(open(&mut b, &sealed(&mut sends[1]), 2).is_ok(), "previous");
        assert!(matches!(open(&mut b, &sealed(&mut sends[0]), 2), Err(Refusal::UnknownSession)));
    }

    #[test]
    fn nothing_is_used_beyond_its_time_or_count() {
        let (initiator, responder) = pair(1, 2, 10);
        let (mut send, mut keys) = (initiator.send, ReceiveKeys::default());
        keys.begin_as_responder(responder);
        let late = 10 + TIMING.reject_after_ms;
        assert!(send.is_usable(&TIMING, late - 1) && !send.is_usable(&TIMING, late));
        assert!(matches!(open(&mut keys, &sealed(&mut send), late), Err(Refusal::UnknownSession)));
        assert_eq!(keys.expire(&TIMING, late), [2]);
        assert!(keys.is_empty());

        assert!(!send.wants_rekey(&TIMING, 10) && send.wants_rekey(&TIMING, 10 + TIMING.rekey_after_ms));
        send.counter = TIMING.rekey_after_messages;
        assert!(send.wants_rekey(&TIMING, 10));
        send.counter = TIMING.reject_after_messages;
        assert!(!send.is_usable(&TIMING, 10));
    }

    #[test]
    fn an_altered_packet_does_not_use_up_its_counter() {
        let (initiator, responder) = pair(1, 2, 10);
        let (mut send, mut keys) = (initiator.send, ReceiveKeys::default());
        keys.begin_as_responder(responder);
        let good = sealed(&mut send);
        let mut altered = good.clone();
        altered[40] ^= 1;
        assert!(matches!(open(&mut keys, &altered, 11), Err(Refusal::BadPacket)));
        assert!(open(&mut keys, &good, 11).is_ok());
    }
}
