//! What a carrier over KCP has in the place of a TCP socket: a stream to read and write, and the datagrams that carry it.
//!
//! ```text
//! calling ─(answer)→ open ─(silence, the word that it is forgotten, nobody at the port)→ failed
//! ```
//! Reading and writing only change what is kept here and put the conversation on its worker's agenda; the worker then
//! lets it send, once for all that happened in a turn.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use super::{
    arq::Arq,
    desk::Agenda,
    envelope::{Envelope, HEAD_BYTES, WRAPPING_BYTES},
    greeting::{self, HELLO_DATAGRAM_BYTES, Mac},
    udp::Udp,
};
use crate::{
    frame::TAG_BYTES,
    handshake::DatagramKeys,
    limits::{
        DATAGRAM_BYTES_MAX, HELLO_AGAIN, KCP_DOUBT_EVERY, KCP_DOUBT_FOR, RETRIES_MAX, SEGMENTS_MAX, SEND_AGAIN,
        WAKE_ROOM_BYTES,
    },
    slots::Key,
};

pub struct Conversation {
    /// What datagrams for us say.
    pub id: u64,
    key: Key,
    agenda: Agenda,
    on_agenda: bool,
    socket: Arc<Udp>,
    congestion_control: bool,
    /// The socket hears nobody else.
    is_own: bool,
    to: SocketAddr,
    from: Option<IpAddr>,
    state: State,
    /// A write was not taken as a whole.
    wants_room: bool,
    /// The next time that the worker looks at it by itself.
    pub armed: Option<Instant>,
}

enum State {
    Calling(Box<Calling>),
    Open(Box<Open>),
    Failed(&'static str),
}

struct Calling {
    hello: Vec<u8>,
    peer_key: [u8; 32],
    datagram: [u8; HELLO_DATAGRAM_BYTES],
    sent_at: Instant,
    tries: u32,
    retries: u32,
}

struct Open {
    arq: Arq,
    envelope: Envelope,
    highest: Option<u64>,
    /// By which the responder says that it has forgotten; only its initiator knows it.
    gone_word: Option<Mac>,
    /// Datagrams that the socket had no room for, and how long each is.
    unsent: (Vec<u8>, usize),
    send_again_at: Option<Instant>,
    /// Since when the network says that nobody listens there, and when an answer was asked for last.
    doubted: Option<(Instant, Instant)>,
    close_when_delivered: bool,
}

/// What the worker knows that a conversation needs.
pub struct Place {
    pub key: Key,
    pub agenda: Agenda,
    pub socket: Arc<Udp>,
    pub congestion_control: bool,
}

impl Conversation {
    /// We begin: the hello is to be sent with the worker's next turn.
    pub fn call(place: Place, id: u64, to: SocketAddr, hello: Vec<u8>, peer_key: [u8; 32], now: Instant) -> Self {
        let datagram = greeting::write_hello(id, &Mac::default(), &hello, &peer_key);
        let calling = Calling { hello, peer_key, datagram, sent_at: now, tries: 0, retries: 0 };
        Self::new(place, id, to, None, State::Calling(Box::new(calling)))
    }

    /// Somebody else has begun, and was answered.
    pub fn answer(
        place: Place,
        id: u64,
        to: SocketAddr,
        from: Option<IpAddr>,
        to_id: u64,
        keys: DatagramKeys,
        now: Instant,
    ) -> Self {
        Self::new(place, id, to, from, State::Open(Box::new(Open::new(keys, to_id, None, now))))
    }

    fn new(place: Place, id: u64, to: SocketAddr, from: Option<IpAddr>, state: State) -> Self {
        let Place { key, agenda, socket, congestion_control } = place;
        let is_own = matches!(state, State::Calling(_));
        let mut new = Self {
            id,
            key,
            agenda,
            on_agenda: false,
            socket,
            congestion_control,
            is_own,
            to,
            from,
            state,
            wants_room: false,
            armed: None,
        };
        new.set_congestion_control(congestion_control);
        new.touch();
        new
    }

    pub fn socket(&self) -> &Arc<Udp> {
        &self.socket
    }

    /// The responder has answered.
    pub fn established(&mut self, keys: DatagramKeys, to_id: u64, gone_word: Mac, now: Instant) {
        let State::Calling(calling) = &self.state else { return };
        let mut open = Open::new(keys, to_id, Some(gone_word), now);
        if calling.tries <= 1 {
            open.arq.note_round_trip(now.duration_since(calling.sent_at), now);
        }
        self.state = State::Open(Box::new(open));
        self.set_congestion_control(self.congestion_control);
        self.touch();
    }

    /// Whether what is sent from now on makes room for others' traffic.
    pub fn set_congestion_control(&mut self, on: bool) {
        self.congestion_control = on;
        if let State::Open(open) = &mut self.state {
            open.arq.set_congestion_control(on);
        }
    }

    pub fn is_calling(&self) -> bool {
        matches!(self.state, State::Calling(_))
    }

