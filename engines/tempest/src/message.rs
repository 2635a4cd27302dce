//! WireGuard messages on the wire (paper, 5.4). Parsing is total: a slice is one of these or nothing.

pub const INITIATION: u32 = 1;
pub const RESPONSE: u32 = 2;
pub const COOKIE_REPLY: u32 = 3;
pub const DATA: u32 = 4;

pub const INITIATION_BYTES: usize = 148;
pub const RESPONSE_BYTES: usize = 92;
pub const COOKIE_REPLY_BYTES: usize = 64;
pub const DATA_HEADER_BYTES: usize = 16;
pub const TAG_BYTES: usize = 16;
/// What a data message adds to its packet.
pub const DATA_OVERHEAD_BYTES: usize = DATA_HEADER_BYTES + TAG_BYTES;
/// mac1 and mac2 at the end of the first two.
pub const MACS_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    Initiation(Initiation<'a>),
    Response(Response<'a>),
    CookieReply(CookieReply<'a>),
    Data(Data),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initiation<'a> {
    pub sender: u32,
    pub noise: &'a [u8; 108],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    pub sender: u32,
    pub receiver: u32,
    pub noise: &'a [u8; 48],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieReply<'a> {
    pub receiver: u32,
    pub nonce: &'a [u8; 24],
    pub sealed: &'a [u8; 32],
}

/// The sealed packet is what follows [`DATA_HEADER_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    pub receiver: u32,
    pub counter: u64,
}

pub fn parse(bytes: &[u8]) -> Option<Message<'_>> {
    let (kind, rest) = split_u32(bytes)?;
    match (kind, bytes.len()) {
        (INITIATION, INITIATION_BYTES) => {
            let (sender, rest) = split_u32(rest)?;
            Some(Message::Initiation(Initiation { sender, noise: rest.first_chunk()? }))
        }
        (RESPONSE, RESPONSE_BYTES) => {
            let (sender, rest) = split_u32(rest)?;
            let (receiver, rest) = split_u32(rest)?;
            Some(Message::Response(Response { sender, receiver, noise: rest.first_chunk()? }))
        }
        (COOKIE_REPLY, COOKIE_REPLY_BYTES) => {
            let (receiver, rest) = split_u32(rest)?;
            let (nonce, rest) = rest.split_first_chunk()?;
            Some(Message::CookieReply(CookieReply { receiver, nonce, sealed: rest.first_chunk()? }))
        }
        (DATA, length) if length >= DATA_OVERHEAD_BYTES => {
            let (receiver, rest) = split_u32(rest)?;
            Some(Message::Data(Data { receiver, counter: u64::from_le_bytes(*rest.first_chunk()?) }))
        }
        _ => None,
    }
}

/// Writes a data message's header; `out` has room.
#[inline]
pub fn write_data_header(out: &mut [u8; DATA_HEADER_BYTES], receiver: u32, counter: u64) {
    out[..4].copy_from_slice(&DATA.to_le_bytes());
    out[4..8].copy_from_slice(&receiver.to_le_bytes());
    out[8..].copy_from_slice(&counter.to_le_bytes());
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nearly_messages() -> impl Strategy<Value = Vec<u8>> {
        let lengths = prop_oneof![
            Just(INITIATION_BYTES),
            Just(RESPONSE_BYTES),
            Just(COOKIE_REPLY_BYTES),
            Just(DATA_OVERHEAD_BYTES),
            0..200usize,
            Just(1452)
        ];
        (0..6u8, lengths).prop_flat_map(|(kind, length)| {
            prop::collection::vec(any::<u8>(), length).prop_map(move |mut bytes| {
                if let Some(head) = bytes.first_chunk_mut::<4>() {
                    *head = [kind, 0, 0, 0];
                }
                bytes
            })
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_nothing(bytes in prop_oneof![nearly_messages(), prop::collection::vec(any::<u8>(), 0..200)]) {
            let kind = match parse(&bytes) {
                None => return Ok(()),
                Some(Message::Initiation(_)) => INITIATION,
                Some(Message::Response(_)) => RESPONSE,
                Some(Message::CookieReply(_)) => COOKIE_REPLY,
                Some(Message::Data(_)) => DATA,
            };
            prop_assert_eq!(&bytes[..4], &kind.to_le_bytes());
        }
    }

    #[test]
    fn reserved_bytes_and_lengths_are_kept_to() {
        let mut bytes = vec![0; INITIATION_BYTES];
        bytes[0] = 1;
        assert!(matches!(parse(&bytes), Some(Message::Initiation(_))));
        bytes[1] = 1;
        assert_eq!(parse(&bytes), None, "a reserved byte is set");
        bytes[1] = 0;
        bytes.push(0);
        assert_eq!(parse(&bytes), None, "one byte too long");
        assert_eq!(parse(&[4, 0, 0, 0]), None, "no room for a tag");
    }

    #[test]
    fn a_header_reads_back() {
        let mut bytes = [0; DATA_OVERHEAD_BYTES];
        write_data_header(bytes.first_chunk_mut().unwrap(), 7, 1 << 40);
        assert_eq!(parse(&bytes), Some(Message::Data(Data { receiver: 7, counter: 1 << 40 })));
    }
}
