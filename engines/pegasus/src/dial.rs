//! Making connections, and what the kernel is asked to watch on them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::limits::{CARRIER_KEEPALIVE, FIRST_UNPRIVILEGED_PORT, PLAIN_KEEPALIVE, PORT_TRIES};

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

/// How a destination is dialled.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Routers that the packets may pass.
    pub hops: u8,
    /// Something is there to be said: the handshake's last segment waits for it, or it would be one more for everybody on the way.
    pub speaks: bool,
}

/// A connection on its way to `address`, and whether it could start. When all the ports that the kernel gives out are in
/// use towards this address, one of the others has to do: the limit is the 4-tuple's, not `ip_local_port_range`'s.
pub fn connect_from_any_port(
    address: SocketAddr,
    mark: u32,
    manner: Option<Manner>,
) -> io::Result<(Socket, io::Result<()>)> {
    let first = mannered_socket(address, mark, manner)?;
    let mut dialling = (connect(&first, address), first);
    for _ in 0..PORT_TRIES {
        let Err(error) = &dialling.0 else { break };
        if !matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE)) {
            break;
        }
        let socket = mannered_socket(address, mark, manner)?;
        // Whoever wants to listen on that port some day can: both say so.
        socket.set_reuse_address(true)?;
        let from = SocketAddr::new(unspecified(address), random_port());
        let started = socket.bind(&from.into()).and_then(|()| connect(&socket, address));
        dialling = (started, socket);
    }
    Ok((dialling.1, dialling.0))
}

/// With a `manner` it is a destination that is dialled, else a peer.
fn mannered_socket(address: SocketAddr, mark: u32, manner: Option<Manner>) -> io::Result<Socket> {
    let socket = socket(address, mark)?;
    if let Some(Manner { hops, speaks }) = manner {
        crate::hops::limit(&socket, address.is_ipv6(), hops)?;
        socket.set_out_of_band_inline(true)?;
        if speaks {
            socket.set_tcp_quickack(false)?;
        }
    }
    Ok(socket)
}

fn unspecified(address: SocketAddr) -> IpAddr {
    if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn random_port() -> u16 {
    let mut bytes = [0; 2];
    let _ = getrandom::fill(&mut bytes);
    u16::from_ne_bytes(bytes).max(FIRST_UNPRIVILEGED_PORT)
}

/// A connection on its way to `destination` from the client's own address and, if it is free here, port; else from
/// another port of that address. The way back to us is the host's rules' business.
pub fn connect_as(
    client: SocketAddr,
    destination: SocketAddr,
    mark: u32,
    manner: Manner,
) -> io::Result<(Socket, io::Result<()>)> {
    let from = |address: SocketAddr| -> io::Result<(Socket, io::Result<()>)> {
        let socket = mannered_socket(destination, mark, Some(manner))?;
        crate::listener::set_transparent(&socket, destination.is_ipv6())?;
        socket.set_reuse_address(true)?;
        if address.port() == 0 {
            // The port is chosen when the destination is known: 64k per destination, not in all.
            bind_without_port(&socket)?;
        }
        let started = socket.bind(&address.into()).and_then(|()| connect(&socket, destination));
        Ok((socket, started))
    };
    match from(client)? {
        // In use here, or the same four addresses are still in TIME_WAIT.
        (_, Err(error)) if matches!(error.raw_os_error(), Some(libc::EADDRINUSE | libc::EADDRNOTAVAIL)) => {
            from(SocketAddr::new(client.ip(), 0))
        }
        other => Ok(other),
    }
}

fn bind_without_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes one int, which lives here. It is an IPPROTO_IP option for both families.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A carrier on its way to a peer.
pub fn carrier(address: SocketAddr, mark: u32) -> io::Result<OwnedFd> {
    let (socket, started) = connect_from_any_port(address, mark, None)?;
    started?;
    keep_carrier_alive(&socket);
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
