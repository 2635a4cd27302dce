//! What a carrier speaks after its handshake: sealed frames, `[length u24 LE][kind u8][payload][tag 16]`, the four
//! bytes of the header authenticated with it. Pure functions over byte slices; nothing here trusts its input.
//!
//! A flow's life on a carrier, per direction: OPEN (source only), DATA…, then FIN or RESET. A RESET may also follow a
//! FIN. When both directions have ended the carrier is free for the next OPEN. The carrier's end without these is a
//! truncation.
//!
//! What the initiator understands beyond this it says with its first words: each READY after the first is one level more,
//! which a responder that knows of no levels passes over. Level 1: it hears RETIRE.

use std::net::{IpAddr, SocketAddr};

use crate::{
    limits::{FRAME_PAYLOAD_BYTES_MAX, NAME_BYTES_MAX, PACKET_BYTES_MAX},
    reason::Reason,
};

pub const HEADER_BYTES: usize = 4;
pub const TAG_BYTES: usize = 16;
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;
pub const FRAME_BYTES_MAX: usize = FRAME_PAYLOAD_BYTES_MAX + OVERHEAD_BYTES;
/// Longest payload of a frame that is not DATA: an OPEN with the longest name and two IPv6 addresses.
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 4 + 1 + NAME_BYTES_MAX + 2 * 19 + 1;

/// The longest payload whose frame is one packet of whole segments, `segment` bytes each, and so leaves none that is nearly
/// empty; where no segment fits, the longest that may be.
pub fn payload_of_whole_segments(segment: usize) -> usize {
    let frame = PACKET_BYTES_MAX.checked_div(segment).unwrap_or_default() * segment;
    frame.checked_sub(OVERHEAD_BYTES).filter(|payload| *payload > 0).unwrap_or(FRAME_PAYLOAD_BYTES_MAX)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Data = 0,
    /// A new flow: [`Open`].
    Open = 1,
    /// This direction has ended cleanly.
    Fin = 2,
    /// The flow has ended at once: [`Reset`].
    Reset = 3,
    /// The last frame under this key; the next one is sealed with its successor.
    Rekey = 4,
    /// The initiator's first frame: proves that it holds the keys of this handshake.
    Ready = 5,
    /// The responder asks for another carrier in the place of this one, which its initiator closes when it carries nothing.
    Retire = 6,
}

/// The highest level that this build speaks.
pub const LEVEL: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub length: usize,
}

/// The bytes are no frame of ours: the carrier is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Header {
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let length = (self.length as u32).to_le_bytes();
        [length[0], length[1], length[2], self.kind as u8]
    }

    pub fn decode(bytes: [u8; HEADER_BYTES]) -> Result<Self, Malformed> {
        let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]) as usize;
        let (kind, max) = match bytes[3] {
            0 => (Kind::Data, FRAME_PAYLOAD_BYTES_MAX),
            1 => (Kind::Open, CONTROL_PAYLOAD_BYTES_MAX),
            2 => (Kind::Fin, 0),
            3 => (Kind::Reset, Reset::BYTES),
            4 => (Kind::Rekey, 0),
            5 => (Kind::Ready, 0),
            6 => (Kind::Retire, 0),
            _ => return Err(Malformed),
        };
        if length > max { Err(Malformed) } else { Ok(Self { kind, length }) }
    }

    /// Bytes of the whole frame.
    pub fn frame_bytes(self) -> usize {
        self.length + OVERHEAD_BYTES
    }
}

/// The first frame of `bytes`, or None while it is not complete.
pub fn next(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let header = Header::decode(*header)?;
    Ok((bytes.len() >= header.frame_bytes()).then_some(header))
}

/// `[number u32 LE][name length u8][name][client][destination][hops u8]`; an address is `[4 or 6][IP][port u16 BE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open<'a> {
    /// Counts the flows of this carrier, so that a late RESET of the one before hits nobody.
    pub number: u32,
    pub service_id: &'a str,
    pub client: SocketAddr,
    pub destination: SocketAddr,
    /// So many more routers may be passed, the target peer among them.
    pub hops: u8,
}

