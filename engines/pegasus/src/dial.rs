//! Making connections, and what the kernel is asked to watch on them.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::limits::{CARRIER_KEEPALIVE, PLAIN_KEEPALIVE};

/// A socket for `address` that the host's own rules let pass.
pub fn socket(address: SocketAddr, mark: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// Starts to connect; the socket's events say how it went.
pub fn connect(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        other => other,
    }
}

/// A carrier on its way to a peer.
pub fn carrier(address: SocketAddr, mark: u32) -> io::Result<OwnedFd> {
    let socket = socket(address, mark)?;
    keep_carrier_alive(&socket);
    connect(&socket, address)?;
    Ok(socket.into())
}

/// TCP_USER_TIMEOUT is not used on purpose: it also ends a connection whose other side only keeps its window shut, that
/// is, every flow whose reader pauses. `sweep` watches for silence instead.
pub fn keep_carrier_alive(socket: &impl AsFd) {
    keep_alive(socket, CARRIER_KEEPALIVE);
}

pub fn keep_plain_alive(socket: &impl AsFd) {
    keep_alive(socket, PLAIN_KEEPALIVE);
}

fn keep_alive(socket: &impl AsFd, (idle, interval, probes): (std::time::Duration, std::time::Duration, u32)) {
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
    // A socket that refuses this is one that has failed; its next event says so.
    let _ = SockRef::from(socket).set_tcp_keepalive(&keepalive);
}
