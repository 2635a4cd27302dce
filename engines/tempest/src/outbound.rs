//! A packet's way out:
//!
//! 1. The tunnel's worker reads it, a super-packet as a rule, from the TUN device.
//! 2. Without a session it is kept, a bounded number of them, and a handshake is asked for. It never leaves in clear.
//! 3. It is split into packets of the wire's size, each made in place in the outbox.
//! 4. Each is sealed there under the tunnel's one sending key.
//! 5. The outbox goes to the kernel in as few calls as possible.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use socket2::Socket;

use crate::{
    clock::{self, Millis},
    limits::{DEVICE_READ_BYTES, READS_PER_TURN_MAX},
    message::{DATA_HEADER_BYTES, TAG_BYTES},
    outbox::Outbox,
    session::SendKey,
    shared::Shared,
    split::Split,
    tun::Tun,
    tunnel::{Sender, Tunnel},
    udp::Sockets,
    vnet::VnetHeader,
};

pub struct Outbound {
    shared: Arc<Shared>,
    outbox: Outbox,
    read_buffer: Box<[u8]>,
}

/// What one turn sent.
#[derive(Default)]
struct Sent {
    packets: usize,
    bytes: usize,
    dropped: usize,
}

/// Where a turn's packets go.
struct Way<'a> {
    socket: &'a Socket,
    endpoint: SocketAddr,
    mtu: usize,
}

impl Outbound {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, outbox: Outbox::new(), read_buffer: vec![0; DEVICE_READ_BYTES].into_boxed_slice() }
    }

    /// One turn for one tunnel: what was kept, then what its device has, up to a bound. An error means that the device
    /// is of no use any more.
    pub fn turn(&mut self, tunnel: &Tunnel, device: &Tun, sockets: &Sockets) -> io::Result<()> {
        let now = clock::now();
        let endpoint = tunnel.endpoint();
        let socket = endpoint.as_ref().and_then(|endpoint| sockets.for_address(endpoint));
        let way =
            endpoint.zip(socket).map(|(endpoint, socket)| Way { socket, endpoint, mtu: tunnel.mtu.load(Relaxed) });
        let mut sent = Sent::default();
        let mut sender = tunnel.sender();
        let result = self.fill(tunnel, device, &mut sender, way.as_ref(), &mut sent, now);
        if let Some(way) = &way {
            sent.dropped += self.outbox.flush(way.socket, &way.endpoint);
        }
        drop(sender);

        if sent.packets > 0 {
            tunnel.activity.sent(true, now);
            tunnel.counters.packets_out.fetch_add(sent.packets as u64, Relaxed);
            tunnel.counters.bytes_out.fetch_add(sent.bytes as u64, Relaxed);
        }
        tunnel.drop_packets(sent.dropped);
        result
    }

    fn fill(
        &mut self,
        tunnel: &Tunnel,
        device: &Tun,
        sender: &mut Sender,
        way: Option<&Way<'_>>,
        sent: &mut Sent,
        now: Millis,
    ) -> io::Result<()> {
        let timing = &self.shared.timing;
        let Sender { key, staged, .. } = sender;
        let mut open = key.as_mut().filter(|key| key.is_usable(timing, now)).zip(way);
        if let Some((key, way)) = &mut open {
            if key.wants_rekey(timing, now) {
                self.shared.want_handshake(tunnel);
            }
            while let Some(packet) = staged.pop() {
                seal_all(&mut self.outbox, &packet, key, way, sent);
            }
        }
        for _ in 0..READS_PER_TURN_MAX {
            let length = match device.read(&mut self.read_buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let packet = &self.read_buffer[..length];
            match &mut open {
                Some((key, way)) => seal_all(&mut self.outbox, packet, key, way, sent),
                None => {
                    sent.dropped += staged.push(packet);
                    self.shared.want_handshake(tunnel);
                }
            }
        }
        Ok(())
    }
}

/// Splits what the device handed over and seals each packet into the outbox, emptying that when it is full.
fn seal_all(outbox: &mut Outbox, read: &[u8], key: &mut SendKey, way: &Way<'_>, sent: &mut Sent) {
    let Some(mut split) = VnetHeader::parse(read).and_then(|(header, packet)| Split::new(&header, packet)) else {
        sent.dropped += 1;
        return;
    };
    while let Some(packet) = split.next_length() {
        let length = Tunnel::message_length(packet, way.mtu);
        if !outbox.has_room(length) || outbox.is_worth_sending() {
            sent.dropped += outbox.flush(way.socket, &way.endpoint);
        }
        let slot = outbox.slot(length);
        let (packet_at, padding) = slot[DATA_HEADER_BYTES..length - TAG_BYTES].split_at_mut(packet);
        split.write_next(packet_at);
        padding.fill(0);
        if key.seal(slot) {
            outbox.commit();
            sent.packets += 1;
            sent.bytes += packet;
        } else {
            sent.dropped += 1;
        }
    }
}
