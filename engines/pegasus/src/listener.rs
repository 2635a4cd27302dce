//! Listening sockets: made by the control thread for all workers at once, so that their ports are known before the
//! state is answered.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    sync::{Arc, PoisonError, RwLock},
};

use rustix::fs::{Mode, OFlags, open};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{limits::LISTEN_BACKLOG, succession::Listening};

/// A listener's socket for one worker.
pub struct Bound {
    pub name: Arc<str>,
    pub fd: Arc<OwnedFd>,
}

/// Addresses on which this engine itself listens: a flow towards them would go round in circles.
#[derive(Debug, Default)]
pub struct OwnAddresses(RwLock<HashSet<SocketAddr>>);

impl OwnAddresses {
    pub fn set(&self, addresses: HashSet<SocketAddr>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    pub fn contains(&self, address: &SocketAddr) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(address)
    }
}

pub const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// One socket per worker on both loopback addresses with one port: the wished one if it is free, else another.
pub fn tproxy(wish: u16, workers: usize) -> io::Result<Listening> {
    let mut last = None;
    // The kernel chooses a port that is free on IPv4; it may be taken on IPv6.
    for wish in std::iter::once(wish).chain(std::iter::repeat_n(0, 16)) {
        match tproxy_on(wish, workers) {
            Ok(bound) => return Ok(bound),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrInUse)))
}

fn tproxy_on(wish: u16, workers: usize) -> io::Result<Listening> {
    let mut per_worker: Vec<Vec<Arc<OwnedFd>>> = (0..workers).map(|_| Vec::new()).collect();
    let mut port = wish;
    for ip in LOOPBACKS {
        match share(SocketAddr::new(ip, port), workers, true) {
            Ok((chosen, fds)) => {
                port = chosen;
                per_worker.iter_mut().zip(fds).for_each(|(sockets, fd)| sockets.push(Arc::new(fd)));
            }
            Err(error) if ip.is_ipv6() && has_no_ipv6(&error) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(Listening { port, sockets: per_worker })
}

/// The data port, one socket per worker.
pub fn data(address: SocketAddr, workers: usize) -> io::Result<(u16, Vec<OwnedFd>)> {
    share(address, workers, false)
}

fn share(address: SocketAddr, workers: usize, transparent: bool) -> io::Result<(u16, Vec<OwnedFd>)> {
    // With SO_REUSEPORT another engine of this user could share the port unnoticed; without it, it is noticed.
    let port = bind(address, transparent, false)?.local_addr()?.as_socket().map_or(0, |local| local.port());
    let address = SocketAddr::new(address.ip(), port);
    let mut fds = Vec::new();
    for _ in 0..workers {
        let socket = bind(address, transparent, true)?;
        socket.listen(LISTEN_BACKLOG)?;
        fds.push(OwnedFd::from(socket));
    }
    Ok((port, fds))
}

fn bind(address: SocketAddr, transparent: bool, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        // An explicit [::] takes both families, as operators expect of a data port.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    if transparent {
        set_transparent(&socket, address.is_ipv6())?;
        // An urgent byte goes on in its place, or it would be lost.
        socket.set_out_of_band_inline(true)?;
        crate::hops::keep_first_packets(&socket)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

pub fn set_transparent(socket: &Socket, v6: bool) -> io::Result<()> {
    if v6 { socket.set_ip_transparent_v6(true) } else { socket.set_ip_transparent_v4(true) }
}

/// Whether this process may take other hosts' connections.
pub fn may_intercept() -> io::Result<()> {
    set_transparent(&Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?, false)
}

fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

/// A descriptor that can be given up when there are no others.
pub fn spare() -> Option<OwnedFd> {
    open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}
