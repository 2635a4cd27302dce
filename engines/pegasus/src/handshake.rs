//! The handshake of a carrier: Noise_KK_25519_ChaChaPoly_BLAKE2s, both static keys known from the signed peer records.
//!
//! 1. Initiator: `"ARCP"`, version, its peer id, Noise message 1 with what its CPU does fast.
//! 2. Responder: knows that peer or hangs up without a word; answers Noise message 2 with the chosen cipher.
//! 3. Initiator: a READY frame under the new keys. Only that proves that message 1 was no replay, so the responder counts
//!    the connection as a stranger's until then.
//!
//! The path (TCP, or KCP with its conversation), version and both peer ids are the prologue: none can be changed on the
//! way, and no message means anything on another path. The code is pure: bytes in, bytes out.

use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use crate::{
    aead::{Cipher, DatagramKey, DirectionKey},
    limits::NAME_BYTES_MAX,
};

const PATTERN: &str = "Noise_KK_25519_ChaChaPoly_BLAKE2s";
const MAGIC: [u8; 4] = *b"ARCP";
const VERSION: u8 = 1;
/// What the prologue begins with for a carrier over TCP.
const TCP_PATH: &[u8] = b"arctic/pegasus/1";
const KEY_AND_TAG_BYTES: usize = 32 + 16;
const OFFER_BYTES: usize = 1;
const CHOICE_BYTES: usize = 1;
/// Everything the responder sends.
pub const ANSWER_BYTES: usize = KEY_AND_TAG_BYTES + CHOICE_BYTES;
/// The most that the initiator sends.
pub const HELLO_BYTES_MAX: usize = MAGIC.len() + 2 + NAME_BYTES_MAX + KEY_AND_TAG_BYTES + OFFER_BYTES;

/// Why a handshake came to nothing; the word goes into `refused` events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotOurProtocol,
    OtherVersion,
    UnknownPeer,
    WrongKey,
}

impl Refusal {
    pub fn word(self) -> &'static str {
        match self {
            Self::NotOurProtocol => "not_our_protocol",
            Self::OtherVersion => "other_version",
            Self::UnknownPeer => "unknown_peer",
            Self::WrongKey => "wrong_key",
        }
    }
}

/// The keys of a finished handshake.
pub struct Keys {
    pub seal: DirectionKey,
    pub open: DirectionKey,
}

/// The keys of a finished handshake for the datagrams around the frames.
pub struct DatagramKeys {
    pub seal: DatagramKey,
    pub open: DatagramKey,
}

/// What a finished handshake leaves: every key of the carrier is made of it.
pub struct Secrets {
    cipher: Cipher,
    ours: Zeroizing<[u8; 32]>,
    theirs: Zeroizing<[u8; 32]>,
}

impl Secrets {
    pub fn frames(&self) -> Result<Keys, Refusal> {
        let key = |secret: &Zeroizing<[u8; 32]>| DirectionKey::new(self.cipher, secret.clone());
        let (seal, open) = (key(&self.ours), key(&self.theirs));
        Ok(Keys { seal: seal.map_err(|_| Refusal::WrongKey)?, open: open.map_err(|_| Refusal::WrongKey)? })
    }

    pub fn datagrams(&self) -> Result<DatagramKeys, Refusal> {
        let key = |secret| DatagramKey::new(self.cipher, secret).map_err(|_| Refusal::WrongKey);
        Ok(DatagramKeys { seal: key(&self.ours)?, open: key(&self.theirs)? })
    }
}

/// The initiator's first words, as far as they can be read without a key.
#[derive(Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    pub peer_id: &'a str,
    noise: &'a [u8],
}

impl<'a> Hello<'a> {
    /// None while more bytes are needed. Whatever cannot become a hello is refused with its first wrong byte.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<Self>, Refusal> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(Refusal::NotOurProtocol);
        }
        let Some((&version, rest)) = bytes[known..].split_first() else { return Ok(None) };
        if version != VERSION {
            return Err(Refusal::OtherVersion);
        }
        let Some((&length, rest)) = rest.split_first() else { return Ok(None) };
        let length = usize::from(length);
        if length == 0 || length > NAME_BYTES_MAX {
            return Err(Refusal::NotOurProtocol);
        }
        let expected = length + KEY_AND_TAG_BYTES + OFFER_BYTES;
        if rest.len() < expected {
            return Ok(None);
        }
        if rest.len() > expected {
            // The initiator says nothing more before it has our answer.
            return Err(Refusal::NotOurProtocol);
        }
        let (name, noise) = rest.split_at(length);
        let peer_id = std::str::from_utf8(name).map_err(|_| Refusal::NotOurProtocol)?;
        Ok(Some(Self { peer_id, noise }))
    }
}

/// The initiator between its hello and the answer.
pub struct Initiator(HandshakeState);

