//! One non-blocking TCP socket under edge-triggered epoll: it remembers what the last events promised, so that no
//! system call is made in vain.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::epoll::EventFlags,
    io::{Errno, read, readv, retry_on_intr},
    net::{SendAncillaryBuffer, SendFlags, Shutdown, send, sendmsg, shutdown, sockopt},
};
use socket2::SockRef;

#[derive(Debug)]
pub struct Endpoint {
    fd: OwnedFd,
    pub readable: bool,
    pub writable: bool,
    /// The other side has ended: a short read does not mean that nothing follows.
    ended: bool,
    /// Not by a FIN alone: what follows may be an error.
    failed: bool,
    /// The last read has taken everything, and a FIN is all that follows.
    at_end: bool,
    /// The other side has sent an urgent byte: a read ends in front of it, and more may be there.
    urgent: bool,
}

impl Endpoint {
    /// A socket that epoll does not know yet; its first events will say what it is ready for.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd, readable: false, writable: false, ended: false, failed: false, at_end: false, urgent: false }
    }

    /// The other side has ended: what is left can be read to its end without waiting.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// As [`Endpoint::has_ended`], and the last read has left nothing but the FIN.
    pub fn is_at_end(&self) -> bool {
        self.at_end
    }

    pub fn note(&mut self, flags: EventFlags) {
        self.readable |= flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        self.writable |= flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR);
        self.urgent |= flags.contains(EventFlags::PRI);
        self.failed |= flags.intersects(EventFlags::HUP | EventFlags::ERR);
        self.ended |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
    }

    /// None: nothing waits. Some(0): the end.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let room = into.len();
        let result = retry_on_intr(|| read(&self.fd, &mut *into));
        self.after_read(result, room)
    }

    /// As [`Endpoint::read`], into several buffers.
    pub fn read_vectored(&mut self, into: &mut [io::IoSliceMut]) -> io::Result<Option<usize>> {
        let room = into.iter().map(|slice| slice.len()).sum();
        let result = retry_on_intr(|| readv(&self.fd, into));
        self.after_read(result, room)
    }

    fn after_read(&mut self, result: Result<usize, Errno>, room: usize) -> io::Result<Option<usize>> {
        match result {
            Ok(length) => {
                let is_full = length == room;
                self.readable = is_full || self.ended || self.urgent;
                // A read ends in front of an urgent byte as well, but otherwise takes all there is room for.
                self.at_end = self.ended && !self.failed && !self.urgent && !is_full;
                Ok(Some(length))
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                self.urgent = false;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// As [`Sink::write`], from several buffers and with one call.
    pub fn write_vectored(&mut self, slices: &[IoSlice], more: bool) -> io::Result<usize> {
        if !self.writable {
            return Ok(0);
        }
        let flags = send_flags(more);
        match retry_on_intr(|| sendmsg(&self.fd, slices, &mut SendAncillaryBuffer::default(), flags)) {
            Err(Errno::AGAIN) => {
                self.writable = false;
                Ok(0)
            }
            other => Ok(other?),
        }
    }

    /// Says FIN; reading goes on.
    pub fn finish(&self) {
        let _ = shutdown(&self.fd, Shutdown::Write);
    }

    /// Whether what has arrived is acknowledged with what is sent next, or at once when that is due.
    pub fn acknowledge_with_data(&self, wait: bool) {
        // A socket that refuses this is one that has failed; its next event says so.
        let _ = sockopt::set_tcp_quickack(&self.fd, !wait);
    }

    /// Payload bytes of a segment; 0 when the socket cannot say.
    pub fn segment_bytes(&self) -> usize {
        SockRef::from(&self.fd).tcp_mss().map_or(0, |bytes| bytes as usize)
    }

    /// Says RST and closes.
    pub fn reset(self) {
        let _ = sockopt::set_socket_linger(&self.fd, Some(std::time::Duration::ZERO));
    }

    /// The error that the socket holds, which clears it.
    pub fn error(&self) -> Option<io::Error> {
        match sockopt::socket_error(&self.fd) {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(error.into()),
        }
    }
}

/// Where bytes go without waiting.
pub trait Sink {
    /// Bytes taken; fewer than given when it is full. With `more` they may be kept for the write that follows at once.
    fn write(&mut self, bytes: &[u8], more: bool) -> io::Result<usize>;
}

impl Sink for Endpoint {
    fn write(&mut self, bytes: &[u8], more: bool) -> io::Result<usize> {
        let flags = send_flags(more);
        let mut written = 0;
        while self.writable && written < bytes.len() {
            match send(&self.fd, &bytes[written..], flags) {
                Ok(length) => written += length,
                Err(Errno::AGAIN) => self.writable = false,
                Err(Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(written)
    }
}

fn send_flags(more: bool) -> SendFlags {
    if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL }
}

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Bytes that a sink did not take. Holds memory only while there are some.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: Vec<u8>,
    written: usize,
}

impl Backlog {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes.reserve_exact(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// True when nothing waits any more.
    pub fn flush(&mut self, sink: &mut impl Sink) -> io::Result<bool> {
        if self.bytes.is_empty() {
            return Ok(true);
        }
        self.written += sink.write(&self.bytes[self.written..], false)?;
        if self.written < self.bytes.len() {
            return Ok(false);
        }
        *self = Self::default();
        Ok(true)
    }
}
