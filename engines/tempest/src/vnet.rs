//! `struct virtio_net_hdr`, which stands before each packet of a TUN device with `IFF_VNET_HDR` (native byte order).

pub const VNET_HEADER_BYTES: usize = 10;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_ECN: u8 = 0x80;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gso {
    #[default]
    None,
    TcpV4,
    TcpV6,
    Udp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VnetHeader {
    /// The checksum at `csum_start + csum_offset` holds only the pseudo header's part.
    pub needs_checksum: bool,
    /// The checksum was verified and need not be again.
    pub checksum_verified: bool,
    pub gso: Gso,
    pub header_length: u16,
    pub segment_size: u16,
    pub csum_start: u16,
    pub csum_offset: u16,
}

impl VnetHeader {
    /// The header and the packet behind it. None: too short, or of a kind that was never asked for.
    pub fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, packet) = bytes.split_first_chunk::<VNET_HEADER_BYTES>()?;
        let word = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
        let gso = match head[1] & !GSO_ECN {
            0 => Gso::None,
            1 => Gso::TcpV4,
            4 => Gso::TcpV6,
            5 => Gso::Udp,
            _ => return None,
        };
        let header = Self {
            needs_checksum: head[0] & NEEDS_CSUM != 0,
            checksum_verified: head[0] & DATA_VALID != 0,
            gso,
            header_length: word(2),
            segment_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        };
        Some((header, packet))
    }

    pub fn to_bytes(self) -> [u8; VNET_HEADER_BYTES] {
        let mut bytes = [0; VNET_HEADER_BYTES];
        bytes[0] = u8::from(self.needs_checksum) * NEEDS_CSUM + u8::from(self.checksum_verified) * DATA_VALID;
        bytes[1] = match self.gso {
            Gso::None => 0,
            Gso::TcpV4 => 1,
            Gso::TcpV6 => 4,
            Gso::Udp => 5,
        };
        let words = [self.header_length, self.segment_size, self.csum_start, self.csum_offset];
        for (out, word) in bytes[2..].as_chunks_mut::<2>().0.iter_mut().zip(words) {
            *out = word.to_ne_bytes();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_parse_or_not_and_read_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let Some((header, packet)) = VnetHeader::parse(&bytes) else { return Ok(()) };
            prop_assert_eq!(packet, &bytes[VNET_HEADER_BYTES..]);
            let again = header.to_bytes();
            prop_assert_eq!(VnetHeader::parse(&again), Some((header, &[][..])));
        }
    }
}