impl Initiator {
    /// Returns the state and the hello to send.
    pub fn start(
        private_key: &[u8; 32],
        self_id: &str,
        peer_id: &str,
        peer_key: &[u8; 32],
        fast_aes: bool,
    ) -> Result<(Self, Vec<u8>), snow::Error> {
        Self::start_on(TCP_PATH, private_key, self_id, peer_id, peer_key, fast_aes)
    }

    /// As [`Initiator::start`], on another path.
    pub fn start_on(
        path: &[u8],
        private_key: &[u8; 32],
        self_id: &str,
        peer_id: &str,
        peer_key: &[u8; 32],
        fast_aes: bool,
    ) -> Result<(Self, Vec<u8>), snow::Error> {
        let prologue = prologue(path, self_id, peer_id);
        let mut noise = builder(private_key, peer_key, &prologue)?.build_initiator()?;
        let mut hello = Vec::with_capacity(HELLO_BYTES_MAX);
        hello.extend_from_slice(&MAGIC);
        hello.extend_from_slice(&[VERSION, self_id.len() as u8]);
        hello.extend_from_slice(self_id.as_bytes());
        let mut message = [0; KEY_AND_TAG_BYTES + OFFER_BYTES];
        let length = noise.write_message(&[u8::from(fast_aes)], &mut message)?;
        hello.extend_from_slice(&message[..length]);
        Ok((Self(noise), hello))
    }

    /// Takes the responder's answer.
    pub fn finish(self, answer: &[u8; ANSWER_BYTES]) -> Result<Keys, Refusal> {
        let (secrets, []) = self.finish_with(answer)?;
        secrets.frames()
    }

    /// Takes an answer that says `N` bytes more than the choice.
    pub fn finish_with<const N: usize>(mut self, answer: &[u8]) -> Result<(Secrets, [u8; N]), Refusal> {
        let mut said = vec![0; answer.len()];
        let length = self.0.read_message(answer, &mut said).map_err(|_| Refusal::WrongKey)?;
        let (choice, more) = said[..length].split_first().ok_or(Refusal::WrongKey)?;
        let more = more.try_into().map_err(|_| Refusal::OtherVersion)?;
        let cipher = Cipher::from_code(*choice).ok_or(Refusal::OtherVersion)?;
        let (ours, theirs) = split(&mut self.0);
        Ok((Secrets { cipher, ours, theirs }, more))
    }
}

/// The responder's whole part: judges a hello and returns the keys and the answer to send.
pub fn respond(
    hello: &Hello,
    private_key: &[u8; 32],
    self_id: &str,
    peer_key: &[u8; 32],
    fast_aes: bool,
) -> Result<(Keys, [u8; ANSWER_BYTES]), Refusal> {
    let (secrets, answer) = respond_on(TCP_PATH, hello, private_key, self_id, peer_key, fast_aes, &[])?;
    Ok((secrets.frames()?, answer.try_into().map_err(|_| Refusal::WrongKey)?))
}

/// As [`respond`], on another path, with more to say that only this peer can read.
pub fn respond_on(
    path: &[u8],
    hello: &Hello,
    private_key: &[u8; 32],
    self_id: &str,
    peer_key: &[u8; 32],
    fast_aes: bool,
    more: &[u8],
) -> Result<(Secrets, Vec<u8>), Refusal> {
    let prologue = prologue(path, hello.peer_id, self_id);
    let mut noise =
        builder(private_key, peer_key, &prologue).and_then(Builder::build_responder).map_err(|_| Refusal::WrongKey)?;
    let mut offer = [0; KEY_AND_TAG_BYTES + OFFER_BYTES];
    match noise.read_message(hello.noise, &mut offer) {
        Ok(OFFER_BYTES) => (),
        _ => return Err(Refusal::WrongKey),
    }
    let cipher = Cipher::choose(fast_aes, offer[0] == 1);
    let mut answer = vec![0; ANSWER_BYTES + more.len()];
    let said = [&[cipher as u8][..], more].concat();
    noise.write_message(&said, &mut answer).map_err(|_| Refusal::WrongKey)?;
    let (theirs, ours) = split(&mut noise);
    Ok((Secrets { cipher, ours, theirs }, answer))
}

fn builder<'a>(private_key: &'a [u8], peer_key: &'a [u8], prologue: &'a [u8]) -> Result<Builder<'a>, snow::Error> {
    Builder::new(PATTERN.parse()?).local_private_key(private_key)?.remote_public_key(peer_key)?.prologue(prologue)
}

