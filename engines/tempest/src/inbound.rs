//! A packet's way in:
//!
//! 1. A worker receives a batch of datagrams; each may be a run of messages.
//! 2. Handshake messages go to the keeper's desk; what is no message is counted.
//! 3. A run of data messages of one session is opened in place under that tunnel's lock.
//! 4. The first packet under a new session makes it the one to send under; a new address is where answers go from now on.
//! 5. What was opened is put together again per flow and written to the tunnel's device.

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use socket2::Socket;

use crate::{
    clock::{self, Millis},
    coalesce::{Coalescer, Piece, Sink, Super},
    inbox::{Datagram, Inbox},
    limits::RECEIVE_CALLS_PER_TURN_MAX,
    limits::RECEIVES_PER_CALL_MAX,
    message::{self, DATA_HEADER_BYTES, Data, Message},
    packet::IpHeader,
    refusals::Reason,
    session::Refusal,
    shared::Shared,
    tun::Tun,
    tunnel::Tunnel,
};

pub struct Inbound {
    shared: Arc<Shared>,
    inbox: Inbox,
    coalescer: Coalescer,
    opened: Vec<(Piece, IpHeader)>,
    /// Tunnels whose peer confirmed its session in this turn: their kept packets may go.
    pub confirmed: Vec<Arc<Tunnel>>,
}

/// The tunnel of the messages that are being looked at, which are as a rule many in a row.
struct Run {
    index: u32,
    tunnel: Arc<Tunnel>,
    device: Option<Arc<Tun>>,
}

/// What a run of messages was.
#[derive(Default)]
struct Opened {
    messages: usize,
    bytes: usize,
    /// The first under its session, which is the one to send under from now on.
    confirmed: bool,
}

impl Inbound {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, inbox: Inbox::new(), coalescer: Coalescer::default(), opened: Vec::new(), confirmed: Vec::new() }
    }

    /// One turn for one socket: what waits there, up to a bound.
    pub fn turn(&mut self, socket: &Socket) -> io::Result<()> {
        for _ in 0..RECEIVE_CALLS_PER_TURN_MAX {
            let received = self.inbox.receive(socket)?;
            let mut run = None;
            let now = clock::now();
            for index in 0..self.inbox.datagrams() {
                let datagram = self.inbox.datagram(index);
                self.datagram(datagram, &mut run, now);
            }
            self.flush(&run);
            if received < RECEIVES_PER_CALL_MAX {
                break;
            }
        }
        Ok(())
    }

    fn datagram(&mut self, datagram: Datagram, run: &mut Option<Run>, now: Millis) {
        let Datagram { mut bytes, segment, from } = datagram;
        while bytes.start < bytes.end {
            let first = bytes.start..bytes.end.min(bytes.start + segment);
            match message::parse(&self.inbox.buffer[first.clone()]) {
                Some(Message::Data(data)) => {
                    if run.as_ref().is_none_or(|run| run.index != data.receiver) {
                        self.flush(run);
                        *run = self.shared.table.get(data.receiver).map(|tunnel| {
                            let device = tunnel.device();
                            Run { index: data.receiver, tunnel, device }
                        });
                    }
                    match run {
                        Some(run) => self.run(run, &mut bytes, segment, from, now),
                        None => {
                            self.shared.refusals.count(Reason::UnknownSession, from, None);
                            bytes.start = first.end;
                        }
                    }
                }
                Some(_) => {
                    if !self.shared.desk.letter(from, &self.inbox.buffer[first.clone()]) {
                        self.shared.refusals.count(Reason::Flood, from, None);
                    }
                    bytes.start = first.end;
                }
                None => {
                    self.shared.refusals.count(Reason::Garbage, from, None);
                    bytes.start = first.end;
                }
            }
        }
    }

    /// Takes as many messages of `run`'s session as stand at the beginning of `bytes`.
    fn run(&mut self, run: &Run, bytes: &mut Range<usize>, segment: usize, from: SocketAddr, now: Millis) {
        let tunnel = &run.tunnel;
        let opened = self.open(run, bytes, segment, from, now);
        if opened.messages == 0 {
            return;
        }
        if opened.confirmed {
            self.shared.desk.confirmed(tunnel.id);
            self.confirmed.push(tunnel.clone());
        }
        if tunnel.endpoint() != Some(from) {
            tunnel.set_endpoint(Some(from));
        }
        tunnel.activity.received(opened.bytes > 0, now);
        tunnel.counters.packets_in.fetch_add(self.opened.len() as u64, Relaxed);
        tunnel.counters.bytes_in.fetch_add(opened.bytes as u64, Relaxed);
        match &run.device {
            Some(device) => {
                let buffer = &self.inbox.buffer;
                let mut sink = Writer { device, tunnel, buffer };
                for (piece, ip) in self.opened.drain(..) {
                    self.coalescer.push(buffer, piece, ip, device.with_udp, &mut sink);
                }
            }
            None => tunnel.drop_packets(self.opened.drain(..).len()),
        }
    }

    /// Opens messages into `self.opened`; only crypto happens under the lock.
    fn open(&mut self, run: &Run, bytes: &mut Range<usize>, segment: usize, from: SocketAddr, now: Millis) -> Opened {
        let mut total = Opened::default();
        let mut receiver = run.tunnel.receiver();
        while bytes.start < bytes.end {
            let one = bytes.start..bytes.end.min(bytes.start + segment);
            let message = &mut self.inbox.buffer[one.clone()];
            let Some(Message::Data(Data { receiver: index, counter })) = message::parse(message) else { break };
            if index != run.index {
                break;
            }
            bytes.start = one.end;
            match receiver.open(index, counter, message, &self.shared.timing, now) {
                Err(refusal) => self.shared.refusals.count(refusal.into(), from, Some(&run.tunnel.peer_id)),
                Ok((length, confirmed)) => {
                    total.messages += 1;
                    if let Some(key) = confirmed {
                        // Still under the receiver's lock: see `Tunnel::begin_as_initiator`.
                        run.tunnel.sender().set_key(key);
                        total.confirmed = true;
                    }
                    let start = one.start + DATA_HEADER_BYTES;
                    if length == 0 {
                        continue;
                    }
                    match IpHeader::parse(&self.inbox.buffer[start..start + length]) {
                        Some(ip) => {
                            total.bytes += ip.total_length;
                            self.opened.push(((start, ip.total_length), ip));
                        }
                        None => run.tunnel.drop_packets(1),
                    }
                }
            }
        }
        total
    }

    /// Writes what waits for the device of `run`.
    fn flush(&mut self, run: &Option<Run>) {
        if let Some(Run { tunnel, device: Some(device), .. }) = run {
            self.coalescer.flush(&mut Writer { device, tunnel, buffer: &self.inbox.buffer });
        }
    }
}

struct Writer<'a> {
    device: &'a Arc<Tun>,
    tunnel: &'a Tunnel,
    buffer: &'a [u8],
}

impl Sink for Writer<'_> {
    fn write(&mut self, packet: Super<'_>) {
        // A device that is down or gone loses packets as any other; its worker finds out.
        if self.device.write(&packet, self.buffer).is_err() {
            self.tunnel.drop_packets(packet.packets);
        }
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownSession => Self::UnknownSession,
            Refusal::Replay => Self::Replay,
            Refusal::BadPacket => Self::BadPacket,
        }
    }
}
