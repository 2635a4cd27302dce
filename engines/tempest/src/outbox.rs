//! Sealed packets on their way to one peer: neighbours of one size become one UDP_SEGMENT send, all sends one sendmmsg.

use std::{io, net::SocketAddr, os::fd::AsRawFd};

use socket2::{SockAddr, Socket};

use crate::limits::{OUTBOX_BYTES, SEGMENTS_PER_SEND_MAX, SEND_BYTES_MAX, SEND_WAIT_MS, SENDS_PER_CALL_MAX};

const UDP_SEGMENT: libc::c_int = 103;
const CONTROL_BYTES: usize = 32;

pub struct Outbox {
    arena: Vec<u8>,
    used: usize,
    sends: Vec<Send>,
    /// Bytes lent out by [`Outbox::slot`] and not yet committed.
    lent: usize,
}

#[derive(Clone, Copy)]
struct Send {
    start: usize,
    length: usize,
    segment: usize,
    count: usize,
    /// A shorter segment ended it.
    is_closed: bool,
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

impl Outbox {
    pub fn new() -> Self {
        Self { arena: vec![0; OUTBOX_BYTES], used: 0, sends: Vec::with_capacity(SENDS_PER_CALL_MAX), lent: 0 }
    }

    /// Whether a message of up to `length` bytes still fits; else [`Outbox::flush`] first.
    #[inline]
    pub fn has_room(&self, length: usize) -> bool {
        let next_send = self.sends.last().is_none_or(|send| !send.takes(length));
        self.used + length <= self.arena.len() && !(next_send && self.sends.len() == SENDS_PER_CALL_MAX)
    }

    /// Enough waits for one full send.
    #[inline]
    pub fn is_worth_sending(&self) -> bool {
        self.used >= 2 * SEND_BYTES_MAX
    }

    /// Where the next message is to be made. There is room ([`Outbox::has_room`]).
    #[inline]
    pub fn slot(&mut self, length: usize) -> &mut [u8] {
        self.lent = length;
        &mut self.arena[self.used..self.used + length]
    }

    /// The slot's message is complete.
    #[inline]
    pub fn commit(&mut self) {
        let length = std::mem::take(&mut self.lent);
        let start = self.used;
        self.used += length;
        match self.sends.last_mut() {
            Some(send) if send.takes(length) => {
                send.length += length;
                send.count += 1;
                send.is_closed = length < send.segment;
            }
            _ => self.sends.push(Send { start, length, segment: length, count: 1, is_closed: false }),
        }
    }

    /// Hands everything to the kernel. Returns how many messages it did not take.
    pub fn flush(&mut self, socket: &Socket, to: &SocketAddr) -> usize {
        let address = SockAddr::from(*to);
        let mut lost = 0;
        let mut done = 0;
        while done < self.sends.len() {
            match self.send_from(done, socket, &address) {
                Ok(sent) => done += sent.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) if is_full(&error) && wait_for_room(socket) => (),
                Err(error) => {
                    let send = self.sends[done];
                    // A wire smaller than our packets cannot be segmented for: one by one the kernel fragments them.
                    lost += if send.count > 1 && is_too_large(&error) {
                        self.send_singly(send, socket, &address)
                    } else {
                        send.count
                    };
                    done += 1;
                }
            }
        }
        self.clear();
        lost
    }

    pub fn clear(&mut self) {
        self.sends.clear();
        self.used = 0;
    }

    fn send_from(&mut self, first: usize, socket: &Socket, address: &SockAddr) -> io::Result<usize> {
        // SAFETY: all zeros are valid values of these.
        let (mut headers, mut vectors): ([libc::mmsghdr; SENDS_PER_CALL_MAX], [libc::iovec; SENDS_PER_CALL_MAX]) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let mut controls = [Control([0; CONTROL_BYTES]); SENDS_PER_CALL_MAX];
        let sends = &self.sends[first..];
        let prepared = headers.iter_mut().zip(&mut vectors).zip(&mut controls);
        for (send, ((header, vector), control)) in sends.iter().zip(prepared) {
            let bytes = &mut self.arena[send.start..send.start + send.length];
            *vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let message = &mut header.msg_hdr;
            message.msg_name = address.as_ptr().cast_mut().cast();
            message.msg_namelen = address.len();
            message.msg_iov = vector;
            message.msg_iovlen = 1;
            if send.count > 1 {
                message.msg_control = control.0.as_mut_ptr().cast();
                message.msg_controllen = put_segment_size(control, send.segment as u16);
            }
        }
        let count = sends.len() as libc::c_uint;
        // SAFETY: `count` headers were filled in; what they point to outlives the call.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }

    fn send_singly(&self, send: Send, socket: &Socket, address: &SockAddr) -> usize {
        self.arena[send.start..send.start + send.length]
            .chunks(send.segment)
            .filter(|message| socket.send_to(message, address).is_err())
            .count()
    }
}

impl Send {
    fn takes(&self, length: usize) -> bool {
        !self.is_closed
            && length <= self.segment
            && self.count < SEGMENTS_PER_SEND_MAX
            && self.length + length <= SEND_BYTES_MAX
    }
}

fn put_segment_size(control: &mut Control, size: u16) -> usize {
    let header = libc::cmsghdr {
        cmsg_len: (size_of::<libc::cmsghdr>() + size_of::<u16>()) as _,
        cmsg_level: libc::SOL_UDP,
        cmsg_type: UDP_SEGMENT,
    };
    let at = size_of::<libc::cmsghdr>();
    // SAFETY: the buffer is aligned for a cmsghdr and longer than one.
    unsafe { control.0.as_mut_ptr().cast::<libc::cmsghdr>().write(header) };
    control.0[at..at + 2].copy_from_slice(&size.to_ne_bytes());
    // SAFETY: plain arithmetic.
    unsafe { libc::CMSG_SPACE(size_of::<u16>() as libc::c_uint) as usize }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS))
}

fn is_too_large(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::EINVAL | libc::EIO))
}

fn wait_for_room(socket: &Socket) -> bool {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd that lives through the call.
    unsafe { libc::poll(&mut poll, 1, SEND_WAIT_MS) == 1 }
}
