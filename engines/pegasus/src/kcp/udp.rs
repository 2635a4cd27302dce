//! UDP sockets: one of its own for each conversation that we begin, one door per worker for those that others begin.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::UDP_BUFFER_BYTES;

const SO_SNDBUFFORCE: libc::c_int = 32;
const SO_RCVBUFFORCE: libc::c_int = 33;
const SO_ATTACH_REUSEPORT_CBPF: libc::c_int = 51;
/// Classic BPF: A = byte at K; A %= K; return A.
const LOAD_BYTE: u16 = 0x30;
const MODULO: u16 = 0x94;
const RETURN: u16 = 0x16;

pub struct Udp {
    socket: Socket,
    state: UdpSocketState,
}

impl Udp {
    /// A socket that hears this address and nobody else.
    pub fn connect(address: SocketAddr, mark: u32) -> io::Result<Self> {
        let socket = open(address, mark)?;
        socket.connect(&address.into())?;
        Self::new(socket)
    }

    /// One socket per worker on one port. The kernel gives each the datagrams whose second byte, the first of an id, names
    /// it: wherever a peer's datagrams come from, they reach the worker that has its conversation.
    pub fn door(address: SocketAddr, mark: u32, workers: usize) -> io::Result<Vec<Self>> {
        // With SO_REUSEPORT another process of this user could share the port unnoticed; without it, it is noticed.
        bind(address, mark, false)?;
        let sockets: Vec<Socket> = (0..workers).map(|_| bind(address, mark, true)).collect::<io::Result<_>>()?;
        if let (Some(first), true) = (sockets.first(), workers > 1) {
            steer(first, workers)?;
        }
        sockets.into_iter().map(Self::new).collect()
    }

    /// A door that another engine has made.
    pub fn adopt(door: OwnedFd) -> io::Result<Self> {
        Self::new(Socket::from(door))
    }

    fn new(socket: Socket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, state })
    }

    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        self.socket.set_mark(mark)
    }

    /// Sends datagrams that stand one behind the other, each `segment` bytes long but for the last.
    pub fn send(&self, to: SocketAddr, from: Option<IpAddr>, datagrams: &[u8], segment: usize) -> io::Result<()> {
        let whole =
            Transmit { destination: to, ecn: None, contents: datagrams, segment_size: Some(segment), src_ip: from };
        if datagrams.len() <= segment || datagrams.len().div_ceil(segment) <= self.state.max_gso_segments() {
            return self.state.try_send((&self.socket).into(), &whole);
        }
        datagrams.chunks(segment).try_for_each(|one| {
            self.state.try_send((&self.socket).into(), &Transmit { contents: one, segment_size: None, ..whole.clone() })
        })
    }

    pub fn recv(&self, buffers: &mut [IoSliceMut], metas: &mut [RecvMeta]) -> io::Result<usize> {
        self.state.recv((&self.socket).into(), buffers, metas)
    }
}

impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open(address: SocketAddr, mark: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    for option in [SO_RCVBUFFORCE, SO_SNDBUFFORCE] {
        set(&socket, option, &(UDP_BUFFER_BYTES as libc::c_int))?;
    }
    Ok(socket)
}

fn bind(address: SocketAddr, mark: u32, share: bool) -> io::Result<Socket> {
    let socket = open(address, mark)?;
    socket.set_reuse_port(share)?;
    if address.is_ipv6() {
        // An explicit [::] takes both families, as the data port does.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Second byte modulo the number of sockets.
fn steer(socket: &Socket, workers: usize) -> io::Result<()> {
    let instruction = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let program = [instruction(LOAD_BYTE, 1), instruction(MODULO, workers as u32), instruction(RETURN, 0)];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    set(socket, SO_ATTACH_REUSEPORT_CBPF, &filter)
}

fn set<T>(socket: &Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the option reads a T, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
