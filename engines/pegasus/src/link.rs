//! What a carrier's bytes go over: a TCP connection or a conversation over KCP. Both read and write a stream without
//! waiting, and remember whether that is worth trying.

use std::{
    io::{self, IoSlice},
    time::Instant,
};

use rustix::event::epoll::EventFlags;

use crate::{
    endpoint::{Endpoint, Sink},
    kcp::Conversation,
};

pub enum Link {
    Tcp(Endpoint),
    Kcp(Box<Conversation>),
}

impl Link {
    pub fn note(&mut self, flags: EventFlags) {
        if let Self::Tcp(endpoint) = self {
            endpoint.note(flags);
        }
    }

    pub fn is_readable(&self) -> bool {
        match self {
            Self::Tcp(endpoint) => endpoint.readable,
            Self::Kcp(conversation) => conversation.is_readable(),
        }
    }

    /// None: nothing waits. Some(0): the end.
    pub fn read(&mut self, into: &mut [u8], now: Instant) -> io::Result<Option<usize>> {
        match self {
            Self::Tcp(endpoint) => endpoint.read(into),
            Self::Kcp(conversation) => conversation.read(into, now),
        }
    }

    /// The error that the socket holds, which clears it. A conversation's come with reading and writing.
    pub fn error(&self) -> Option<io::Error> {
        match self {
            Self::Tcp(endpoint) => endpoint.error(),
            Self::Kcp(_) => None,
        }
    }

    /// As [`Sink::write`], from several buffers.
    pub fn write_vectored(&mut self, slices: &[IoSlice]) -> io::Result<usize> {
        match self {
            Self::Tcp(endpoint) => endpoint.write_vectored(slices, false),
            Self::Kcp(conversation) => {
                let mut written = 0;
                for slice in slices {
                    let taken = conversation.write(slice)?;
                    written += taken;
                    if taken < slice.len() {
                        break;
                    }
                }
                Ok(written)
            }
        }
    }

    /// Payload bytes of a segment; 0 where the kernel sends none for us.
    pub fn segment_bytes(&self) -> usize {
        match self {
            Self::Tcp(endpoint) => endpoint.segment_bytes(),
            Self::Kcp(_) => 0,
        }
    }

    /// Ends it at once; the other side hears of it.
    pub fn reset(self) {
        match self {
            Self::Tcp(endpoint) => endpoint.reset(),
            Self::Kcp(conversation) => drop(conversation),
        }
    }

    /// Nothing that was written is lost when it is closed now.
    pub fn may_close(&self) -> bool {
        match self {
            // The kernel goes on for us.
            Self::Tcp(_) => true,
            Self::Kcp(conversation) => conversation.has_delivered(),
        }
    }
}

impl Sink for Link {
    fn write(&mut self, bytes: &[u8], more: bool) -> io::Result<usize> {
        match self {
            Self::Tcp(endpoint) => endpoint.write(bytes, more),
            Self::Kcp(conversation) => conversation.write(bytes),
        }
    }
}
