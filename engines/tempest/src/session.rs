//! The keys that packets travel under.
//!
//! A sending key exists once and is used through `&mut`, so a counter can never be given out twice. It moves from the
//! handshake to the sender: at once when this side asked, and by way of [`crate::receive_keys`] when it answered.

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

    /// The peer has sent nothing under it.
    pub fn is_unused(&self) -> bool {
        self.window.is_empty()
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

#[cfg(test)]
pub mod samples {
    use zeroize::Zeroizing;

    use super::*;

    /// A session and its mirror; `own` and `theirs` as the first sees it, who asked for it.
    pub fn pair(own: u32, theirs: u32, born: Millis) -> (Session, Session) {
        let key = |seed: u32| Zeroizing::new(std::array::from_fn(|at| seed.to_le_bytes()[at % 4]));
        let ours = SessionKeys { send: key(own), receive: key(theirs) };
        let mirror = SessionKeys { send: key(theirs), receive: key(own) };
        (
            Session::new(&ours, own, theirs, true, born).unwrap(),
            Session::new(&mirror, theirs, own, false, born).unwrap(),
        )
    }

    pub fn sealed(key: &mut SendKey) -> Vec<u8> {
        let mut slot = vec![b'x'; 64 + DATA_OVERHEAD_BYTES];
        assert!(key.seal(&mut slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::{
        samples::{pair, sealed},
        *,
    };

    const TIMING: Timing = Timing::WIREGUARD;

    #[test]
    fn a_key_serves_for_its_time_and_count() {
        let (Session { mut send, receive }, _) = pair(1, 2, 10);
        let late = 10 + TIMING.reject_after_ms;
        assert!(send.is_usable(&TIMING, late - 1) && !send.is_usable(&TIMING, late));
        assert!(receive.is_usable(&TIMING, late - 1) && !receive.is_usable(&TIMING, late));
        assert!(!send.wants_rekey(&TIMING, 10) && send.wants_rekey(&TIMING, 10 + TIMING.rekey_after_ms));
        send.counter = TIMING.rekey_after_messages;
        assert!(send.wants_rekey(&TIMING, 10));
        send.counter = TIMING.reject_after_messages;
        assert!(!send.is_usable(&TIMING, 10));
    }

    #[test]
    fn an_altered_packet_does_not_use_up_its_counter() {
        let (Session { mut send, .. }, Session { mut receive, .. }) = pair(1, 2, 10);
        let mut good = sealed(&mut send);
        let mut altered = good.clone();
        altered[40] ^= 1;
        assert!(matches!(receive.open(0, &mut altered), Err(Refusal::BadPacket)));
        assert!(receive.is_unused());
        assert_eq!(receive.open(0, &mut good), Ok(64));
        assert!(!receive.is_unused());
    }
}