    /// To be looked at by the worker before it sleeps.
    fn touch(&mut self) {
        if !std::mem::replace(&mut self.on_agenda, true) {
            self.agenda.put(self.key);
        }
    }

    /// None: nothing waits. Some(0): the other side has closed it.
    pub fn read(&mut self, into: &mut [u8], now: Instant) -> io::Result<Option<usize>> {
        match &mut self.state {
            State::Calling(_) => Ok(None),
            State::Failed(why) => Err(io::Error::other(*why)),
            State::Open(open) => {
                let length = open.arq.read(into, now);
                let closed = open.arq.is_closed();
                if length > 0 {
                    self.touch();
                }
                Ok((length > 0 || closed).then_some(length))
            }
        }
    }

    pub fn is_readable(&self) -> bool {
        match &self.state {
            State::Calling(_) => false,
            State::Failed(_) => true,
            State::Open(open) => open.arq.is_readable() || open.arq.is_closed(),
        }
    }

    /// Bytes taken; fewer than given when enough waits already.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Calling(_) => Ok(0),
            State::Failed(why) => Err(io::Error::other(*why)),
            State::Open(open) => {
                let taken = open.arq.write(bytes);
                self.wants_room |= taken < bytes.len();
                if taken > 0 {
                    self.touch();
                }
                Ok(taken)
            }
        }
    }

    /// Everything that was written has arrived, or nothing more can.
    pub fn has_delivered(&self) -> bool {
        match &self.state {
            State::Open(open) => open.arq.has_delivered() || open.arq.is_closed(),
            _ => true,
        }
    }

    /// Not to be used any more, but for what is still on its way.
    pub fn close_when_delivered(&mut self) {
        if let State::Open(open) = &mut self.state {
            open.close_when_delivered = true;
        }
    }

    pub fn is_to_close(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.close_when_delivered) && self.has_delivered()
    }

    pub fn failure(&self) -> Option<&'static str> {
        if let State::Failed(why) = self.state { Some(why) } else { None }
    }

    pub fn is_worn(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.arq.is_worn())
    }

    /// The carrier has something to do: bytes came, there is room again, or it is over.
    pub fn takes_wake(&mut self) -> bool {
        let has_room = match &self.state {
            State::Open(open) => self.wants_room && open.arq.room() >= WAKE_ROOM_BYTES,
            _ => false,
        };
        if has_room {
            self.wants_room = false;
        }
        has_room || self.is_readable()
    }

    /// Takes a datagram of ours. True: it was authentic.
    pub fn hear(&mut self, datagram: &mut [u8], from: SocketAddr, at: Option<IpAddr>, now: Instant) -> bool {
        let State::Open(open) = &mut self.state else { return false };
        if let Some(word) = &open.gone_word
            && greeting::is_gone(datagram, word)
        {
            self.fail("the other side does not know it any more");
            return true;
        }
        let Ok((number, packet)) = open.envelope.open(datagram) else { return false };
        if open.arq.hear(number, packet, now).is_err() {
            self.fail("the other side does not keep to the protocol");
            return true;
        }
        open.doubted = None;
        if open.highest.is_none_or(|highest| number > highest) {
            open.highest = Some(number);
            if !self.is_own {
                // Wherever the newest comes from, there the other side is now.
                (self.to, self.from) = (from, at);
            }
        }
        self.touch();
        true
    }

    /// A retry to our hello: says it again, with the cookie.
    pub fn retry(&mut self, cookie: &Mac, now: Instant) {
        let State::Calling(calling) = &mut self.state else { return };
        calling.retries += 1;
        if calling.retries <= RETRIES_MAX {
            calling.datagram = greeting::write_hello(self.id, cookie, &calling.hello, &calling.peer_key);
            (calling.tries, calling.sent_at) = (0, now);
            self.touch();
        }
    }

    /// The network says that nobody listens there. That is not authentic, so it only ends what has not begun, or what
    /// does not answer either.
    pub fn refused(&mut self, now: Instant) {
        match &mut self.state {
            State::Calling(_) => self.fail("connection refused"),
            State::Open(open) => {
                if open.doubted.is_none() {
                    open.doubted = Some((now, now));
                    open.arq.doubt();
                }
                self.touch();
            }
            State::Failed(_) => (),
        }
    }

    pub fn fail(&mut self, why: &'static str) {
        self.say_close();
        self.state = State::Failed(why);
        self.touch();
    }

    /// When there is something to do although nothing is heard.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.state {
            State::Calling(calling) => {
                Some(calling.sent_at + HELLO_AGAIN * (1 << calling.tries.saturating_sub(1).min(3)))
            }
            State::Open(open) => {
                let doubt = open.doubted.map(|(_, asked)| asked + KCP_DOUBT_EVERY);
                let arq = open.arq.deadline(now);
                Some(doubt.into_iter().chain(open.send_again_at).fold(arq, Instant::min))
            }
            State::Failed(_) => None,
        }
    }

    /// Does what is due, and sends what may be sent.
    pub fn work(&mut self, scratch: &mut [u8], now: Instant) {
        self.on_agenda = false;
        match &mut self.state {
            State::Failed(_) => (),
            State::Calling(calling) => {
                let again = HELLO_AGAIN * (1 << calling.tries.saturating_sub(1).min(3));
                if calling.tries == 0 || now >= calling.sent_at + again {
                    calling.tries += 1;
                    calling.sent_at = now;
                    let sent = self.socket.send(self.to, None, &calling.datagram, HELLO_DATAGRAM_BYTES);
                    if let Err(error) = sent {
                        self.note_error(&error, now);
                    }
                }
            }
            State::Open(open) => {
                if open.arq.tick(now).is_err() {
                    return self.fail("the peer has fallen silent");
                }
                if let Some((since, asked)) = &mut open.doubted
                    && now >= *asked + KCP_DOUBT_EVERY
                {
                    if now.duration_since(*since) > KCP_DOUBT_FOR {
                        return self.fail("nobody listens there any more");
                    }
                    *asked = now;
                    open.arq.doubt();
                }
                if let Err(error) = open.send(&self.socket, self.to, self.from, scratch, now) {
                    self.note_error(&error, now);
                }
            }
        }
    }

    fn note_error(&mut self, error: &io::Error, now: Instant) {
        // Whatever else went wrong looks like a loss, and is found as one.
        if error.kind() == io::ErrorKind::ConnectionRefused {
            self.refused(now);
        }
    }

    /// Another conversation with this peer has failed: an answer is wanted now.
    pub fn doubt(&mut self) {
        if let State::Open(open) = &mut self.state {
            open.arq.doubt();
            self.touch();
        }
    }

    /// Tells the other side, so that it need not find out by silence: it may hear us although we do not hear it.
    fn say_close(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        if open.arq.is_closed() {
            return;
        }
        let mut datagram = [0; 128];
        let (number, length) = open.arq.close(&mut datagram[HEAD_BYTES..]);
        if let Ok(whole) = open.envelope.seal(number, length, &mut datagram) {
            let _ = self.socket.send(self.to, self.from, &datagram[..whole], whole);
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.say_close();
    }
}

