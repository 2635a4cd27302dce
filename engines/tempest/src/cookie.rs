//! mac1, mac2 and cookie replies (paper, 5.4.4 to 5.4.7): what lets a responder under load refuse work to addresses that
//! were not proven.

use std::net::IpAddr;

use blake2::{
    Blake2s256, Blake2sMac, Digest,
    digest::{FixedOutput, Update, consts::U16},
};
use chacha20poly1305::{
    AeadInPlace, KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    clock::Millis,
    limits::COOKIE_LIFE,
    message::{COOKIE_REPLY, COOKIE_REPLY_BYTES, CookieReply, MACS_BYTES},
    noise::PublicKey,
};

type Mac = [u8; 16];

/// What this host checks on messages that come in. One for all peers.
pub struct Gate {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    secret: Zeroizing<[u8; 32]>,
    secret_since: Millis,
}

/// What this host puts on messages to one peer.
pub struct Stamp {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    last_mac1: Option<Mac>,
    cookie: Option<(Mac, Millis)>,
}

impl Gate {
    pub fn new(own: &PublicKey, now: Millis) -> Self {
        let mut gate = Self {
            mac1_key: derive(b"mac1----", own),
            cookie_key: derive(b"cookie--", own),
            secret: Zeroizing::new([0; 32]),
            secret_since: 0,
        };
        gate.refresh(now);
        gate
    }

    /// Whether the sender knows our public key. `message` is an initiation or a response.
    pub fn mac1_is_valid(&self, message: &[u8]) -> bool {
        let Some((body, macs)) = split_macs(message) else { return false };
        equal(&mac(&self.mac1_key, &[body]), &macs[..16])
    }

    /// Whether the sender has also proven that it receives what is sent to `from`.
    pub fn mac2_is_valid(&mut self, message: &[u8], from: (IpAddr, u16), now: Millis) -> bool {
        self.refresh(now);
        let Some((body, macs)) = split_macs(message) else { return false };
        equal(&mac(&self.cookie(from), &[body, &macs[..16]]), &macs[16..])
    }

    /// The reply that gives `from` its cookie, sealed for whoever sent `message`.
    pub fn reply(&mut self, message: &[u8], from: (IpAddr, u16), now: Millis) -> Option<[u8; COOKIE_REPLY_BYTES]> {
        self.refresh(now);
        let (body, macs) = split_macs(message)?;
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).ok()?;
        let mut cookie = self.cookie(from);
        let tag = XChaCha20Poly1305::new((&self.cookie_key).into())
            .encrypt_in_place_detached((&nonce).into(), &macs[..16], &mut cookie)
            .ok()?;
        let mut reply = [0; COOKIE_REPLY_BYTES];
        reply[..4].copy_from_slice(&COOKIE_REPLY.to_le_bytes());
        reply[4..8].copy_from_slice(body.get(4..8)?);
        reply[8..32].copy_from_slice(&nonce);
        reply[32..48].copy_from_slice(&cookie);
        reply[48..].copy_from_slice(&tag);
        Some(reply)
    }

    fn cookie(&self, (address, port): (IpAddr, u16)) -> Mac {
        let port = port.to_be_bytes();
        match address {
            IpAddr::V4(address) => mac(&*self.secret, &[&address.octets(), &port]),
            IpAddr::V6(address) => mac(&*self.secret, &[&address.octets(), &port]),
        }
    }

    fn refresh(&mut self, now: Millis) {
        if self.secret_since != 0 && now.saturating_sub(self.secret_since) < COOKIE_LIFE.as_millis() as u64 {
            return;
        }
        // Without entropy the old secret stays: cookies only shield against load.
        if getrandom::fill(&mut *self.secret).is_ok() {
            self.secret_since = now;
        }
    }
}

impl Stamp {
    pub fn new(peer: &PublicKey) -> Self {
        Self {
            mac1_key: derive(b"mac1----", peer),
            cookie_key: derive(b"cookie--", peer),
            last_mac1: None,
            cookie: None,
        }
    }

