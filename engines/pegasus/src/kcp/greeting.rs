//! How a conversation begins, datagram by datagram, the first byte saying which:
//!
//! 1. HELLO `[1][id 8][cookie 16][length u8][hello][zeros][mac 16]`, always as long: longer than anything that answers it.
//! 2. RETRY `[3][id 8][cookie 16]` to a hello without a good cookie: whoever gets it is really at that address.
//! 3. ANSWER `[4][id 8][Noise message 2]` to a hello with one; it says the responder's id, and the word that it would say
//!    if it had forgotten the conversation.
//! 4. GONE `[5][word 16]` to a datagram of a conversation that is not known (any more).
//!
//! Nothing is kept, and nothing costly done, before a hello has shown two things: the mac, made with a key that only who
//! knows this host's public key can make, and the cookie. The first byte of an id says which worker it belongs to; all else
//! of it is random. `[2]` is a conversation's datagram, see `envelope`.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ring::hmac::{self, HMAC_SHA256};
use subtle::ConstantTimeEq;

use crate::handshake::{ANSWER_BYTES, HELLO_BYTES_MAX};

pub const HELLO: u8 = 1;
pub const DATA: u8 = 2;
pub const RETRY: u8 = 3;
pub const ANSWER: u8 = 4;
pub const GONE: u8 = 5;

pub const MAC_BYTES: usize = 16;
const ID_BYTES: usize = 8;
const HEAD_BYTES: usize = 1 + ID_BYTES;
pub const HELLO_DATAGRAM_BYTES: usize = 256;
pub const RETRY_BYTES: usize = HEAD_BYTES + MAC_BYTES;
/// What the answer says beside the cipher: the responder's id and its word.
pub const SAID_BYTES: usize = ID_BYTES + MAC_BYTES;
pub const ANSWER_DATAGRAM_BYTES: usize = HEAD_BYTES + ANSWER_BYTES + SAID_BYTES;
pub const GONE_BYTES: usize = 1 + MAC_BYTES;
const COOKIE_TURN: Duration = Duration::from_secs(15);

const _: () = assert!(HEAD_BYTES + MAC_BYTES + 1 + HELLO_BYTES_MAX + MAC_BYTES <= HELLO_DATAGRAM_BYTES);
const _: () = assert!(ANSWER_DATAGRAM_BYTES < HELLO_DATAGRAM_BYTES);

pub type Mac = [u8; MAC_BYTES];

/// What the handshake's prologue begins with: an answer to one conversation means nothing in another.
pub fn path(id: u64) -> Vec<u8> {
    [&b"arctic/pegasus-kcp/1"[..], &id.to_le_bytes()].concat()
}

/// Keys that this host's own make, for what it can tell without remembering anything.
pub struct DoorKeys {
    hello: hmac::Key,
    gone: hmac::Key,
}

impl DoorKeys {
    pub fn new(private_key: &[u8; 32], public_key: &[u8; 32]) -> Self {
        let gone = mac(&hmac::Key::new(HMAC_SHA256, private_key), &[b"arctic pegasus kcp 1 gone"]);
        Self { hello: hello_key(public_key), gone: hmac::Key::new(HMAC_SHA256, &gone) }
    }

    /// The word by which an initiator knows that its conversation is forgotten here; a restart does not change it.
    pub fn gone_word(&self, id: u64) -> Mac {
        mac(&self.gone, &[&id.to_le_bytes()])
    }

    /// A hello that was made for this host. Cheap: anybody can send anything here.
    pub fn read_hello<'a>(&self, datagram: &'a [u8]) -> Option<HelloDatagram<'a>> {
        let datagram: &[u8; HELLO_DATAGRAM_BYTES] = datagram.try_into().ok()?;
        let (said, tag) = datagram.split_at(HELLO_DATAGRAM_BYTES - MAC_BYTES);
        let (head, rest) = said.split_at(HEAD_BYTES);
        let (cookie, rest) = rest.split_first_chunk::<MAC_BYTES>()?;
        let (length, rest) = rest.split_first()?;
        let hello = rest.get(..usize::from(*length))?;
        if head[0] != HELLO || !same(&mac(&self.hello, &[said]), tag) {
            return None;
        }
        Some(HelloDatagram { id: id(head)?, cookie: *cookie, hello })
    }
}

impl std::fmt::Debug for DoorKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("DoorKeys")
    }
}

pub struct HelloDatagram<'a> {
    pub id: u64,
    pub cookie: Mac,
    pub hello: &'a [u8],
}

pub fn write_hello(id: u64, cookie: &Mac, hello: &[u8], peer_key: &[u8; 32]) -> [u8; HELLO_DATAGRAM_BYTES] {
    let mut datagram = [0; HELLO_DATAGRAM_BYTES];
    let (said, tag) = datagram.split_at_mut(HELLO_DATAGRAM_BYTES - MAC_BYTES);
    said[0] = HELLO;
    said[1..HEAD_BYTES].copy_from_slice(&id.to_le_bytes());
    said[HEAD_BYTES..HEAD_BYTES + MAC_BYTES].copy_from_slice(cookie);
    let at = HEAD_BYTES + MAC_BYTES;
    said[at] = hello.len() as u8;
    said[at + 1..at + 1 + hello.len()].copy_from_slice(hello);
    tag.copy_from_slice(&mac(&hello_key(peer_key), &[said]));
    datagram
}

