//! How many more routers a client's packets may pass. A flow takes it along: what the target dials with is one less, as if
//! its two peers were one router. Meshes that lead to each other in a circle are ended by it like any routing loop.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use socket2::{SockRef, Socket};

/// What is taken for a client whose first packet is not to be had any more.
const USUAL: u8 = 64;
/// IP and TCP headers with the longest options.
const SYN_BYTES_MAX: usize = 60 + 60;

/// Has a listener's kernel keep the first packet of each connection for [`of_client`].
pub fn keep_first_packets(listener: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes one int, which lives here.
    let result = unsafe {
        libc::setsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVE_SYN,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Of an accepted connection: TTL or hop limit of the client's first packet as it came in here.
pub fn of_client(accepted: &impl AsFd) -> u8 {
    let mut packet = [0u8; SYN_BYTES_MAX];
    let mut length = packet.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `packet`, which lives here.
    let result = unsafe {
        libc::getsockopt(
            accepted.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVED_SYN,
            packet.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match (result, packet[0] >> 4) {
        (0, 4) if length > 8 => packet[8],
        (0, 6) if length > 7 => packet[7],
        _ => USUAL,
    }
}

/// What the target dials with may pass so many.
pub fn limit(socket: &Socket, v6: bool, hops: u8) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if v6 { socket.set_unicast_hops_v6(hops.into()) } else { socket.set_ttl_v4(hops.into()) }
}