impl Open {
    fn new(keys: DatagramKeys, to_id: u64, gone_word: Option<Mac>, now: Instant) -> Self {
        Self {
            arq: Arq::new(WRAPPING_BYTES, now),
            envelope: Envelope::new(keys, to_id),
            highest: None,
            gone_word,
            unsent: (Vec::new(), 0),
            send_again_at: None,
            doubted: None,
            close_when_delivered: false,
        }
    }

    /// Sends all that may go now, as many datagrams with one call as the kernel cuts apart again.
    fn send(
        &mut self,
        socket: &Udp,
        to: SocketAddr,
        from: Option<IpAddr>,
        scratch: &mut [u8],
        now: Instant,
    ) -> io::Result<()> {
        if let Some(at) = self.send_again_at {
            if now < at {
                return Ok(());
            }
            self.send_again_at = None;
            let (datagrams, segment) = std::mem::take(&mut self.unsent);
            self.put(socket, to, from, &datagrams, segment, now)?;
        }
        let (mut end, mut segment) = (0, 0);
        while self.send_again_at.is_none() {
            let room = &mut scratch[end..end + DATAGRAM_BYTES_MAX];
            let Some((number, length)) = self.arq.next(&mut room[HEAD_BYTES..DATAGRAM_BYTES_MAX - TAG_BYTES], now)
            else {
                break;
            };
            let Ok(whole) = self.envelope.seal(number, length, room) else { break };
            if end > 0 && whole > segment {
                self.put(socket, to, from, &scratch[..end], segment, now)?;
                scratch.copy_within(end..end + whole, 0);
                (end, segment) = (0, whole);
            } else if end == 0 {
                segment = whole;
            }
            end += whole;
            if whole < segment || end >= SEGMENTS_MAX * segment {
                self.put(socket, to, from, &scratch[..end], segment, now)?;
                end = 0;
            }
        }
        if end > 0 {
            self.put(socket, to, from, &scratch[..end], segment, now)?;
        }
        Ok(())
    }

    fn put(
        &mut self,
        socket: &Udp,
        to: SocketAddr,
        from: Option<IpAddr>,
        datagrams: &[u8],
        segment: usize,
        now: Instant,
    ) -> io::Result<()> {
        match socket.send(to, from, datagrams, segment) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.send_again_at.is_none() {
                    self.unsent = (datagrams.to_vec(), segment);
                    self.send_again_at = Some(now + SEND_AGAIN);
                }
                Ok(())
            }
            other => other,
        }
    }
}

/// As long as the longest batch of datagrams.
pub fn scratch() -> Vec<u8> {
    vec![0; (SEGMENTS_MAX + 1) * DATAGRAM_BYTES_MAX]
}
