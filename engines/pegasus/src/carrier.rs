//! A carrier: one encrypted TCP connection or KCP conversation between two engines, which carries one flow at a time.
//!
//! ```text
//! initiator:  connecting → greeting ┐                 ┌→ busy ──────→┐
//!                                   ├→ idle ──OPEN──→ ┤              ├→ idle …
//! responder:  stranger  → unproven ─┘                 └→ confirming ─┘
//! ```
//! `busy` ends when both directions have ended by FIN or RESET; `confirming` waits for the other side's end after ours
//! was a RESET. Whatever else happens to the connection is a loss of the carrier and, if it had one, of its flow.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use ring::error::Unspecified;

use crate::{
    arena::Arena,
    endpoint::{Backlog, Sink},
    frame::{self, CONTROL_PAYLOAD_BYTES_MAX, HEADER_BYTES, Header, Kind, LEVEL, OVERHEAD_BYTES},
    gate::Permit,
    handshake::{Initiator, Keys},
    keyring::Pair,
    limits::{FRAME_PAYLOAD_BYTES_MAX, REKEY_AGE, REKEY_BYTES, REKEY_FRAMES, RETIRE_AGE, RETIRE_BYTES},
    link::Link,
    peer::Peer,
    slots::Key,
};

pub struct Carrier {
    pub link: Link,
    pub phase: Phase,
    /// We made the connection: it is in a pool, and we alone open flows on it.
    pub ours: bool,
    /// None while the other side has not said who it is.
    pub peer: Option<Arc<Peer>>,
    pub address: SocketAddr,
    pub keys: Option<Keys>,
    /// Which static keys the handshake was made with.
    pub pair: Option<Pair>,
    /// Sealed bytes that the link did not take.
    pub backlog: Backlog,
    /// Sealed bytes that go with what is sent next.
    held: Vec<u8>,
    /// The beginning of a frame, or of a handshake message.
    pub partial: Vec<u8>,
    pub flow: Option<Key>,
    /// The number of the current or last flow.
    pub number: u32,
    pub sent: End,
    pub received: End,
    /// The longest payload of a frame to send; None until there was so much to send that it was asked for.
    payload_most: Option<u32>,
    /// Since when it is in this phase.
    pub since: Instant,
    pub made: Instant,
    keyed: Instant,
    bytes_under_key: u64,
    bytes: u64,
    /// Not to be used for another flow.
    pub retired: bool,
    /// READY frames heard: one more than the level of the protocol that its initiator speaks.
    pub readies: u8,
    /// Something was written since it was last seen to be acknowledged.
    pub unacknowledged: bool,
    pub suspicions_seen: u64,
    pub queued: bool,
    /// Held while it counts as a stranger's.
    pub permit: Option<Permit>,
}

pub enum Phase {
    Connecting,
    Greeting(Option<Box<Initiator>>),
    Stranger,
    Unproven,
    Idle,
    Busy,
    Confirming,
}

/// How a direction of the current flow has ended, if it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Open,
    Fin,
    Reset,
}

/// What comes behind payloads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Behind {
    pub last: bool,
    pub more: bool,
}

/// Why nothing more can be sent on a carrier.
#[derive(Debug)]
pub struct Broken(pub String);

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Unspecified> for Broken {
    fn from(_: Unspecified) -> Self {
        Self("a frame could not be sealed".into())
    }
}

impl Carrier {
    pub fn new(
        link: Link,
        phase: Phase,
        ours: bool,
        peer: Option<Arc<Peer>>,
        address: SocketAddr,
        now: Instant,
    ) -> Self {
        Self {
            link,
            phase,
            ours,
            peer,
            address,
            keys: None,
            pair: None,
            backlog: Backlog::default(),
            held: Vec::new(),
            partial: Vec::new(),
            flow: None,
            number: 0,
            sent: End::Open,
            received: End::Open,
            payload_most: None,
            since: now,
            made: now,
            keyed: now,
            bytes_under_key: 0,
            bytes: 0,
            retired: false,
            readies: 0,
            unacknowledged: false,
            suspicions_seen: 0,
            queued: false,
            permit: None,
        }
    }

