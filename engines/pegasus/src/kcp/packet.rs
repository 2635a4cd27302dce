//! What a datagram of a conversation says, once it is opened: `[flags u8][limit u64]`, then as the flags say
//! `[acknowledgement]`, `[floor u32]`, and at last `[offset u64][bytes]` or padding. Integers are little-endian.
//!
//! - limit: the stream offset up to which the sender of this datagram takes bytes.
//! - acknowledgement: `[largest u64][delay u32 µs][words u8][words × u64]`; bit i of word w is set when the datagram
//!   `largest − 64 w − i` has come.
//! - floor: on datagrams that want an acknowledgement, how many numbers back the oldest one stands that has none; the
//!   other side need not speak of older ones.
//!
//! Pure functions over byte slices; nothing here trusts its input.

use crate::frame::Malformed;

const ACK: u8 = 1;
const DATA: u8 = 2;
const PING: u8 = 4;
const CLOSE: u8 = 8;
/// The rest is padding.
const PADDED: u8 = 16;

/// Words of 64 datagrams that one acknowledgement can speak of: more than a full window has.
pub const ACK_WORDS_MAX: usize = 64;
/// Bytes before the stream's bytes, without an acknowledgement.
pub const DATA_OVERHEAD_BYTES: usize = 1 + 8 + 4 + 8;
const ACK_FIXED_BYTES: usize = 8 + 4 + 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    pub largest: u64,
    /// From the arrival of `largest` to this acknowledgement.
    pub delay_us: u32,
    pub words: [u64; ACK_WORDS_MAX],
    pub count: usize,
}

impl Ack {
    pub fn encoded_bytes(words: usize) -> usize {
        ACK_FIXED_BYTES + 8 * words
    }

    /// Whether the datagram `number` is said to have come.
    pub fn has(&self, number: u64) -> bool {
        let Some(back) = self.largest.checked_sub(number) else { return false };
        let word = (back / 64) as usize;
        word < self.count && self.words[word] >> (back % 64) & 1 == 1
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packet<'a> {
    pub limit: u64,
    pub ack: Option<Ack>,
    /// It wants an acknowledgement: with or without data.
    pub ping: bool,
    pub floor: u32,
    pub data: Option<(u64, &'a [u8])>,
    /// The other side has given the conversation up.
    pub close: bool,
    pub padding: usize,
}

impl<'a> Packet<'a> {
    pub fn wants_ack(&self) -> bool {
        self.ping || self.data.is_some()
    }

    /// Writes it, returns its length.
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let flags = [
            (self.ack.is_some(), ACK),
            (self.data.is_some(), DATA),
            (self.ping, PING),
            (self.close, CLOSE),
            (self.padding > 0, PADDED),
        ];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&[flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag)]);
        put(&self.limit.to_le_bytes());
        if let Some(ack) = &self.ack {
            put(&ack.largest.to_le_bytes());
            put(&ack.delay_us.to_le_bytes());
            put(&[ack.count as u8]);
            ack.words[..ack.count].iter().for_each(|word| put(&word.to_le_bytes()));
        }
        if self.wants_ack() {
            put(&self.floor.to_le_bytes());
        }
        if let Some((offset, bytes)) = self.data {
            put(&offset.to_le_bytes());
            put(bytes);
        }
        out[at..at + self.padding].fill(0);
        at + self.padding
    }

    /// As [`Packet::encode`] with the stretch `(offset, length)` as data, whose bytes the caller puts at the end.
    pub fn encode_with_data(&self, offset: u64, length: usize, out: &mut [u8]) -> usize {
        let bare = Packet { data: None, ping: true, padding: 0, ..self.clone() }.encode(out);
        out[0] = out[0] & !PING | DATA | if self.ping { PING } else { 0 };
        out[bare..bare + 8].copy_from_slice(&offset.to_le_bytes());
        bare + 8 + length
    }

    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = bytes;
        let [flags] = *take::<1>(&mut rest)?;
        if flags & !(ACK | DATA | PING | CLOSE | PADDED) != 0 || flags & (DATA | PADDED) == DATA | PADDED {
            return Err(Malformed);
        }
        let mut packet = Self { limit: u64::from_le_bytes(*take(&mut rest)?), ..Self::default() };
        if flags & ACK != 0 {
            let (largest, delay_us) = (u64::from_le_bytes(*take(&mut rest)?), u32::from_le_bytes(*take(&mut rest)?));
            let count = usize::from(take::<1>(&mut rest)?[0]);
            if count == 0 || count > ACK_WORDS_MAX {
                return Err(Malformed);
            }
            let mut words = [0; ACK_WORDS_MAX];
            for word in &mut words[..count] {
                *word = u64::from_le_bytes(*take(&mut rest)?);
            }
            packet.ack = Some(Ack { largest, delay_us, words, count });
        }
        packet.ping = flags & PING != 0;
        packet.close = flags & CLOSE != 0;
        if flags & (DATA | PING) != 0 {
            packet.floor = u32::from_le_bytes(*take(&mut rest)?);
        }
        if flags & DATA != 0 {
            let offset = u64::from_le_bytes(*take(&mut rest)?);
            if rest.is_empty() || offset.checked_add(rest.len() as u64).is_none() {
                return Err(Malformed);
            }
            packet.data = Some((offset, rest));
        } else if flags & PADDED != 0 {
            packet.padding = rest.len();
        } else if !rest.is_empty() {
            return Err(Malformed);
        }
        Ok(packet)
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Malformed> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Malformed)?;
    *rest = tail;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ack() -> impl Strategy<Value = Ack> {
        (any::<u64>(), any::<u32>(), proptest::collection::vec(any::<u64>(), 1..=ACK_WORDS_MAX)).prop_map(
            |(largest, delay_us, some)| {
                let mut words = [0; ACK_WORDS_MAX];
                words[..some.len()].copy_from_slice(&some);
                Ack { largest, delay_us, words, count: some.len() }
            },
        )
    }

    proptest! {
        #[test]
        fn a_packet_round_trips(
            limit: u64, ack in proptest::option::of(ack()), ping: bool, floor: u32, close: bool,
            data in proptest::option::of((0u64..1 << 60, proptest::collection::vec(any::<u8>(), 1..200))), padding in 0usize..50,
        ) {
            let data = data.as_ref().map(|(offset, bytes)| (*offset, &bytes[..]));
            let packet = Packet {
                limit, ack, ping, close, data,
                floor: if ping || data.is_some() { floor } else { 0 },
                padding: if data.is_some() { 0 } else { padding },
            };
            let mut bytes = [0; 2000];
            let length = packet.encode(&mut bytes);
            prop_assert_eq!(Packet::decode(&bytes[..length]), Ok(packet.clone()));
            if let Some((offset, data)) = packet.data {
                let mut again = [0; 2000];
                prop_assert_eq!(packet.encode_with_data(offset, data.len(), &mut again), length);
                again[length - data.len()..length].copy_from_slice(data);
                prop_assert!(again == bytes);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Packet::decode(&bytes);
        }
    }

    #[test]
    fn an_acknowledgement_speaks_of_the_largest_and_what_stands_before_it() {
        let mut words = [0; ACK_WORDS_MAX];
        (words[0], words[1]) = (0b101, 1);
        let ack = Ack { largest: 100, delay_us: 0, words, count: 2 };
        let has: Vec<u64> = (0..200).filter(|&number| ack.has(number)).collect();
        assert_eq!(has, [36, 98, 100]);
    }
}
