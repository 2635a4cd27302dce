//! Keys of one direction of a carrier: frames sealed and opened in place with a counter as nonce, and the one-way
//! ratchet to the next key. A key is owned by exactly one direction of one carrier, so no nonce is used twice.

use ring::{
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Prk},
};
use zeroize::Zeroizing;

use crate::{
    frame::{HEADER_BYTES, Header, TAG_BYTES},
    sealing::Sealing,
};

/// What seals the frames of a carrier; chosen in its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cipher {
    Aes256Gcm = 1,
    ChaCha20Poly1305 = 2,
}

impl Cipher {
    /// AES-GCM where both CPUs do it in hardware; in software it is slow and leaks by timing.
    pub fn choose(here_fast_aes: bool, there_fast_aes: bool) -> Self {
        if here_fast_aes && there_fast_aes { Self::Aes256Gcm } else { Self::ChaCha20Poly1305 }
    }

    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Aes256Gcm, Self::ChaCha20Poly1305].into_iter().find(|cipher| *cipher as u8 == code)
    }
}

/// Whether this CPU has AES and carry-less multiplication.
pub fn fast_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    let fast = std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let fast = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let fast = false;
    fast
}

/// One direction's key and how often it was used.
pub struct DirectionKey {
    cipher: Cipher,
    key: Sealing,
    secret: Zeroizing<[u8; 32]>,
    used: u64,
}

impl DirectionKey {
    /// `secret` comes from the handshake and belongs to this direction alone.
    pub fn new(cipher: Cipher, secret: Zeroizing<[u8; 32]>) -> Result<Self, Unspecified> {
        let bytes = derive(&secret, b"arctic pegasus 1 key")?;
        let key = Sealing::new(cipher, &bytes)?;
        Ok(Self { cipher, key, secret, used: 0 })
    }

    /// The successor, from which this key cannot be found.
    pub fn ratchet(&mut self) -> Result<(), Unspecified> {
        *self = Self::new(self.cipher, derive(&self.secret, b"arctic pegasus 1 next")?)?;
        Ok(())
    }

    /// Frames under this key so far.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Seals a frame in place: `frame` is header, payload and room for the tag, and gets its header written.
    pub fn seal(&mut self, header: Header, frame: &mut [u8]) -> Result<(), Unspecified> {
        let (head, rest) = frame.split_first_chunk_mut::<HEADER_BYTES>().ok_or(Unspecified)?;
        let (payload, tag_room) = rest.split_at_mut_checked(header.length).ok_or(Unspecified)?;
        *head = header.encode();
        let tag = self.key.seal(nonce(self.used), head, payload)?;
        tag_room.first_chunk_mut::<TAG_BYTES>().ok_or(Unspecified)?.copy_from_slice(&tag);
        self.used += 1;
        Ok(())
    }

    /// Opens a whole frame in place; the payload then stands behind the header.
    pub fn open(&mut self, frame: &mut [u8]) -> Result<(), Unspecified> {
        let (head, sealed) = frame.split_first_chunk_mut::<HEADER_BYTES>().ok_or(Unspecified)?;
        self.key.open(nonce(self.used), head, sealed)?;
        self.used += 1;
        Ok(())
    }
}

/// One direction's key for whole datagrams, which come in any order: the number is the caller's, who uses none twice.
pub struct DatagramKey(Sealing);

impl DatagramKey {
    /// `secret` is that of the direction's frames; what is made of it here is another key than theirs.
    pub fn new(cipher: Cipher, secret: &[u8; 32]) -> Result<Self, Unspecified> {
        let bytes = derive(secret, b"arctic pegasus 1 datagram")?;
        Ok(Self(Sealing::new(cipher, &bytes)?))
    }

    /// Seals `body` in place; `head` is authenticated with it.
    pub fn seal(&self, number: u64, head: &[u8], body: &mut [u8]) -> Result<[u8; TAG_BYTES], Unspecified> {
        self.0.seal(nonce(number), head, body)
    }

