//! A worker's one buffer. Every read lands here, is sealed or opened in place, and is written from here; only what a
//! socket did not take is copied away. So an idle flow owns no buffer at all.

use std::io::{self, IoSliceMut};

use crate::{
    endpoint::Endpoint,
    frame::{FRAME_BYTES_MAX, HEADER_BYTES},
    limits::{FRAME_PAYLOAD_BYTES_MAX, READ_BYTES},
};

const FRAMES: usize = READ_BYTES / FRAME_PAYLOAD_BYTES_MAX;

#[derive(Default)]
pub struct Arena {
    pub bytes: Vec<u8>,
}

impl Arena {
    pub fn new() -> Self {
        // A read behind an unfinished frame, or frames to seal, whichever is more.
        Self { bytes: vec![0; FRAME_BYTES_MAX * (FRAMES + 1)] }
    }

    /// Somebody works in it: this is only what stands in for it meanwhile.
    pub fn is_taken(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reads plain bytes to where the payloads of consecutive frames stand: all full but the last.
    pub fn read_payloads(&mut self, from: &mut Endpoint, most: usize) -> io::Result<Option<usize>> {
        let mut frames = self.bytes.chunks_exact_mut(FRAME_BYTES_MAX);
        let mut slices: [IoSliceMut; FRAMES] = std::array::from_fn(|index| {
            let room = most.saturating_sub(index * FRAME_PAYLOAD_BYTES_MAX).min(FRAME_PAYLOAD_BYTES_MAX);
            let frame = frames.next().unwrap_or_default();
            IoSliceMut::new(frame.get_mut(HEADER_BYTES..HEADER_BYTES + room).unwrap_or_default())
        });
        let used = most.div_ceil(FRAME_PAYLOAD_BYTES_MAX).clamp(1, FRAMES);
        match &mut slices[..used] {
            [one] => from.read(one),
            several => from.read_vectored(several),
        }
    }
}
