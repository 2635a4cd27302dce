//! From opened packets back to super-packets for the TUN device: neighbours of one TCP or UDP flow become one packet
//! that the kernel handles once. Nothing is copied but the headers: a group names pieces of the buffer that was received
//! into, and is written with one gathering write.
//!
//! 1. A packet that may be put together (plain header, no fragment, checksum verified here) looks for its flow's group.
//! 2. It is appended when nothing but length, id, sequence number and checksum differs from what the group expects.
//! 3. Otherwise that group is written first, so that a flow's packets never overtake each other.
//! 4. At the end of a batch all groups are written.

use crate::{
    checksum,
    limits::{COALESCE_FLOWS_MAX, COALESCE_SEGMENTS_MAX},
    packet::{IpHeader, TCP, TCP_ACK, TCP_PSH, UDP, Version},
    vnet::{Gso, VNET_HEADER_BYTES, VnetHeader},
};

/// IPv6 header and the longest TCP header.
const HEADERS_BYTES_MAX: usize = 40 + 60;

/// A piece of the receive buffer: start and length.
pub type Piece = (usize, usize);

/// One write to the device.
pub struct Super<'a> {
    pub vnet: [u8; VNET_HEADER_BYTES],
    /// The headers of a group; empty when `pieces` is one whole packet.
    pub headers: &'a [u8],
    pub pieces: &'a [Piece],
    pub packets: usize,
}

pub trait Sink {
    fn write(&mut self, packet: Super<'_>);
}

#[derive(Default)]
pub struct Coalescer {
    groups: Vec<Group>,
    /// Groups in use, first come first; the rest keep their allocations.
    used: usize,
}

struct Group {
    headers: [u8; HEADERS_BYTES_MAX],
    headers_length: usize,
    ip: IpHeader,
    /// The whole first packet, for a group that stays alone.
    first: Piece,
    pieces: Vec<Piece>,
    segment_size: usize,
    payload_length: usize,
    next_sequence: u32,
    /// Nothing may follow: the last segment was short or pushed.
    is_closed: bool,
}

/// A packet that may be put together with others.
struct Candidate {
    ip: IpHeader,
    headers_length: usize,
    payload_length: usize,
}

enum Kind {
    Candidate(Candidate),
    /// Of a flow, but to stand alone.
    Alone(IpHeader),
    /// Anything else; goes in order with everything.
    Odd,
}

impl Coalescer {
    /// `piece` is a packet in `buffer`, cut to the length that its header, `ip`, says. `with_udp`: the device takes UDP
    /// super-packets.
    pub fn push(&mut self, buffer: &[u8], piece: Piece, ip: IpHeader, with_udp: bool, sink: &mut impl Sink) {
        let packet = &buffer[piece.0..piece.0 + piece.1];
        match classify(packet, ip, with_udp) {
            Kind::Candidate(candidate) => self.push_candidate(packet, piece, candidate, sink),
            Kind::Alone(ip) => {
                if let Some(index) = self.find(packet, &ip) {
                    self.write_group(index, sink);
                }
                write_alone(piece, false, sink);
            }
            Kind::Odd => {
                self.flush(sink);
                write_alone(piece, false, sink);
            }
        }
    }

    pub fn flush(&mut self, sink: &mut impl Sink) {
        for group in &mut self.groups[..self.used] {
            group.write(sink);
        }
        self.used = 0;
    }

    fn push_candidate(&mut self, packet: &[u8], piece: Piece, candidate: Candidate, sink: &mut impl Sink) {
        if let Some(index) = self.find(packet, &candidate.ip) {
            if self.groups[index].append(packet, piece, &candidate) {
                return;
            }
            self.write_group(index, sink);
        }
        if self.used == COALESCE_FLOWS_MAX {
            self.write_group(0, sink);
        }
        if self.used == self.groups.len() {
            self.groups.push(Group::new(candidate.ip));
        }
        self.groups[self.used].start(packet, piece, &candidate);
        self.used += 1;
    }

