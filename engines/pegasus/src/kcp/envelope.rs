//! A conversation's datagram: `[2][id 8][number u64 LE][sealed packet][tag 16]`, the id being the receiver's. Everything
//! before the sealed packet is authenticated with it; the number is the nonce.

use ring::error::Unspecified;

use super::greeting::DATA;
use crate::{frame::TAG_BYTES, handshake::DatagramKeys};

pub const HEAD_BYTES: usize = 1 + 8 + 8;
pub const WRAPPING_BYTES: usize = HEAD_BYTES + TAG_BYTES;

pub struct Envelope {
    keys: DatagramKeys,
    /// The receiver's id in what we send.
    to_id: u64,
}

impl Envelope {
    pub fn new(keys: DatagramKeys, to_id: u64) -> Self {
        Self { keys, to_id }
    }

    /// Wraps the packet of `length` bytes that stands in `datagram` behind room for the head; returns the whole length.
    pub fn seal(&self, number: u64, length: usize, datagram: &mut [u8]) -> Result<usize, Unspecified> {
        let (head, rest) = datagram.split_at_mut(HEAD_BYTES);
        head[0] = DATA;
        head[1..9].copy_from_slice(&self.to_id.to_le_bytes());
        head[9..].copy_from_slice(&number.to_le_bytes());
        let tag = self.keys.seal.seal(number, head, &mut rest[..length])?;
        rest[length..length + TAG_BYTES].copy_from_slice(&tag);
        Ok(length + WRAPPING_BYTES)
    }

    /// The number and packet of an authentic datagram.
    pub fn open<'a>(&self, datagram: &'a mut [u8]) -> Result<(u64, &'a [u8]), Unspecified> {
        let (head, sealed) = datagram.split_at_mut_checked(HEAD_BYTES).ok_or(Unspecified)?;
        let number = u64::from_le_bytes(*head.last_chunk().ok_or(Unspecified)?);
        Ok((number, self.keys.open.open(number, head, sealed)?))
    }
}
