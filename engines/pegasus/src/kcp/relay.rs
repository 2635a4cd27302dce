//! Datagrams between an engine and the one that took its place. Both have the door's socket; the successor alone reads it,
//! and passes on what is not its own. Each answers by itself.
//!
//! `[address it is from][address it came to, or a zero][datagram]`, an address as `[4 or 6][IP]`, the first with its port.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::Arc,
};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair, sockopt},
};

use crate::{
    limits::{RELAYED_PER_TURN, UDP_BUFFER_BYTES},
    slots::Token,
    worker::Worker,
};

const HEAD_BYTES_MAX: usize = 1 + 16 + 2 + 1 + 16;

/// Both ends: the successor's, and the one of the engine before it.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // With a type that keeps datagrams apart and counts bytes, not messages, towards what may wait.
    let (successor, before) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    // Beyond what the host allows others; where it is refused, less may wait.
    let _ = sockopt::set_socket_send_buffer_size_force(&successor, UDP_BUFFER_BYTES);
    Ok((successor, before))
}

#[derive(Default)]
pub struct Relays {
    /// To the engine before this one.
    before: Option<Arc<OwnedFd>>,
    /// From the one after it, which reads the door.
    pub after: Option<OwnedFd>,
    scratch: Vec<u8>,
}

impl Relays {
    pub fn set_before(&mut self, relay: Arc<OwnedFd>) {
        self.before = Some(relay);
    }

    /// False when there is nobody to pass it on to. What does not fit is lost, as datagrams are.
    pub fn pass_on(&mut self, datagram: &[u8], from: SocketAddr, at: Option<IpAddr>) -> bool {
        let Some(before) = &self.before else { return false };
        self.scratch.clear();
        encode(&mut self.scratch, datagram, from, at);
        if let Err(Errno::PIPE | Errno::CONNRESET) =
            send(before, &self.scratch, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
        {
            self.before = None;
        }
        self.before.is_some()
    }
}

impl Worker {
    /// Stops reading the door for the sake of a successor, and hears from it what is for us.
    pub fn lend_door(&mut self, relay: OwnedFd) {
        self.take_door_back();
        if let Some(door) = &self.kcp.door {
            let _ = epoll::delete(&self.epoll, door);
        }
        let _ = epoll::add(&self.epoll, &relay, EventData::new_u64(Token::Relay.encode()), EventFlags::IN);
        self.kcp.relays.after = Some(relay);
    }

    /// The successor is gone: the door is ours again.
    pub fn take_door_back(&mut self) {
        if self.kcp.relays.after.take().is_some()
            && let Some(door) = &self.kcp.door
        {
            let _ = epoll::add(&self.epoll, door, EventData::new_u64(Token::Door.encode()), EventFlags::IN);
        }
    }

    /// Datagrams that the successor has passed on.
    pub fn hear_relay(&mut self) {
        let mut buffer = [0; HEAD_BYTES_MAX + (64 << 10)];
        for _ in 0..RELAYED_PER_TURN {
            let (Some(relay), Some(door)) = (&self.kcp.relays.after, self.kcp.door.clone()) else { return };
            match recv(relay, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => return self.take_door_back(),
                Ok((length, _)) => {
                    if let Some((at, from, to)) = decode(&buffer[..length]) {
                        self.hear_visitor(&door, &mut buffer[at..length], from, to);
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => return self.take_door_back(),
            }
        }
    }
}

fn encode(into: &mut Vec<u8>, datagram: &[u8], from: SocketAddr, at: Option<IpAddr>) {
    put_ip(into, Some(from.ip()));
    into.extend_from_slice(&from.port().to_be_bytes());
    put_ip(into, at);
    into.extend_from_slice(datagram);
}

fn put_ip(into: &mut Vec<u8>, ip: Option<IpAddr>) {
    match ip {
        None => into.push(0),
        Some(IpAddr::V4(ip)) => into.extend([4].iter().chain(&ip.octets())),
        Some(IpAddr::V6(ip)) => into.extend([6].iter().chain(&ip.octets())),
    }
}

/// Where the datagram begins, whom it is from, and which address it came to.
fn decode(bytes: &[u8]) -> Option<(usize, SocketAddr, Option<IpAddr>)> {
    let mut rest = bytes;
    let from = take_ip(&mut rest)??;
    let (port, mut rest) = rest.split_first_chunk()?;
    let at = take_ip(&mut rest)?;
    Some((bytes.len() - rest.len(), SocketAddr::new(from, u16::from_be_bytes(*port)), at))
}

/// None: there is none that can be read. Some(None): there is none to be read.
fn take_ip(rest: &mut &[u8]) -> Option<Option<IpAddr>> {
    let (family, more) = rest.split_first()?;
    let (ip, more) = match family {
        0 => (None, more),
        4 => more.split_first_chunk::<4>().map(|(ip, more)| (Some(IpAddr::from(*ip)), more))?,
        6 => more.split_first_chunk::<16>().map(|(ip, more)| (Some(IpAddr::from(*ip)), more))?,
        _ => return None,
    };
    *rest = more;
    Some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_datagram_arrives_with_its_addresses(
            from: IpAddr, port: u16, at: Option<IpAddr>, datagram in proptest::collection::vec(any::<u8>(), 0..100)
        ) {
            let mut bytes = Vec::new();
            encode(&mut bytes, &datagram, SocketAddr::new(from, port), at);
            let (start, said, to) = decode(&bytes).unwrap();
            prop_assert_eq!((said, to, &bytes[start..]), (SocketAddr::new(from, port), at, &datagram[..]));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn what_a_successor_does_not_know_is_passed_on_while_somebody_is_there() {
        let (successor, before) = pair().unwrap();
        let mut relays = Relays::default();
        let from = "10.0.0.1:7".parse().unwrap();
        assert!(!relays.pass_on(b"hello", from, None));
        relays.set_before(Arc::new(successor));
        assert!(relays.pass_on(b"hello", from, None));
        let mut buffer = [0; 100];
        let (length, _) = recv(&before, &mut buffer, RecvFlags::empty()).unwrap();
        assert_eq!(&buffer[decode(&buffer[..length]).unwrap().0..length], b"hello");
        drop(before);
        assert!(!relays.pass_on(b"hello", from, None), "nobody is there any more");
    }
}