    /// Fills in the macs at the end of an initiation or response.
    pub fn put(&mut self, message: &mut [u8], now: Millis) {
        let Some(at) = message.len().checked_sub(MACS_BYTES) else { return };
        let (body, macs) = message.split_at_mut(at);
        let mac1 = mac(&self.mac1_key, &[body]);
        macs[..16].copy_from_slice(&mac1);
        match self.cookie {
            Some((cookie, since)) if now.saturating_sub(since) < COOKIE_LIFE.as_millis() as u64 => {
                macs[16..].copy_from_slice(&mac(&cookie, &[body, &mac1]));
            }
            _ => macs[16..].fill(0),
        }
        self.last_mac1 = Some(mac1);
    }

    /// Takes the cookie out of a reply to the last message that was stamped.
    pub fn take(&mut self, reply: &CookieReply<'_>, now: Millis) -> bool {
        let Some(mac1) = self.last_mac1 else { return false };
        let opened = XChaCha20Poly1305::new((&self.cookie_key).into())
            .decrypt(reply.nonce.into(), Payload { msg: reply.sealed, aad: &mac1 });
        let Some(cookie) = opened.ok().and_then(|bytes| Mac::try_from(bytes).ok()) else { return false };
        self.cookie = Some((cookie, now));
        self.last_mac1 = None;
        true
    }
}

fn split_macs(message: &[u8]) -> Option<(&[u8], &[u8])> {
    message.split_at_checked(message.len().checked_sub(MACS_BYTES)?)
}

fn derive(label: &[u8; 8], key: &PublicKey) -> [u8; 32] {
    Digest::finalize(Blake2s256::new().chain_update(label).chain_update(key)).into()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Mac {
    // Blake2s takes keys of up to 32 bytes, and these are 16 or 32.
    let mut mac = <Blake2sMac<U16> as KeyInit>::new_from_slice(key).expect("a key of at most 32 bytes");
    for part in parts {
        Update::update(&mut mac, part);
    }
    mac.finalize_fixed().into()
}

fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{INITIATION_BYTES, Message, parse};

    #[test]
    fn a_cookie_proves_an_address_once_it_was_fetched() {
        let key = [5; 32];
        let (mut gate, mut stamp) = (Gate::new(&key, 1), Stamp::new(&key));
        let from = ("10.0.0.1".parse().unwrap(), 7947);
        let mut message = [7; INITIATION_BYTES];
        stamp.put(&mut message, 1);
        assert!(gate.mac1_is_valid(&message));
        assert!(!gate.mac2_is_valid(&message, from, 1));

        let reply = gate.reply(&message, from, 1).unwrap();
        let Some(Message::CookieReply(reply)) = parse(&reply) else { panic!("a cookie reply") };
        assert!(stamp.take(&reply, 1));
        assert!(!stamp.take(&reply, 1), "a reply is taken once");
        stamp.put(&mut message, 1);
        assert!(gate.mac2_is_valid(&message, from, 1));
        assert!(!gate.mac2_is_valid(&message, ("10.0.0.2".parse().unwrap(), 7947), 1), "another address");

        let later = 2 + COOKIE_LIFE.as_millis() as u64;
        assert!(!gate.mac2_is_valid(&message, from, later), "the secret changed");
        stamp.put(&mut message, later);
        assert_eq!(message[INITIATION_BYTES - 16..], [0; 16], "an old cookie is not used");
    }

    #[test]
    fn another_hosts_key_is_refused() {
        let mut message = [7; INITIATION_BYTES];
        Stamp::new(&[5; 32]).put(&mut message, 1);
        assert!(!Gate::new(&[6; 32], 1).mac1_is_valid(&message));
        assert!(!Gate::new(&[5; 32], 1).mac1_is_valid(&message[..20]));
    }
}
