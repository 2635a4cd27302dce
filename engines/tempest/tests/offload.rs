//! Splitting and coalescing against each other and against the textbook: whatever goes through both comes out as it was.

use proptest::prelude::*;
use tempest::{
    coalesce::{Coalescer, Sink, Super},
    packet::IpHeader,
    split::Split,
    vnet::{VNET_HEADER_BYTES, VnetHeader},
};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A packet as a host would send it, before any offload.
#[derive(Debug, Clone)]
struct Made {
    v6: bool,
    protocol: u8,
    flow: u8,
    id: u16,
    dont_fragment: bool,
    sequence: u32,
    flags: u8,
    tcp_options: u8,
    extension: bool,
    payload: Vec<u8>,
}

impl Made {
    fn transport_at(&self) -> usize {
        match (self.v6, self.extension) {
            (false, _) => 20,
            (true, false) => 40,
            (true, true) => 48,
        }
    }

    fn headers_length(&self) -> usize {
        self.transport_at() + if self.protocol == TCP { 20 + usize::from(self.tcp_options) * 4 } else { 8 }
    }

    fn bytes(&self) -> Vec<u8> {
        let (at, total) = (self.transport_at(), self.headers_length() + self.payload.len());
        let mut bytes = vec![0; total];
        if self.v6 {
            bytes[0] = 0x60;
            bytes[4..6].copy_from_slice(&((total - 40) as u16).to_be_bytes());
            bytes[6] = self.protocol;
            if self.extension {
                // An empty destination options header: PadN to 8 bytes.
                bytes[6] = 60;
                bytes[40..48].copy_from_slice(&[self.protocol, 0, 1, 4, 0, 0, 0, 0]);
            }
            bytes[7] = 64;
            bytes[23] = 1;
            bytes[39] = 2;
        } else {
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&(total as u16).to_be_bytes());
            bytes[4..6].copy_from_slice(&self.id.to_be_bytes());
            bytes[6] = u8::from(self.dont_fragment) << 6;
            bytes[8] = 64;
            bytes[9] = self.protocol;
            bytes[12..20].copy_from_slice(&[10, 1, 0, 2, 10, 2, 0, 2]);
            let sum = naive(&bytes[..20]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        bytes[at..at + 4].copy_from_slice(&[1, self.flow, 2, 0]);
        if self.protocol == TCP {
            bytes[at + 4..at + 8].copy_from_slice(&self.sequence.to_be_bytes());
            bytes[at + 8..at + 12].copy_from_slice(&[0, 0, 0, 9]);
            bytes[at + 12] = (5 + self.tcp_options) << 4;
            bytes[at + 13] = self.flags;
            bytes[at + 14..at + 16].copy_from_slice(&[1, 0]);
            bytes[at + 20..self.headers_length()].fill(1);
        } else {
            bytes[at + 4..at + 6].copy_from_slice(&((total - at) as u16).to_be_bytes());
        }
        let headers = self.headers_length();
        bytes[headers..].copy_from_slice(&self.payload);
        let field = at + if self.protocol == TCP { 16 } else { 6 };
        let sum = naive(&with_pseudo_header(&bytes, at, self.protocol));
        bytes[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The same as one super-packet, as a TUN device hands it over.
    fn super_packet(&self, segment: usize) -> Vec<u8> {
        let mut bytes = self.bytes();
        let at = self.transport_at();
        let offset = if self.protocol == TCP { 16 } else { 6 };
        // Only the pseudo header's part stands in the field, not inverted.
        bytes[at + offset..at + offset + 2].fill(0);
        let pseudo = with_pseudo_header(&bytes, at, self.protocol);
        let part = !naive(&pseudo[..pseudo.len() - (bytes.len() - at)]);
        bytes[at + offset..at + offset + 2].copy_from_slice(&part.to_be_bytes());
        let kind = match (self.protocol, self.v6) {
            (TCP, false) => 1,
            (TCP, true) => 4,
            _ => 5,
        };
        let mut read = vec![1, kind];
        let words = [self.headers_length(), segment, at, offset];
        read.extend(words.iter().flat_map(|word| (*word as u16).to_ne_bytes()));
        read.extend(bytes);
        read
    }
}

/// RFC 1071, two bytes at a time.
fn naive(bytes: &[u8]) -> u16 {
    let mut total = 0u32;
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

fn with_pseudo_header(packet: &[u8], at: usize, protocol: u8) -> Vec<u8> {
    let addresses = if packet[0] >> 4 == 4 { &packet[12..20] } else { &packet[8..40] };
    let mut bytes = addresses.to_vec();
    bytes.extend(((packet.len() - at) as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes.extend(&packet[at..]);
    bytes
}

fn split(read: &[u8]) -> Vec<Vec<u8>> {
    let (header, packet) = VnetHeader::parse(read).expect("a vnet header");
    let mut split = Split::new(&header, packet).expect("fits together");
    let mut packets = Vec::new();
    while let Some(length) = split.next_length() {
        let mut out = vec![0xee; length];
        split.write_next(&mut out);
        packets.push(out);
    }
    packets
}

/// What a device would be written.
#[derive(Default)]
struct Device<'a> {
    buffer: &'a [u8],
    written: Vec<Vec<u8>>,
}

impl Sink for Device<'_> {
    fn write(&mut self, packet: Super<'_>) {
        let mut bytes = packet.vnet.to_vec();
        bytes.extend(packet.headers);
        for &(start, length) in packet.pieces {
            bytes.extend(&self.buffer[start..start + length]);
        }
        self.written.push(bytes);
    }
}

/// Receives `packets` in one batch.
fn coalesce(packets: &[Vec<u8>], with_udp: bool) -> Vec<Vec<u8>> {
    let buffer = packets.concat();
    let mut device = Device { buffer: &buffer, written: Vec::new() };
    let mut coalescer = Coalescer::default();
    let mut start = 0;
    for packet in packets {
        if let Some(ip) = IpHeader::parse(packet) {
            coalescer.push(&buffer, (start, ip.total_length), ip, with_udp, &mut device);
        }
        start += packet.len();
    }
    coalescer.flush(&mut device);
    device.written
}

fn made() -> impl Strategy<Value = Made> {
    let shape = (any::<bool>(), prop_oneof![Just(TCP), Just(UDP)], 0..3u8, any::<bool>(), 0..4u8);
    let head = (any::<u16>(), any::<u32>(), any::<bool>(), any::<bool>());
    (shape, head, prop::collection::vec(any::<u8>(), 1..9000)).prop_map(|(shape, head, payload)| {
        let (v6, protocol, flow, dont_fragment, tcp_options) = shape;
        let (id, sequence, push, extension) = head;
        let flags = 0x10 | u8::from(push) << 3;
        Made {
            v6,
            protocol,
            flow,
            id,
            dont_fragment,
            sequence,
            flags,
            tcp_options,
            extension: extension && v6,
            payload,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn segments_are_whole_packets_that_carry_the_payload(made in made(), segment in 1..1500usize) {
        let packets = split(&made.super_packet(segment));
        let headers = made.headers_length();
        let payload: Vec<u8> = packets.iter().flat_map(|packet| packet[headers..].to_vec()).collect();
        prop_assert_eq!(&payload, &made.payload);
        prop_assert_eq!(packets.len(), made.payload.len().div_ceil(segment));
        let mut sent = 0;
        for (number, packet) in packets.iter().enumerate() {
            // Exactly what the host would have sent without offload.
            let size = packet.len() - headers;
            let is_last = number + 1 == packets.len();
            let alone = Made {
                id: made.id.wrapping_add(number as u16),
                sequence: made.sequence.wrapping_add(sent as u32),
                flags: if is_last { made.flags } else { made.flags & !0x09 },
                payload: made.payload[sent..sent + size].to_vec(),
                ..made.clone()
            };
            let mut expected = alone.bytes();
            let at = made.transport_at() + 6;
            if made.protocol == UDP && expected[at..at + 2] == [0, 0] {
                expected[at..at + 2].fill(0xff);
            }
            prop_assert_eq!(packet, &expected);
            sent += size;
        }
    }

    #[test]
    fn coalescing_then_splitting_changes_nothing(
        flows in prop::collection::vec((made(), 200..1400usize), 1..5),
        order in any::<u64>(),
        with_udp: bool,
    ) {
        let mut queues: Vec<Vec<Vec<u8>>> =
            flows.iter().map(|(made, segment)| split(&made.super_packet(*segment))).collect();
        // A merge of the flows, each in its own order.
        let (mut packets, mut random) = (Vec::new(), order | 1);
        while queues.iter().any(|queue| !queue.is_empty()) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let queue = (random >> 33) as usize % queues.len();
            if !queues[queue].is_empty() {
                packets.push(queues[queue].remove(0));
            }
        }
        let again: Vec<_> = coalesce(&packets, with_udp).iter().flat_map(|read| split(read)).collect();
        // Ids of what must not be fragmented mean nothing (RFC 6864) and are dealt anew.
        let key = |packet: &[u8]| {
            let v4 = packet[0] >> 4 == 4;
            if v4 { [&packet[9..10], &packet[12..24]].concat() } else { [&packet[6..7], &packet[8..44]].concat() }
        };
        let neutral = |mut packet: Vec<u8>| {
            if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
                packet[4..6].fill(0);
                packet[10..12].fill(0);
            }
            packet
        };
        let of_flow = |list: &[Vec<u8>], wanted: &[u8]| -> Vec<Vec<u8>> {
            list.iter().filter(|packet| key(packet) == wanted).cloned().map(neutral).collect()
        };
        prop_assert_eq!(again.len(), packets.len());
        for packet in &packets {
            let wanted = key(packet);
            prop_assert_eq!(of_flow(&again, &wanted), of_flow(&packets, &wanted));
        }
    }

    #[test]
    fn any_bytes_are_split_or_refused(header in prop::collection::vec(any::<u8>(), 10), packet in prop::collection::vec(any::<u8>(), 0..300), starts in 0..100u8) {
        let mut read = header;
        read[1] = [0, 1, 4, 5][usize::from(read[1] % 4)];
        read[6..8].copy_from_slice(&u16::from(starts).to_ne_bytes());
        read.extend(packet);
        let (header, packet) = VnetHeader::parse(&read).expect("a known kind");
        let Some(mut split) = Split::new(&header, packet) else { return Ok(()) };
        while let Some(length) = split.next_length() {
            split.write_next(&mut vec![0; length]);
        }
    }

    #[test]
    fn any_packets_pass_the_coalescer(packets in prop::collection::vec((prop_oneof![Just(0x45u8), Just(0x60), any::<u8>()], prop_oneof![Just(TCP), Just(UDP), any::<u8>()], prop::collection::vec(any::<u8>(), 20..120)), 0..20)) {
        let packets: Vec<Vec<u8>> = packets.into_iter().map(|(first, protocol, mut bytes)| {
            bytes[0] = first;
            let length = bytes.len() as u16;
            if first >> 4 == 6 { bytes[4..6].copy_from_slice(&length.saturating_sub(40).to_be_bytes()); bytes[6] = protocol; }
            else { bytes[2..4].copy_from_slice(&length.to_be_bytes()); bytes[6..8].fill(0); bytes[9] = protocol; }
            bytes
        }).collect();
        let known = packets.iter().filter(|packet| IpHeader::parse(packet).is_some()).count();
        prop_assert_eq!(coalesce(&packets, true).len(), known, "with broken checksums nothing is put together");
    }
}

fn stream(count: usize) -> Made {
    Made {
        v6: false,
        protocol: TCP,
        flow: 1,
        id: 65_530,
        dont_fragment: false,
        sequence: u32::MAX - 2000,
        flags: 0x18,
        tcp_options: 3,
        extension: false,
        payload: (0..count).map(|at| at as u8).collect(),
    }
}

#[test]
fn a_run_becomes_one_packet_again() {
    let whole = stream(40_000);
    let packets = split(&whole.super_packet(1368));
    let written = coalesce(&packets, true);
    assert_eq!(written.len(), 1);
    assert_eq!(written[0], whole.super_packet(1368));
}

#[test]
fn a_broken_checksum_stays_broken() {
    let mut packets = split(&stream(10_000).super_packet(1000));
    packets[4][500] ^= 1;
    let written = coalesce(&packets, true);
    assert_eq!(written.len(), 3, "what is before, the broken one, what is after");
    assert_eq!(written[1][VNET_HEADER_BYTES..], packets[4]);
    assert_eq!(written[1][0], 0, "the kernel is left to check it");
}

#[test]
fn fragments_and_other_protocols_pass_untouched_and_in_order() {
    let mut packets = split(&stream(4000).super_packet(1000));
    let mut fragment = packets[1].clone();
    fragment[6] |= 0x20;
    let mut icmp = packets[1].clone();
    icmp[9] = 1;
    packets.insert(2, fragment.clone());
    packets.insert(4, icmp.clone());
    let written = coalesce(&packets, true);
    let whole: Vec<_> = written.iter().map(|read| read[VNET_HEADER_BYTES..].to_vec()).collect();
    assert_eq!((&whole[1], &whole[3]), (&fragment, &icmp));
    let again: Vec<_> = written.iter().flat_map(|read| split(read)).collect();
    assert_eq!(again, packets);
}

#[test]
fn a_checksum_left_to_the_device_is_completed() {
    let mut packet = Made { protocol: UDP, ..stream(100) };
    packet.payload.truncate(77);
    let expected = packet.bytes();
    let mut read = packet.super_packet(0);
    read[1] = 0;
    assert_eq!(split(&read), [expected]);
}
