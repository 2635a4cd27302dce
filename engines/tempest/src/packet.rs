//! What this engine needs to know of an IP packet. Total over any bytes.

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

pub const TCP_FIN: u8 = 0x01;
pub const TCP_PSH: u8 = 0x08;
pub const TCP_ACK: u8 = 0x10;
pub const TCP_CWR: u8 = 0x80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V4,
    V6,
}

/// A packet's IP header, whose stated length lies inside the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpHeader {
    pub version: Version,
    /// Whole packet, as the header says: what is beyond it is WireGuard's padding.
    pub total_length: usize,
    /// Where the protocol after the fixed header (IPv6) or the header with its options (IPv4) begins.
    pub length: usize,
    pub protocol: u8,
    pub is_fragment: bool,
}

impl IpHeader {
    #[inline]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let head: &[u8; 20] = packet.first_chunk()?;
                let length = usize::from(head[0] & 15) * 4;
                let total_length = usize::from(u16::from_be_bytes([head[2], head[3]]));
                let is_fragment = u16::from_be_bytes([head[6], head[7]]) & 0x3fff != 0;
                let fits = length >= 20 && total_length >= length && total_length <= packet.len();
                fits.then_some(Self { version: Version::V4, total_length, length, protocol: head[9], is_fragment })
            }
            6 => {
                let head: &[u8; 40] = packet.first_chunk()?;
                let total_length = 40 + usize::from(u16::from_be_bytes([head[4], head[5]]));
                let fits = total_length <= packet.len();
                fits.then_some(Self {
                    version: Version::V6,
                    total_length,
                    length: 40,
                    protocol: head[6],
                    is_fragment: head[6] == 44,
                })
            }
            _ => None,
        }
    }

    /// Where source and destination address stand, one after the other.
    #[inline]
    pub fn addresses(&self) -> std::ops::Range<usize> {
        match self.version {
            Version::V4 => 12..20,
            Version::V6 => 8..40,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_lies_inside_its_packet(mut bytes in prop::collection::vec(any::<u8>(), 0..120), version in 0..16u8, length in 0..200u16) {
            if bytes.len() > 5 {
                bytes[0] = version << 4 | bytes[0] & 15;
                let at = if version == 6 { 4 } else { 2 };
                bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
            }
            if let Some(header) = IpHeader::parse(&bytes) {
                prop_assert!(header.length <= header.total_length && header.total_length <= bytes.len());
                prop_assert!(header.addresses().end <= header.length);
            }
        }
    }
}
