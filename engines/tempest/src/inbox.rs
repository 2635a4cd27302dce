//! Datagrams as the kernel hands them over: several per call, each possibly a run of packets of one size (UDP_GRO).

use std::{io, net::SocketAddr, ops::Range, os::fd::AsRawFd};

use socket2::{SockAddr, SockAddrStorage, Socket};

use crate::limits::{RECEIVE_BUFFER_BYTES, RECEIVES_PER_CALL_MAX};

const UDP_GRO: libc::c_int = 104;
const CONTROL_BYTES: usize = 64;

pub struct Inbox {
    pub buffer: Box<[u8]>,
    datagrams: Vec<Datagram>,
}

/// Where a datagram lies in the buffer.
#[derive(Debug, Clone)]
pub struct Datagram {
    pub bytes: Range<usize>,
    /// Size of each packet in it but the last, which may be shorter.
    pub segment: usize,
    pub from: SocketAddr,
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

impl Inbox {
    pub fn new() -> Self {
        let buffer = vec![0; RECEIVES_PER_CALL_MAX * RECEIVE_BUFFER_BYTES].into_boxed_slice();
        Self { buffer, datagrams: Vec::with_capacity(RECEIVES_PER_CALL_MAX) }
    }

    /// What waits on the socket, at most [`RECEIVES_PER_CALL_MAX`] datagrams; none is not an error.
    pub fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        self.datagrams.clear();
        // SAFETY: all zeros are valid values of these.
        let (mut headers, mut vectors): ([libc::mmsghdr; RECEIVES_PER_CALL_MAX], [libc::iovec; RECEIVES_PER_CALL_MAX]) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let mut controls = [Control([0; CONTROL_BYTES]); RECEIVES_PER_CALL_MAX];
        let mut names: [SockAddrStorage; RECEIVES_PER_CALL_MAX] = std::array::from_fn(|_| SockAddrStorage::zeroed());
        for index in 0..RECEIVES_PER_CALL_MAX {
            let start = index * RECEIVE_BUFFER_BYTES;
            let bytes = &mut self.buffer[start..start + RECEIVE_BUFFER_BYTES];
            vectors[index] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let message = &mut headers[index].msg_hdr;
            message.msg_name = (&raw mut names[index]).cast();
            message.msg_namelen = names[index].size_of();
            message.msg_iov = &raw mut vectors[index];
            message.msg_iovlen = 1;
            message.msg_control = controls[index].0.as_mut_ptr().cast();
            message.msg_controllen = CONTROL_BYTES;
        }
        let count = RECEIVES_PER_CALL_MAX as libc::c_uint;
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: `count` headers were filled in; what they point to outlives the call.
        let received = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, flags as _, std::ptr::null_mut())
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) };
        }
        for (index, (header, name)) in headers.iter().zip(names).take(received as usize).enumerate() {
            let (start, length) = (index * RECEIVE_BUFFER_BYTES, header.msg_len as usize);
            // SAFETY: the kernel wrote an address of this length.
            let address = unsafe { SockAddr::new(name, header.msg_hdr.msg_namelen) };
            let Some(from) = address.as_socket() else { continue };
            let segment = segment_size(&header.msg_hdr).unwrap_or(length);
            if length > 0 && segment > 0 {
                self.datagrams.push(Datagram { bytes: start..start + length, segment, from });
            }
        }
        Ok(received as usize)
    }

    pub fn datagrams(&self) -> usize {
        self.datagrams.len()
    }

    pub fn datagram(&self, index: usize) -> Datagram {
        self.datagrams[index].clone()
    }
}

fn segment_size(message: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel filled `message` in, control messages included; the macros stay inside their length.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(message);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_UDP && (*control).cmsg_type == UDP_GRO {
                let size = libc::CMSG_DATA(control).cast::<libc::c_int>().read_unaligned();
                return usize::try_from(size).ok();
            }
            control = libc::CMSG_NXTHDR(message, control);
        }
    }
    None
}