pub fn write_retry(id: u64, cookie: &Mac) -> [u8; RETRY_BYTES] {
    let mut datagram = [0; RETRY_BYTES];
    datagram[0] = RETRY;
    datagram[1..HEAD_BYTES].copy_from_slice(&id.to_le_bytes());
    datagram[HEAD_BYTES..].copy_from_slice(cookie);
    datagram
}

pub fn write_answer(id: u64, noise: &[u8]) -> Vec<u8> {
    [&[ANSWER][..], &id.to_le_bytes(), noise].concat()
}

pub fn write_gone(word: &Mac) -> [u8; GONE_BYTES] {
    let mut datagram = [GONE; GONE_BYTES];
    datagram[1..].copy_from_slice(word);
    datagram
}

/// What follows the id of a datagram of this kind for this conversation.
pub fn rest_of(datagram: &[u8], kind: u8, for_id: u64) -> Option<&[u8]> {
    let (head, rest) = datagram.split_at_checked(HEAD_BYTES)?;
    (head[0] == kind && id(head)? == for_id).then_some(rest)
}

/// The id in a datagram that has one.
pub fn id(datagram: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*datagram.get(1..)?.first_chunk()?))
}

/// Whether a datagram is the word of a host that has forgotten the conversation.
pub fn is_gone(datagram: &[u8], word: &Mac) -> bool {
    datagram.len() == GONE_BYTES && datagram[0] == GONE && same(&datagram[1..], word)
}

/// Proofs of being at an address, good for half a minute at most, that are not kept anywhere.
pub struct Cookies(hmac::Key);

impl Cookies {
    pub fn new(secret: [u8; 32]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, &secret))
    }

    /// `age`: of this process.
    pub fn make(&self, from: SocketAddr, id: u64, age: Duration) -> Mac {
        self.of_turn(from, id, age.as_secs() / COOKIE_TURN.as_secs())
    }

    pub fn is_good(&self, cookie: &Mac, from: SocketAddr, id: u64, age: Duration) -> bool {
        let turn = age.as_secs() / COOKIE_TURN.as_secs();
        [Some(turn), turn.checked_sub(1)].into_iter().flatten().any(|turn| same(&self.of_turn(from, id, turn), cookie))
    }

    fn of_turn(&self, from: SocketAddr, id: u64, turn: u64) -> Mac {
        let ip = match from.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        mac(&self.0, &[&ip.octets(), &from.port().to_le_bytes(), &id.to_le_bytes(), &turn.to_le_bytes()])
    }
}

fn hello_key(public_key: &[u8; 32]) -> hmac::Key {
    let key = mac(&hmac::Key::new(HMAC_SHA256, b"arctic pegasus kcp 1 hello"), &[public_key]);
    hmac::Key::new(HMAC_SHA256, &key)
}

fn mac(key: &hmac::Key, parts: &[&[u8]]) -> Mac {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; MAC_BYTES];
    out.copy_from_slice(&context.sign().as_ref()[..MAC_BYTES]);
    out
}

fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::public_key;
    use proptest::prelude::*;

    const B: [u8; 32] = [2; 32];

    fn keys() -> (DoorKeys, [u8; 32]) {
        let public = public_key(&B).unwrap();
        (DoorKeys::new(&B, &public), public)
    }

    #[test]
    fn a_hello_is_read_by_whom_it_was_made_for_and_by_nobody_else() {
        let (door, public) = keys();
        let datagram = write_hello(77, &[9; 16], b"the hello", &public);
        let read = door.read_hello(&datagram).unwrap();
        assert_eq!((read.id, read.cookie, read.hello), (77, [9; 16], &b"the hello"[..]));
        let other = DoorKeys::new(&[3; 32], &public_key(&[3; 32]).unwrap());
        assert!(other.read_hello(&datagram).is_none());
        for at in [0, 5, 20, 40, 200, 255] {
            let mut bent = datagram;
            bent[at] ^= 1;
            assert!(door.read_hello(&bent).is_none(), "byte {at}");
        }
        assert!(door.read_hello(&datagram[..255]).is_none());
    }

    #[test]
    fn a_cookie_is_good_for_its_address_its_conversation_and_its_time() {
        let cookies = Cookies::new([1; 32]);
        let (here, there): (SocketAddr, SocketAddr) = ("10.0.0.1:5".parse().unwrap(), "10.0.0.1:6".parse().unwrap());
        let at = Duration::from_secs(100);
        let cookie = cookies.make(here, 7, at);
        assert!(cookies.is_good(&cookie, here, 7, at + Duration::from_secs(10)));
        assert!(!cookies.is_good(&cookie, there, 7, at));
        assert!(!cookies.is_good(&cookie, here, 8, at));
        assert!(!cookies.is_good(&cookie, here, 7, at + Duration::from_secs(31)));
        assert!(!Cookies::new([2; 32]).is_good(&cookie, here, 7, at));
    }

    #[test]
    fn the_word_of_a_forgotten_conversation_is_known_after_a_restart() {
        let (door, _) = keys();
        let word = door.gone_word(5);
        assert!(is_gone(&write_gone(&keys().0.gone_word(5)), &word));
        assert!(!is_gone(&write_gone(&door.gone_word(6)), &word));
        assert!(!is_gone(&write_gone(&word)[..16], &word));
    }

    proptest! {
        #[test]
        fn no_datagram_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (door, _) = keys();
            prop_assert!(door.read_hello(&bytes).is_none());
            let _ = (rest_of(&bytes, RETRY, 1), id(&bytes), is_gone(&bytes, &[0; 16]));
        }
    }
}