impl<'a> Open<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_le_bytes());
        out.push(self.service_id.len() as u8);
        out.extend_from_slice(self.service_id.as_bytes());
        for address in [self.client, self.destination] {
            match address.ip() {
                IpAddr::V4(ip) => {
                    out.push(4);
                    out.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.push(6);
                    out.extend_from_slice(&ip.octets());
                }
            }
            out.extend_from_slice(&address.port().to_be_bytes());
        }
        out.push(self.hops);
    }

    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = payload;
        let number = u32::from_le_bytes(*take(&mut rest)?);
        let [length] = *take::<1>(&mut rest)?;
        if usize::from(length) > NAME_BYTES_MAX || rest.len() < usize::from(length) {
            return Err(Malformed);
        }
        let (name, mut rest) = rest.split_at(usize::from(length));
        let service_id = std::str::from_utf8(name).map_err(|_| Malformed)?;
        let client = take_address(&mut rest)?;
        let destination = take_address(&mut rest)?;
        let [hops] = *take::<1>(&mut rest)?;
        if rest.is_empty() { Ok(Self { number, service_id, client, destination, hops }) } else { Err(Malformed) }
    }
}

fn take_address(rest: &mut &[u8]) -> Result<SocketAddr, Malformed> {
    let ip = match take::<1>(rest)? {
        [4] => IpAddr::from(*take::<4>(rest)?),
        [6] => IpAddr::from(*take::<16>(rest)?),
        _ => return Err(Malformed),
    };
    Ok(SocketAddr::new(ip, u16::from_be_bytes(*take(rest)?)))
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Malformed> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Malformed)?;
    *rest = tail;
    Ok(head)
}

/// `[number u32 LE][reason u8]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    pub number: u32,
    pub reason: Reason,
}

impl Reset {
    pub const BYTES: usize = 5;

    pub fn encode(self) -> [u8; Self::BYTES] {
        let number = self.number.to_le_bytes();
        [number[0], number[1], number[2], number[3], self.reason as u8]
    }

    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let [a, b, c, d, reason] = *<&[u8; Self::BYTES]>::try_from(payload).map_err(|_| Malformed)?;
        Ok(Self { number: u32::from_le_bytes([a, b, c, d]), reason: Reason::from_code(reason) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        #[test]
        fn an_open_round_trips(number: u32, service_id in "[0-9A-Za-z]{0,128}", client in address(), destination in address(), hops: u8) {
            let open = Open { number, service_id: &service_id, client, destination, hops };
            let mut bytes = Vec::new();
            open.encode(&mut bytes);
            prop_assert!(bytes.len() <= CONTROL_PAYLOAD_BYTES_MAX);
            prop_assert_eq!(Open::decode(&bytes), Ok(open));
            for end in 0..bytes.len() {
                prop_assert_eq!(Open::decode(&bytes[..end]), Err(Malformed));
            }
            bytes.push(0);
            prop_assert_eq!(Open::decode(&bytes), Err(Malformed));
        }

        #[test]
        fn no_bytes_panic_and_what_is_read_reads_the_same_again(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(header)) = next(&bytes) {
                prop_assert!(header.frame_bytes() <= bytes.len());
                prop_assert_eq!(&header.encode()[..], &bytes[..4]);
            }
            if let Ok(open) = Open::decode(&bytes) {
                let mut again = Vec::new();
                open.encode(&mut again);
                prop_assert_eq!(&again, &bytes);
            }
            let _ = Reset::decode(&bytes);
        }

        #[test]
        fn a_frame_is_seen_when_it_is_whole(length in 0..=FRAME_PAYLOAD_BYTES_MAX) {
            let header = Header { kind: Kind::Data, length };
            let mut bytes = header.encode().to_vec();
            bytes.resize(header.frame_bytes() - 1, 0);
            prop_assert_eq!(next(&bytes), Ok(None));
            bytes.push(0);
            prop_assert_eq!(next(&bytes), Ok(Some(header)));
        }
    }

    #[test]
    fn a_long_frame_is_one_packet_of_whole_segments() {
        for (segment, frame) in [(1448, 45 * 1448), (1460, 44 * 1460), (1428, 45 * 1428), (8948, 7 * 8948)] {
            assert_eq!(payload_of_whole_segments(segment), frame - OVERHEAD_BYTES);
        }
        for segment in [0, 65_483, usize::MAX] {
            assert_eq!(payload_of_whole_segments(segment), FRAME_PAYLOAD_BYTES_MAX);
        }
    }

    #[test]
    fn a_header_over_its_kinds_limit_is_malformed_before_its_payload_comes() {
        for (kind, max) in
            [(0u8, FRAME_PAYLOAD_BYTES_MAX), (1, CONTROL_PAYLOAD_BYTES_MAX), (2, 0), (3, 5), (4, 0), (5, 0), (6, 0)]
        {
            let header = |length: usize| {
                let bytes = (length as u32).to_le_bytes();
                next(&[bytes[0], bytes[1], bytes[2], kind])
            };
            assert_eq!(header(max), Ok(None));
            assert_eq!(header(max + 1), Err(Malformed));
        }
        assert_eq!(next(&[0, 0, 0, 7]), Err(Malformed));
    }
}