    /// The group of this packet's addresses, protocol and ports.
    fn find(&self, packet: &[u8], ip: &IpHeader) -> Option<usize> {
        let ports = ip.length..ip.length + 4;
        self.groups[..self.used].iter().position(|group| {
            group.ip.version == ip.version
                && group.ip.protocol == ip.protocol
                && group.headers[ip.addresses()] == packet[ip.addresses()]
                && group.headers[ports.clone()] == packet[ports.clone()]
        })
    }

    fn write_group(&mut self, index: usize, sink: &mut impl Sink) {
        self.groups[index].write(sink);
        // Order among the other groups is that of their first packets.
        self.groups[index..self.used].rotate_left(1);
        self.used -= 1;
    }
}

impl Group {
    fn new(ip: IpHeader) -> Self {
        Self {
            headers: [0; HEADERS_BYTES_MAX],
            headers_length: 0,
            ip,
            first: (0, 0),
            pieces: Vec::new(),
            segment_size: 0,
            payload_length: 0,
            next_sequence: 0,
            is_closed: false,
        }
    }

    fn start(&mut self, packet: &[u8], piece: Piece, candidate: &Candidate) {
        let (ip, length, size) = (candidate.ip, candidate.headers_length, candidate.payload_length);
        self.headers[..length].copy_from_slice(&packet[..length]);
        self.headers_length = length;
        self.ip = ip;
        self.first = piece;
        self.pieces.clear();
        self.pieces.push((piece.0 + length, size));
        self.segment_size = size;
        self.payload_length = size;
        let is_tcp = ip.protocol == TCP;
        self.next_sequence = if is_tcp { sequence(packet, &ip).wrapping_add(size as u32) } else { 0 };
        self.is_closed = is_tcp && packet[ip.length + 13] & TCP_PSH != 0;
    }

    fn append(&mut self, packet: &[u8], piece: Piece, candidate: &Candidate) -> bool {
        let size = candidate.payload_length;
        let fits = !self.is_closed
            && candidate.headers_length == self.headers_length
            && size <= self.segment_size
            && self.pieces.len() < COALESCE_SEGMENTS_MAX
            && self.headers_length + self.payload_length + size <= 0xffff;
        if !fits || !self.same_ip_header(packet) || !self.same_transport_header(packet) {
            return false;
        }
        self.pieces.push((piece.0 + self.headers_length, size));
        self.payload_length += size;
        self.is_closed = size < self.segment_size;
        if self.ip.protocol == TCP {
            self.next_sequence = self.next_sequence.wrapping_add(size as u32);
            let flags = self.ip.length + 13;
            let pushed = packet[flags] & TCP_PSH;
            self.headers[flags] |= pushed;
            self.is_closed |= pushed != 0;
        }
        true
    }

    /// Everything but lengths, id and header checksum; addresses are known to be equal.
    fn same_ip_header(&self, packet: &[u8]) -> bool {
        match self.ip.version {
            // Type of service; flags and fragment offset; time to live. What may still be cut to pieces on its way must
            // also keep the id that those pieces will carry.
            Version::V4 => {
                let dont_fragment = packet[6] & 0x40 != 0;
                let id = u16::from_be_bytes([packet[4], packet[5]]);
                let first = u16::from_be_bytes([self.headers[4], self.headers[5]]);
                packet[1] == self.headers[1]
                    && packet[6..9] == self.headers[6..9]
                    && (dont_fragment || id == first.wrapping_add(self.pieces.len() as u16))
            }
            // Traffic class and flow label; hop limit.
            Version::V6 => packet[..4] == self.headers[..4] && packet[7] == self.headers[7],
        }
    }

    /// TCP: the next sequence number, same acknowledgement, window and options. Ports are known to be equal.
    fn same_transport_header(&self, packet: &[u8]) -> bool {
        let at = self.ip.length;
        self.ip.protocol == UDP
            || sequence(packet, &self.ip) == self.next_sequence
                && packet[at + 8..at + 13] == self.headers[at + 8..at + 13]
                && packet[at + 14..at + 16] == self.headers[at + 14..at + 16]
                && packet[at + 20..self.headers_length] == self.headers[at + 20..self.headers_length]
    }

