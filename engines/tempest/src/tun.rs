//! A TUN device that somebody else made: attach by name, read super-packets, write them by gathering.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use crate::{
    coalesce::{Piece, Super},
    limits::COALESCE_SEGMENTS_MAX,
    vnet::VNET_HEADER_BYTES,
};

const IFF_PERSIST: libc::c_short = 0x0800;
const TUN_F_CSUM: libc::c_uint = 0x01;
const TUN_F_TSO4: libc::c_uint = 0x02;
const TUN_F_TSO6: libc::c_uint = 0x04;
const TUN_F_TSO_ECN: libc::c_uint = 0x08;
const TUN_F_USO4: libc::c_uint = 0x20;
const TUN_F_USO6: libc::c_uint = 0x40;

pub struct Tun {
    fd: OwnedFd,
    /// The kernel takes and hands over UDP super-packets (6.2 and later).
    pub with_udp: bool,
}

impl Tun {
    /// Attaches to the device of this name; never makes one. `NotFound` while it is missing.
    pub fn attach(name: &str) -> io::Result<Self> {
        let c_name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        if name.is_empty() || name.len() >= libc::IFNAMSIZ {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: a terminated string.
        if unsafe { libc::if_nametoindex(c_name.as_ptr()) } == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC;
        // SAFETY: a terminated string; the result is checked.
        let fd = check(unsafe { libc::open(c"/dev/net/tun".as_ptr(), flags) })?;
        // SAFETY: just opened, owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };

        // SAFETY: all zeros is a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(c_name.as_bytes()) {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
        // SAFETY: both take an ifreq that lives through the call.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF as _, &mut request) })?;
        // SAFETY: as above.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF as _, &mut request) })?;
        // SAFETY: TUNGETIFF filled the flags in.
        if unsafe { request.ifr_ifru.ifru_flags } & IFF_PERSIST == 0 {
            // Deleted between the two looks: the kernel just made a new one, which goes away with `fd`.
            return Err(io::ErrorKind::NotFound.into());
        }

        let size = VNET_HEADER_BYTES as libc::c_int;
        // SAFETY: takes a pointer to an int.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ as _, &size) })?;
        let tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
        let offload = |features: libc::c_uint| {
            // SAFETY: takes its argument by value.
            check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD as _, libc::c_ulong::from(features)) })
        };
        let with_udp = offload(tcp | TUN_F_USO4 | TUN_F_USO6).is_ok();
        if !with_udp {
            offload(tcp)?;
        }
        Ok(Self { fd, with_udp })
    }

    /// One packet with its vnet header.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: pointer and length are the buffer's.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        if read < 0 { Err(io::Error::last_os_error()) } else { Ok(read as usize) }
    }

    /// Writes one packet, whose pieces lie in `buffer`.
    #[inline]
    pub fn write(&self, packet: &Super<'_>, buffer: &[u8]) -> io::Result<()> {
        let mut vectors = [EMPTY; COALESCE_SEGMENTS_MAX + 2];
        let mut count = 0;
        let mut add = |bytes: &[u8]| {
            vectors[count] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            count += 1;
        };
        add(&packet.vnet);
        if !packet.headers.is_empty() {
            add(packet.headers);
        }
        for &(start, length) in packet.pieces as &[Piece] {
            add(&buffer[start..start + length]);
        }
        // SAFETY: `count` vectors were filled in from slices that outlive the call; writev only reads them.
        let written = unsafe { libc::writev(self.fd.as_raw_fd(), vectors.as_ptr(), count as libc::c_int) };
        if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const EMPTY: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
