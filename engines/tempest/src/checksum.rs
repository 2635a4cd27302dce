//! The Internet checksum (RFC 1071), on words in memory order: the sum of swapped words is the swapped sum, so nothing
//! is swapped but the length and protocol of a pseudo header.

/// Sum of the 16-bit words of `bytes` in memory order; an odd last byte counts as followed by a zero.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was found just now.
        return unsafe { sum_avx2(bytes) };
    }
    sum_words(bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(bytes: &[u8]) -> u64 {
    sum_words(bytes)
}

#[inline(always)]
fn sum_words(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut tail = [0; 4];
    tail[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_ne_bytes(tail));
    total
}

/// One's complement fold to 16 bits, memory order.
#[inline]
pub fn fold(sum: u64) -> u16 {
    let mut sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The pseudo header of TCP and UDP (RFC 793, RFC 8200): both addresses as they stand in the packet, protocol, length.
#[inline]
pub fn pseudo_header(addresses: &[u8], protocol: u8, length: usize) -> u64 {
    let length = length as u32;
    sum(addresses)
        + u64::from(u16::from(protocol).to_be())
        + u64::from((length as u16).to_be())
        + u64::from(((length >> 16) as u16).to_be())
}

/// What goes into a checksum field for `sum`, as bytes.
#[inline]
pub fn finish(sum: u64) -> [u8; 2] {
    (!fold(sum)).to_ne_bytes()
}

/// As [`finish`], for UDP, where 0 would mean "none".
#[inline]
pub fn finish_udp(sum: u64) -> [u8; 2] {
    match finish(sum) {
        [0, 0] => [0xff, 0xff],
        checksum => checksum,
    }
}

/// Whether everything that was summed, checksum field included, is intact.
#[inline]
pub fn is_valid(sum: u64) -> bool {
    fold(sum) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071's text, byte for byte, in network order.
    fn naive(bytes: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in bytes.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            total = (total & 0xffff) + (total >> 16);
        }
        !(total as u16)
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_sum(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(u16::from_be_bytes(finish(sum(&bytes))), naive(&bytes));
            prop_assert_eq!(u16::from_be_bytes(finish(sum_words(&bytes))), naive(&bytes));
        }

        #[test]
        fn the_pseudo_header_is_the_one_spelled_out(
            addresses in prop_oneof![prop::collection::vec(any::<u8>(), 8), prop::collection::vec(any::<u8>(), 32)],
            protocol: u8,
            length in 0..65_536usize,
        ) {
            let mut spelled = addresses.clone();
            spelled.extend((length as u32).to_be_bytes());
            spelled.extend([0, 0, 0, protocol]);
            prop_assert_eq!(u16::from_be_bytes(finish(pseudo_header(&addresses, protocol, length))), naive(&spelled));
        }
    }

    #[test]
    fn a_full_packet_of_ones_does_not_overflow() {
        assert_eq!(u16::from_be_bytes(finish(sum(&[0xff; 65_535]))), naive(&[0xff; 65_535]));
    }

    #[test]
    fn udp_never_says_none() {
        assert_eq!(finish_udp(0xffff), [0xff, 0xff]);
    }
}