    pub fn in_the_making(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Busy | Phase::Confirming)
    }

    pub fn is_worn(&self, now: Instant) -> bool {
        self.retired || self.bytes > RETIRE_BYTES || now.duration_since(self.made) > RETIRE_AGE
    }

    /// Changes the phase, and the peer's gauges with it.
    pub fn enter(&mut self, phase: Phase, now: Instant) {
        self.gauge(-1);
        self.phase = phase;
        self.since = now;
        self.gauge(1);
    }

    /// A flow begins.
    pub fn begin(&mut self, flow: Option<Key>, number: u32, now: Instant) {
        self.flow = flow;
        self.number = number;
        self.sent = End::Open;
        self.received = End::Open;
        self.enter(Phase::Busy, now);
    }

    /// The carrier is gone: it counts nowhere any more.
    pub fn leave(&mut self) {
        self.gauge(-1);
    }

    /// A carrier that ended in silence makes its peer's other carriers suspect.
    pub fn suspect_after(&self, error: &io::Error) {
        use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
        if let (Some(peer), TimedOut | HostUnreachable | NetworkUnreachable) = (&self.peer, error.kind()) {
            peer.health.suspicions.fetch_add(1, Relaxed);
        }
    }

    fn gauge(&self, by: i64) {
        let Some(peer) = &self.peer else { return };
        let gauge = match self.phase {
            Phase::Idle => &peer.health.idle,
            Phase::Busy | Phase::Confirming => &peer.health.busy,
            _ => return,
        };
        gauge.fetch_add(by, Relaxed);
        if self.ours {
            peer.health.alive.fetch_add(by, Relaxed);
        }
    }

    /// The initiator's first frames.
    pub fn say_ready(&mut self) -> Result<(), Broken> {
        for _ in 0..LEVEL {
            self.hold_control(Kind::Ready, &[])?;
        }
        self.send_control(Kind::Ready, &[])
    }

    /// True when nothing waits to be written.
    pub fn flush(&mut self) -> Result<bool, Broken> {
        Ok(self.backlog.flush(&mut self.link)?)
    }

    /// Payload bytes of a long frame.
    pub fn payload_most(&self) -> usize {
        self.payload_most.map_or(FRAME_PAYLOAD_BYTES_MAX, |bytes| bytes as usize)
    }

    /// There is more to send than one read takes: long frames are from now on whole segments of this connection.
    pub fn fit_frames(&mut self) {
        if self.payload_most.is_none() {
            self.payload_most = Some(frame::payload_of_whole_segments(self.link.segment_bytes()) as u32);
        }
    }

    /// Seals and sends the `length` payload bytes that [`Arena::read_payloads`] has read, and FIN behind them when they are the
    /// `last`. `more`: something follows at once.
    pub fn send_payloads(
        &mut self,
        arena: &mut Arena,
        length: usize,
        Behind { last, more }: Behind,
        now: Instant,
    ) -> Result<(), Broken> {
        self.rekey_if_due(now)?;
        let most = self.payload_most();
        let Some(keys) = &mut self.keys else { return Err(Broken("no keys".into())) };
        let (mut left, mut end) = (length, 0);
        for frame in arena.bytes.chunks_exact_mut(most + OVERHEAD_BYTES) {
            if left == 0 {
                break;
            }
            let payload = left.min(most);
            keys.seal.seal(Header { kind: Kind::Data, length: payload }, &mut frame[..payload + OVERHEAD_BYTES])?;
            left -= payload;
            end += payload + OVERHEAD_BYTES;
        }
        if last {
            keys.seal.seal(Header { kind: Kind::Fin, length: 0 }, &mut arena.bytes[end..end + OVERHEAD_BYTES])?;
            end += OVERHEAD_BYTES;
        }
        self.bytes_under_key += length as u64;
        self.bytes += length as u64;
        self.send_with_held(&arena.bytes[..end], more)
    }

    /// Seals and sends a frame that is not DATA.
    pub fn send_control(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Broken> {
        self.seal_control(kind, payload, |carrier, frame| carrier.send(frame))
    }

    /// Seals such a frame and keeps it for what is sent next, so that both go in one segment. [`Carrier::release`] it when
    /// nothing is.
    pub fn hold_control(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Broken> {
        self.seal_control(kind, payload, |carrier, frame| {
            carrier.held.extend_from_slice(frame);
            Ok(())
        })
    }

    /// A FIN may wait for the next OPEN: we alone open flows here, and nobody is kept waiting by it, since the other direction is
    /// over.
    pub fn may_hold_fin(&self) -> bool {
        self.ours && self.received == End::Fin && !self.retired && matches!(self.link, Link::Tcp(_))
    }

    /// Sends what is held.
    pub fn release(&mut self) -> Result<(), Broken> {
        if self.held.is_empty() { Ok(()) } else { self.send_with_held(&[], false) }
    }

    fn seal_control(
        &mut self,
        kind: Kind,
        payload: &[u8],
        then: impl FnOnce(&mut Self, &[u8]) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let mut frame = [0; CONTROL_PAYLOAD_BYTES_MAX + OVERHEAD_BYTES];
        let whole = &mut frame[..payload.len() + OVERHEAD_BYTES];
        whole[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(payload);
        let Some(keys) = &mut self.keys else { return Err(Broken("no keys".into())) };
        keys.seal.seal(Header { kind, length: payload.len() }, whole)?;
        then(self, whole)
    }

    /// Sends bytes as they are, behind what waits.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.send_with_held(bytes, false)
    }

    fn send_with_held(&mut self, bytes: &[u8], more: bool) -> Result<(), Broken> {
        self.unacknowledged = true;
        let held = std::mem::take(&mut self.held);
        let mut written = 0;
        if self.backlog.flush(&mut self.link)? {
            written = if held.is_empty() {
                self.link.write(bytes, more)?
            } else {
                self.link.write_vectored(&[IoSlice::new(&held), IoSlice::new(bytes)])?
            };
        }
        self.backlog.push(&held[written.min(held.len())..]);
        self.backlog.push(&bytes[written.saturating_sub(held.len())..]);
        Ok(())
    }

    fn rekey_if_due(&mut self, now: Instant) -> Result<(), Broken> {
        let used = self.keys.as_ref().map_or(0, |keys| keys.seal.used());
        let due =
            self.bytes_under_key > REKEY_BYTES || used > REKEY_FRAMES || now.duration_since(self.keyed) > REKEY_AGE;
        if !due {
            return Ok(());
        }
        self.send_control(Kind::Rekey, &[])?;
        if let Some(keys) = &mut self.keys {
            keys.seal.ratchet()?;
        }
        self.bytes_under_key = 0;
        self.keyed = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aead::{Cipher, DirectionKey},
        endpoint::Endpoint,
    };
    use rustix::event::epoll::EventFlags;
    use socket2::{Domain, SockRef, Socket, Type};
    use std::{io::Read, net::TcpStream, os::unix::net::UnixStream, time::Duration};
    use zeroize::Zeroizing;

    fn key() -> DirectionKey {
        DirectionKey::new(Cipher::Aes256Gcm, Zeroizing::new([5; 32])).unwrap()
    }

    /// A busy carrier with its wire, and the key that opens what it sends.
    fn carrier(now: Instant) -> (Carrier, UnixStream, DirectionKey) {
        let (here, there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let mut endpoint = Endpoint::new(here.into());
        endpoint.note(EventFlags::OUT);
        let mut carrier =
            Carrier::new(Link::Tcp(endpoint), Phase::Busy, true, None, "127.0.0.1:1".parse().unwrap(), now);
        carrier.keys = Some(Keys { seal: key(), open: key() });
        (carrier, there, key())
    }

    /// Opens everything on the wire, following key changes.
    fn hear(wire: &mut UnixStream, key: &mut DirectionKey, length: usize) -> Vec<Kind> {
        let (mut bytes, mut at, mut kinds) = (vec![0; length], 0, Vec::new());
        wire.read_exact(&mut bytes).unwrap();
        while let Some(header) = frame::next(&bytes[at..]).unwrap() {
            key.open(&mut bytes[at..at + header.frame_bytes()]).unwrap();
            if header.kind == Kind::Rekey {
                key.ratchet().unwrap();
            }
            kinds.push(header.kind);
            at += header.frame_bytes();
        }
        kinds
    }

    #[test]
    fn a_key_is_changed_in_the_middle_of_a_flow_by_age_and_by_bytes() {
        let now = Instant::now();
        let (mut carrier, mut wire, mut key) = carrier(now);
        let mut arena = Arena::new();
        let frame = 10 + OVERHEAD_BYTES;
        carrier.send_payloads(&mut arena, 10, Behind::default(), now).unwrap();
        assert_eq!(hear(&mut wire, &mut key, frame), [Kind::Data]);
        let later = now + REKEY_AGE + Duration::from_secs(1);
        carrier.send_payloads(&mut arena, 10, Behind::default(), later).unwrap();
        assert_eq!(hear(&mut wire, &mut key, frame + OVERHEAD_BYTES), [Kind::Rekey, Kind::Data]);
        assert_eq!(key.used(), 1, "a new key, used once");
        carrier.bytes_under_key = REKEY_BYTES + 1;
        carrier.send_payloads(&mut arena, 10, Behind::default(), later).unwrap();
        carrier.send_payloads(&mut arena, 10, Behind::default(), later).unwrap();
        assert_eq!(hear(&mut wire, &mut key, 2 * frame + OVERHEAD_BYTES), [Kind::Rekey, Kind::Data, Kind::Data]);
    }

    /// A TCP connection on loopback whose segments are as on an Ethernet, so that several are one packet.
    fn ethernet() -> (Endpoint, TcpStream, usize) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.set_tcp_mss(1460).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(1).unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap().as_socket().unwrap()).unwrap();
        let there = listener.accept().unwrap().0.into();
        here.set_nonblocking(true).unwrap();
        let segment = SockRef::from(&here).tcp_mss().unwrap() as usize;
        let mut endpoint = Endpoint::new(here.into());
        endpoint.note(EventFlags::OUT);
        (endpoint, there, segment)
    }

    #[test]
    fn long_frames_are_whole_segments_once_there_is_much_to_send() {
        let now = Instant::now();
        let (mut carrier, _, mut key) = carrier(now);
        let (endpoint, wire, segment) = ethernet();
        assert!((1000..=1460).contains(&segment), "{segment}");
        carrier.link = Link::Tcp(endpoint);
        let mut arena = Arena::new();
        let mut lengths = |carrier: &mut Carrier| {
            let payload = 3 * carrier.payload_most() + 1;
            let mut bytes = vec![0; payload + 4 * OVERHEAD_BYTES];
            let mut wire = wire.try_clone().unwrap();
            let hearing = std::thread::spawn(move || wire.read_exact(&mut bytes).map(|()| bytes));
            carrier.send_payloads(&mut arena, payload, Behind::default(), now).unwrap();
            while !carrier.flush().unwrap() {
                std::thread::yield_now();
                carrier.link.note(EventFlags::OUT);
            }
            let (mut bytes, mut at, mut lengths) = (hearing.join().unwrap().unwrap(), 0, Vec::new());
            while let Some(header) = frame::next(&bytes[at..]).unwrap() {
                key.open(&mut bytes[at..at + header.frame_bytes()]).unwrap();
                lengths.push(header.frame_bytes());
                at += header.frame_bytes();
            }
            lengths
        };
        let (longest, rest) = (FRAME_PAYLOAD_BYTES_MAX + OVERHEAD_BYTES, 1 + OVERHEAD_BYTES);
        assert_eq!(lengths(&mut carrier), [longest, longest, longest, rest]);
        carrier.fit_frames();
        let fitted = (64 << 10) / segment * segment;
        assert_eq!(lengths(&mut carrier), [fitted, fitted, fitted, rest]);
    }

    #[test]
    fn what_the_socket_does_not_take_waits_in_order() {
        let now = Instant::now();
        let (mut carrier, mut wire, mut key) = carrier(now);
        let mut arena = Arena::new();
        let frame = 1000 + OVERHEAD_BYTES;
        let mut sent = 0;
        while carrier.backlog.is_empty() {
            carrier.send_payloads(&mut arena, 1000, Behind::default(), now).unwrap();
            sent += 1;
        }
        carrier.send_control(Kind::Fin, &[]).unwrap();
        let mut heard = Vec::new();
        let mut left = sent * frame + OVERHEAD_BYTES;
        while left > 0 {
            let part = if left >= frame { frame } else { left };
            heard.extend(hear(&mut wire, &mut key, part));
            left -= part;
            carrier.link.note(EventFlags::OUT);
            carrier.flush().unwrap();
        }
        assert!(heard[..sent].iter().all(|kind| *kind == Kind::Data));
        assert_eq!(heard[sent..], [Kind::Fin]);
        assert!(carrier.backlog.is_empty());
    }
}
