//! The UDP sockets: one port for all peers, one socket per worker and address family, so that the kernel spreads peers
//! over workers and keeps each peer's packets in order.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::limits::SOCKET_BUFFER_BYTES;

const UDP_GRO: libc::c_int = 104;
const SO_RCVBUFFORCE: libc::c_int = 33;
const SO_SNDBUFFORCE: libc::c_int = 32;

/// One worker's sockets. An unspecified address opens both families, where the host has them.
pub struct Sockets {
    pub v4: Option<Socket>,
    pub v6: Option<Socket>,
}

/// Opens the sockets of `workers` workers on one port.
pub fn open(listen: SocketAddr, mark: u32, workers: usize) -> io::Result<Vec<Sockets>> {
    // Sockets of a group share their port with any other process of this user, so look first whether it is free.
    let probe = bind(listen, mark, false)?;
    let port = local_port(&probe)?;
    drop(probe);
    let first = SocketAddr::new(listen.ip(), port);
    let other = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        _ => None,
    };
    let group = workers > 1;
    // The other family is a courtesy: a host without it, or with that port taken there, still has the first.
    let other = other.filter(|&address| bind(address, mark, false).is_ok());
    (0..workers)
        .map(|_| {
            let one = bind(first, mark, group)?;
            let two = other.and_then(|address| bind(address, mark, group).ok());
            Ok(if first.is_ipv4() { Sockets { v4: Some(one), v6: two } } else { Sockets { v4: two, v6: Some(one) } })
        })
        .collect()
}

impl Sockets {
    pub fn for_address(&self, address: &SocketAddr) -> Option<&Socket> {
        if address.is_ipv4() { self.v4.as_ref() } else { self.v6.as_ref() }
    }

    pub fn port(&self) -> u16 {
        self.v4.as_ref().or(self.v6.as_ref()).and_then(|socket| local_port(socket).ok()).unwrap_or(0)
    }

    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        [&self.v4, &self.v6].into_iter().flatten().try_for_each(|socket| socket.set_mark(mark))
    }

    /// Sends one message without batching: handshakes and keepalives.
    pub fn send(&self, message: &[u8], to: &SocketAddr) {
        if let Some(socket) = self.for_address(to) {
            // Lost like any datagram: a timer sends it again.
            let _ = socket.send_to(message, &SockAddr::from(*to));
        }
    }
}

fn bind(address: SocketAddr, mark: u32, group: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if group {
        socket.set_reuse_port(true)?;
    }
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    // Packets of the largest size must pass wires that are a little smaller: whoever is too small cuts.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)?;
    } else {
        set(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
    }
    let size = SOCKET_BUFFER_BYTES as libc::c_int;
    if set(&socket, libc::SOL_SOCKET, SO_RCVBUFFORCE, size).is_err() {
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    }
    if set(&socket, libc::SOL_SOCKET, SO_SNDBUFFORCE, size).is_err() {
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    }
    // Kernels before 5.0 have no UDP_GRO: then every datagram comes alone.
    let _ = set(&socket, libc::SOL_UDP, UDP_GRO, 1);
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn set(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option's value is an int that lives through the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn local_port(socket: &Socket) -> io::Result<u16> {
    Ok(socket.local_addr()?.as_socket().map_or(0, |address| address.port()))
}