    /// Opens `sealed`, which ends with its tag, in place and returns the body.
    pub fn open<'a>(&self, number: u64, head: &[u8], sealed: &'a mut [u8]) -> Result<&'a [u8], Unspecified> {
        Ok(self.0.open(nonce(number), head, sealed)?)
    }
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    nonce
}

struct Length32;

impl KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

fn derive(secret: &[u8; 32], label: &[u8]) -> Result<Zeroizing<[u8; 32]>, Unspecified> {
    let mut out = Zeroizing::new([0; 32]);
    Prk::new_less_safe(HKDF_SHA256, secret).expand(&[label], Length32)?.fill(out.as_mut_slice())?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Kind, OVERHEAD_BYTES};

    fn pair(cipher: Cipher) -> (DirectionKey, DirectionKey) {
        let key = || DirectionKey::new(cipher, Zeroizing::new([9; 32])).unwrap();
        (key(), key())
    }

    fn frame(payload: &[u8]) -> (Header, Vec<u8>) {
        let header = Header { kind: Kind::Data, length: payload.len() };
        let mut frame = vec![0; payload.len() + OVERHEAD_BYTES];
        frame[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(payload);
        (header, frame)
    }

    #[test]
    fn what_is_sealed_opens_once_in_order_and_only_unchanged() {
        for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
            let (mut seal, mut open) = pair(cipher);
            for payload in [&b"first"[..], b"", b"third"] {
                let (header, mut bytes) = frame(payload);
                seal.seal(header, &mut bytes).unwrap();
                for bit in 0..bytes.len() * 8 {
                    let mut bent = bytes.clone();
                    bent[bit / 8] ^= 1 << (bit % 8);
                    assert!(open.open(&mut bent).is_err());
                }
                let mut copy = bytes.clone();
                open.open(&mut copy).unwrap();
                assert_eq!(&copy[HEADER_BYTES..HEADER_BYTES + payload.len()], payload);
                assert!(open.open(&mut bytes).is_err(), "replayed");
            }
        }
    }

    #[test]
    fn a_ratchet_moves_both_ends_to_a_new_key() {
        let (mut seal, mut open) = pair(Cipher::Aes256Gcm);
        seal.ratchet().unwrap();
        let (header, mut bytes) = frame(b"after");
        seal.seal(header, &mut bytes).unwrap();
        assert!(open.open(&mut bytes.clone()).is_err());
        open.ratchet().unwrap();
        open.open(&mut bytes).unwrap();
        assert_eq!((seal.used(), open.used()), (1, 1));
    }

    #[test]
    fn directions_with_different_secrets_share_nothing() {
        let mut seal = DirectionKey::new(Cipher::Aes256Gcm, Zeroizing::new([1; 32])).unwrap();
        let mut open = DirectionKey::new(Cipher::Aes256Gcm, Zeroizing::new([2; 32])).unwrap();
        let (header, mut bytes) = frame(b"x");
        seal.seal(header, &mut bytes).unwrap();
        assert!(open.open(&mut bytes).is_err());
    }

    #[test]
    fn a_buffer_that_is_too_small_is_an_error() {
        let (mut seal, mut open) = pair(Cipher::Aes256Gcm);
        assert!(seal.seal(Header { kind: Kind::Data, length: 4 }, &mut [0; 20]).is_err());
        assert!(open.open(&mut [0; 3]).is_err());
        assert!(open.open(&mut [0; 10]).is_err());
    }

    #[test]
    fn aes_is_chosen_only_when_both_do_it_fast() {
        assert_eq!(Cipher::choose(true, true), Cipher::Aes256Gcm);
        assert_eq!(Cipher::choose(true, false), Cipher::ChaCha20Poly1305);
        assert_eq!(Cipher::choose(false, true), Cipher::ChaCha20Poly1305);
    }
}
