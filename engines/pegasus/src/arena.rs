//! A worker's one buffer. Every read lands here, is sealed or opened in place, and is written from here; only what a
//! socket did not take is copied away. So an idle flow owns no buffer at all.

use std::io::{self, IoSliceMut};

use crate::{
    endpoint::Endpoint,
    frame::{FRAME_BYTES_MAX, HEADER_BYTES, OVERHEAD_BYTES},
    limits::{FRAME_PAYLOAD_BYTES_MAX, READ_BYTES},
};

const FRAMES: usize = READ_BYTES / FRAME_PAYLOAD_BYTES_MAX;

#[derive(Default)]
pub struct Arena {
    pub bytes: Vec<u8>,
}

impl Arena {
    pub fn new() -> Self {
        // The frames of a read, and FIN behind them.
        Self { bytes: vec![0; FRAME_BYTES_MAX * FRAMES + OVERHEAD_BYTES] }
    }

    /// Somebody works in it: this is only what stands in for it meanwhile.
    pub fn is_taken(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Where sealed bytes are read to, behind the `kept` ones of an unfinished frame. Frames of one length then end with each read
    /// at the same place, so that no more than once a long rest is moved to the beginning.
    pub fn behind(&mut self, kept: usize) -> &mut [u8] {
        self.bytes.get_mut(kept..FRAME_BYTES_MAX * FRAMES).unwrap_or_default()
    }

    /// Reads at most `most` plain bytes to where the payloads of consecutive frames stand: all of `payload_most` bytes but the
    /// last.
    pub fn read_payloads(
        &mut self,
        from: &mut Endpoint,
        most: usize,
        payload_most: usize,
    ) -> io::Result<Option<usize>> {
        let mut frames = self.bytes.chunks_exact_mut(payload_most + OVERHEAD_BYTES);
        let mut slices: [IoSliceMut; FRAMES] = std::array::from_fn(|index| {
            let room = most.saturating_sub(index * payload_most).min(payload_most);
            let frame = frames.next().unwrap_or_default();
            IoSliceMut::new(frame.get_mut(HEADER_BYTES..HEADER_BYTES + room).unwrap_or_default())
        });
        let used = most.div_ceil(payload_most).clamp(1, FRAMES);
        match &mut slices[..used] {
            [one] => from.read(one),
            several => from.read_vectored(several),
        }
    }
}
