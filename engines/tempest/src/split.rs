//! From what a TUN device hands over to packets of the wire's size: a super-packet is cut into segments, each with its
//! own lengths, ids, sequence numbers and checksums; any other packet passes with its checksum completed.

use crate::{
    checksum,
    packet::{IpHeader, TCP, TCP_CWR, TCP_FIN, TCP_PSH, UDP, Version},
    vnet::{Gso, VnetHeader},
};

/// The packets inside one that was read, in order. Lend a slot of [`Split::next_length`] bytes to [`Split::write_next`]
/// until there is no next.
pub struct Split<'a> {
    packet: &'a [u8],
    plan: Plan,
    /// Payload bytes (segments) or whether it was taken (one packet).
    taken: usize,
}

#[derive(Clone, Copy)]
enum Plan {
    /// As it is, but for a checksum to be completed: from where, and where it stands.
    One {
        checksum: Option<(usize, usize)>,
    },
    Segments(Segments),
}

#[derive(Clone, Copy)]
struct Segments {
    ip: IpHeader,
    /// Where TCP or UDP begins, behind options and extension headers.
    transport: usize,
    /// Where the payload begins.
    payload: usize,
    size: usize,
    is_tcp: bool,
}

impl<'a> Split<'a> {
    /// None: the device's header and packet do not belong together.
    pub fn new(header: &VnetHeader, packet: &'a [u8]) -> Option<Self> {
        let plan = match header.gso {
            Gso::None => Plan::One { checksum: partial_checksum(header, packet)? },
            gso => Plan::Segments(Segments::new(header, gso, packet)?),
        };
        Some(Self { packet, plan, taken: 0 })
    }

    #[inline]
    pub fn next_length(&self) -> Option<usize> {
        match &self.plan {
            Plan::One { .. } => (self.taken == 0).then_some(self.packet.len()),
            Plan::Segments(segments) => {
                let left = self.packet.len() - segments.payload - self.taken;
                (left > 0).then(|| segments.payload + left.min(segments.size))
            }
        }
    }

    /// Writes the next packet into `out`, which is exactly as long as it.
    #[inline]
    pub fn write_next(&mut self, out: &mut [u8]) {
        match self.plan {
            Plan::One { checksum } => {
                out.copy_from_slice(self.packet);
                if let Some((start, at)) = checksum {
                    let sum = checksum::finish_udp(checksum::sum(&out[start..]));
                    out[at..at + 2].copy_from_slice(&sum);
                }
                self.taken = 1;
            }
            Plan::Segments(segments) => {
                let size = out.len() - segments.payload;
                let from = segments.payload + self.taken;
                out[..segments.payload].copy_from_slice(&self.packet[..segments.payload]);
                out[segments.payload..].copy_from_slice(&self.packet[from..from + size]);
                let is_last = from + size == self.packet.len();
                segments.finish_headers(out, self.taken, is_last);
                self.taken += size;
            }
        }
    }
}

impl Segments {
    fn new(header: &VnetHeader, gso: Gso, packet: &[u8]) -> Option<Self> {
        let ip = IpHeader::parse(packet)?;
        let transport = usize::from(header.csum_start);
        let right_version = match gso {
            Gso::TcpV4 => ip.version == Version::V4,
            Gso::TcpV6 => ip.version == Version::V6,
            _ => true,
        };
        let is_tcp = gso != Gso::Udp;
        // Where extension headers are, `ip.protocol` is theirs; the device's word is what the kernel goes by as well.
        if !right_version || !header.needs_checksum || transport < ip.length || header.segment_size == 0 {
            return None;
        }
        let payload =
            if is_tcp { transport + usize::from(packet.get(transport + 12)? >> 4) * 4 } else { transport + 8 };
        let shortest = transport + if is_tcp { 20 } else { 8 };
        let size = usize::from(header.segment_size);
        (payload >= shortest && packet.len() > payload && payload + size <= 0xffff).then_some(Self {
            ip,
            transport,
            payload,
            size,
            is_tcp,
        })
    }

    /// Makes the copied headers those of the segment that begins `offset` bytes into the payload.
    #[inline]
    fn finish_headers(&self, out: &mut [u8], offset: usize, is_last: bool) {
        let length = out.len();
        match self.ip.version {
            Version::V4 => {
                let number = (offset / self.size) as u16;
                let id = u16::from_be_bytes([out[4], out[5]]).wrapping_add(number);
                out[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                out[4..6].copy_from_slice(&id.to_be_bytes());
                out[10..12].fill(0);
                let sum = checksum::finish(checksum::sum(&out[..self.ip.length]));
                out[10..12].copy_from_slice(&sum);
            }
            Version::V6 => out[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes()),
        }
        let transport = self.transport;
        let protocol = if self.is_tcp { TCP } else { UDP };
        let pseudo = checksum::pseudo_header(&out[self.ip.addresses()], protocol, length - transport);
        let segment = &mut out[transport..];
        if self.is_tcp {
            let sequence = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
            segment[4..8].copy_from_slice(&sequence.wrapping_add(offset as u32).to_be_bytes());
            if !is_last {
                segment[13] &= !(TCP_FIN | TCP_PSH);
            }
            if offset > 0 {
                segment[13] &= !TCP_CWR;
            }
            segment[16..18].fill(0);
            let sum = checksum::finish(pseudo + checksum::sum(segment));
            segment[16..18].copy_from_slice(&sum);
        } else {
            segment[4..6].copy_from_slice(&((length - transport) as u16).to_be_bytes());
            segment[6..8].fill(0);
            let sum = checksum::finish_udp(pseudo + checksum::sum(segment));
            segment[6..8].copy_from_slice(&sum);
        }
    }
}

/// Outer None: the header points outside the packet. Inner None: nothing to complete.
#[allow(clippy::option_option)]
fn partial_checksum(header: &VnetHeader, packet: &[u8]) -> Option<Option<(usize, usize)>> {
    if !header.needs_checksum {
        return Some(None);
    }
    let start = usize::from(header.csum_start);
    let at = start + usize::from(header.csum_offset);
    (at + 2 <= packet.len()).then_some(Some((start, at)))
}