    fn write(&mut self, sink: &mut impl Sink) {
        if self.pieces.len() == 1 {
            return write_alone(self.first, true, sink);
        }
        let (at, total) = (self.ip.length, self.headers_length + self.payload_length);
        let headers = &mut self.headers[..self.headers_length];
        match self.ip.version {
            Version::V4 => {
                headers[2..4].copy_from_slice(&(total as u16).to_be_bytes());
                headers[10..12].fill(0);
                let sum = checksum::finish(checksum::sum(&headers[..at]));
                headers[10..12].copy_from_slice(&sum);
            }
            Version::V6 => headers[4..6].copy_from_slice(&((total - at) as u16).to_be_bytes()),
        }
        let is_tcp = self.ip.protocol == TCP;
        if !is_tcp {
            headers[at + 4..at + 6].copy_from_slice(&((total - at) as u16).to_be_bytes());
        }
        // The kernel completes it per segment, or trusts it where the packet ends here.
        let offset = if is_tcp { 16 } else { 6 };
        let pseudo = checksum::pseudo_header(&headers[self.ip.addresses()], self.ip.protocol, total - at);
        headers[at + offset..at + offset + 2].copy_from_slice(&checksum::fold(pseudo).to_ne_bytes());
        let vnet = VnetHeader {
            needs_checksum: true,
            gso: match (is_tcp, self.ip.version) {
                (true, Version::V4) => Gso::TcpV4,
                (true, Version::V6) => Gso::TcpV6,
                (false, _) => Gso::Udp,
            },
            header_length: self.headers_length as u16,
            segment_size: self.segment_size as u16,
            csum_start: at as u16,
            csum_offset: offset as u16,
            ..VnetHeader::default()
        };
        sink.write(Super { vnet: vnet.to_bytes(), headers, pieces: &self.pieces, packets: self.pieces.len() });
    }
}

fn write_alone(piece: Piece, checksum_verified: bool, sink: &mut impl Sink) {
    let vnet = VnetHeader { checksum_verified, ..VnetHeader::default() };
    sink.write(Super { vnet: vnet.to_bytes(), headers: &[], pieces: &[piece], packets: 1 });
}

fn classify(packet: &[u8], ip: IpHeader, with_udp: bool) -> Kind {
    // IPv4 options are rare and extension headers stand for another protocol: both go as they are.
    let plain = match ip.version {
        Version::V4 => ip.length == 20,
        Version::V6 => true,
    };
    let transport = match ip.protocol {
        TCP => 20,
        UDP => 8,
        _ => return Kind::Odd,
    };
    if !plain || ip.is_fragment || ip.total_length < ip.length + transport {
        return Kind::Odd;
    }
    let segment = &packet[ip.length..ip.total_length];
    let headers_length = match ip.protocol {
        TCP => {
            let length = usize::from(segment[12] >> 4) * 4;
            let only_data = segment[13] & !TCP_PSH == TCP_ACK;
            if length < 20 || length >= segment.len() || !only_data {
                return Kind::Alone(ip);
            }
            ip.length + length
        }
        _ => {
            let stated = usize::from(u16::from_be_bytes([segment[4], segment[5]]));
            let has_checksum = segment[6..8] != [0, 0];
            if !with_udp || stated != segment.len() || stated == 8 || !has_checksum {
                return Kind::Alone(ip);
            }
            ip.length + 8
        }
    };
    let ip_is_intact = ip.version == Version::V6 || checksum::is_valid(checksum::sum(&packet[..ip.length]));
    let pseudo = checksum::pseudo_header(&packet[ip.addresses()], ip.protocol, segment.len());
    if !ip_is_intact || !checksum::is_valid(pseudo + checksum::sum(segment)) {
        return Kind::Alone(ip);
    }
    Kind::Candidate(Candidate { ip, headers_length, payload_length: ip.total_length - headers_length })
}

fn sequence(packet: &[u8], ip: &IpHeader) -> u32 {
    let at = ip.length + 4;
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}