fn prologue(path: &[u8], initiator: &str, responder: &str) -> Vec<u8> {
    let mut bytes = path.to_vec();
    for name in [initiator, responder] {
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

/// Secrets from the initiator to the responder, and back.
fn split(noise: &mut HandshakeState) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    let (there, back) = noise.dangerously_get_raw_split();
    (Zeroizing::new(there), Zeroizing::new(back))
}

/// The public key of a private one, Base64 in peer records.
pub fn public_key(private_key: &[u8; 32]) -> Option<[u8; 32]> {
    use snow::resolvers::{CryptoResolver, DefaultResolver};
    let mut dh = DefaultResolver.resolve_dh(&snow::params::DHChoice::Curve25519)?;
    dh.set(private_key);
    dh.pubkey().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Header, Kind, OVERHEAD_BYTES};
    use proptest::prelude::*;

    const A: [u8; 32] = [1; 32];
    const B: [u8; 32] = [2; 32];
    const STRANGER: [u8; 32] = [3; 32];

    fn public(private_key: &[u8; 32]) -> [u8; 32] {
        public_key(private_key).unwrap()
    }

    fn carries(from: &mut DirectionKey, to: &mut DirectionKey) -> bool {
        let header = Header { kind: Kind::Data, length: 2 };
        let mut frame = vec![7; 2 + OVERHEAD_BYTES];
        from.seal(header, &mut frame).unwrap();
        to.open(&mut frame).is_ok() && frame[4..6] == [7, 7]
    }

    #[test]
    fn both_ends_agree_on_keys_and_cipher() {
        for (fast_a, fast_b) in [(true, true), (true, false), (false, true)] {
            let (initiator, hello) = Initiator::start(&A, "peer-a", "peer-b", &public(&B), fast_a).unwrap();
            assert!(hello.len() <= HELLO_BYTES_MAX);
            let read = Hello::decode(&hello).unwrap().unwrap();
            assert_eq!(read.peer_id, "peer-a");
            let (mut b, answer) = respond(&read, &B, "peer-b", &public(&A), fast_b).unwrap();
            let mut a = initiator.finish(&answer).unwrap();
            assert!(carries(&mut a.seal, &mut b.open));
            assert!(carries(&mut b.seal, &mut a.open));
            assert!(!carries(&mut a.seal, &mut a.open), "directions have different keys");
        }
    }

    #[test]
    fn wrong_keys_and_wrong_names_are_refused() {
        let hello = |private: &[u8; 32], from: &str, to: &str| {
            Initiator::start(private, from, to, &public(&B), true).unwrap().1
        };
        let judge =
            |bytes: &[u8]| respond(&Hello::decode(bytes).unwrap().unwrap(), &B, "peer-b", &public(&A), true).err();
        assert_eq!(judge(&hello(&A, "peer-a", "peer-b")), None);
        assert_eq!(judge(&hello(&STRANGER, "peer-a", "peer-b")), Some(Refusal::WrongKey));
        assert_eq!(
            judge(&hello(&A, "peer-x", "peer-b")),
            None,
            "a name that the caller did not look up cannot be judged here"
        );
        assert_eq!(judge(&hello(&A, "peer-a", "peer-c")), Some(Refusal::WrongKey));
        let mut renamed = hello(&A, "peer-a", "peer-b");
        renamed[6] = b'q';
        assert_eq!(judge(&renamed), Some(Refusal::WrongKey), "the name is part of the prologue");
    }

    #[test]
    fn an_answer_of_somebody_else_is_refused() {
        let (initiator, hello) = Initiator::start(&A, "peer-a", "peer-b", &public(&B), true).unwrap();
        let (_, mut answer) =
            respond(&Hello::decode(&hello).unwrap().unwrap(), &B, "peer-b", &public(&A), true).unwrap();
        answer[40] ^= 1;
        assert_eq!(initiator.finish(&answer).err(), Some(Refusal::WrongKey));
    }

    #[test]
    fn garbage_is_refused_with_its_first_byte() {
        assert_eq!(Hello::decode(b"GET / HTTP/1.1"), Err(Refusal::NotOurProtocol));
        assert_eq!(Hello::decode(b"ARX"), Err(Refusal::NotOurProtocol));
        assert_eq!(Hello::decode(b"ARCP\x02"), Err(Refusal::OtherVersion));
        assert_eq!(Hello::decode(b"ARCP\x01\x00"), Err(Refusal::NotOurProtocol));
        assert_eq!(Hello::decode(b"ARCP\x01"), Ok(None));
        assert_eq!(Hello::decode(b""), Ok(None));
    }

    proptest! {
        #[test]
        fn no_hello_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..HELLO_BYTES_MAX + 10), ours: bool) {
            if ours && bytes.len() > 5 {
                bytes[..5].copy_from_slice(b"ARCP\x01");
            }
            if let Ok(Some(hello)) = Hello::decode(&bytes) {
                prop_assert!(respond(&hello, &B, "peer-b", &public(&A), true).is_err());
            }
        }
    }
}
