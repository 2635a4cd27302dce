//! One conversation's stream, both ways, over datagrams that may be lost, doubled and overtaken. Pure: datagrams and the
//! time in, datagrams and deadlines out; what seals and sends them is `conversation`.

use std::time::{Duration, Instant};

use super::{
    packet::{Ack, DATA_OVERHEAD_BYTES, Packet},
    receiver::Receiver,
    sender::{Outcome, Sender},
};
use crate::{
    frame::Malformed,
    limits::{
        DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN, DATAGRAM_TRIALS, DATAGRAMS_MAX, KCP_PING_AFTER, KCP_PING_EVERY,
        KCP_SILENCE_MAX, TIMEOUTS_BEFORE_SMALLER,
    },
};

pub struct Arq {
    sender: Sender,
    receiver: Receiver,
    /// Around each packet: envelope and tag.
    wrapping: usize,
    /// Bytes of a whole datagram.
    size: usize,
    /// How often the largest is still tried, and whether one is on its way.
    trials: u32,
    trial_under_way: bool,
    wants_ping: bool,
    last_heard: Instant,
    last_ping: Instant,
    closed: bool,
}

/// Nothing was heard for so long that nobody can be there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silent;

impl Arq {
    /// `wrapping`: bytes that are put around each packet.
    pub fn new(wrapping: usize, now: Instant) -> Self {
        Self {
            sender: Sender::new(now),
            receiver: Receiver::new(now),
            wrapping,
            size: DATAGRAM_BYTES_MIN,
            trials: DATAGRAM_TRIALS,
            trial_under_way: false,
            wants_ping: false,
            last_heard: now,
            last_ping: now,
            closed: false,
        }
    }

    /// Whether what is sent makes room for others. Also for what has begun.
    pub fn set_congestion_control(&mut self, on: bool) {
        self.sender.is_controlled = on;
    }

    pub fn note_round_trip(&mut self, sample: Duration, now: Instant) {
        self.sender.note_round_trip(sample, now);
    }

    /// Bytes taken; the rest waits for room.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        self.sender.write(bytes)
    }

    /// Bytes that a write would take.
    pub fn room(&self) -> usize {
        self.sender.room()
    }

    pub fn read(&mut self, into: &mut [u8], now: Instant) -> usize {
        self.receiver.read(into, self.sender.round_trip(), now)
    }

    pub fn is_readable(&self) -> bool {
        self.receiver.is_readable()
    }

    /// The other side has given it up; what came before can still be read.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Everything that was written has arrived.
    pub fn has_delivered(&self) -> bool {
        self.sender.is_empty()
    }

    /// Takes the authentic datagram `number`. Err: no honest peer sends this.
    pub fn hear(&mut self, number: u64, bytes: &[u8], now: Instant) -> Result<(), Malformed> {
        let packet = Packet::decode(bytes)?;
        self.last_heard = now;
        self.sender.set_limit(packet.limit);
        if let Some(ack) = &packet.ack {
            let outcome = self.sender.heard_ack(ack, now);
            self.judge_trial(&outcome);
        }
        self.closed |= packet.close;
        self.receiver.hear(number, &packet, now)
    }

    /// Writes the next packet to send now into `out`, which holds a datagram without its wrapping. Returns number, length.
    pub fn next(&mut self, out: &mut [u8], now: Instant) -> Option<(u64, usize)> {
        let ack_due = self.receiver.ack_at().is_some_and(|at| at <= now);
        let room = self.size - self.wrapping;
        // An acknowledgement that is not due yet goes along for nothing.
        let ack = if self.receiver.wants_to_ack() { Ack::encoded_bytes(self.receiver.ack_words()) } else { 0 };
        if let Some(stretch) = self.sender.next_stretch(room - DATA_OVERHEAD_BYTES - ack, self.size, now) {
            return Some(self.data(stretch, out, now));
        }
        if self.size < DATAGRAM_BYTES_MAX && self.trials > 0 && !self.trial_under_way && !self.sender.is_empty() {
            return Some(self.trial(out, now));
        }
        if !(ack_due || self.wants_ping || self.receiver.has_more_room()) {
            return None;
        }
        let mut packet = Packet { ping: std::mem::take(&mut self.wants_ping), ..Packet::default() };
        let number = self.begin(&mut packet, now);
        let length = packet.encode(out);
        if packet.ping {
            self.last_ping = now;
            self.sender.sent(number, (0, 0), length + self.wrapping, false, now);
        }
        Some((number, length))
    }

    fn data(&mut self, (offset, length): (u64, usize), out: &mut [u8], now: Instant) -> (u64, usize) {
        let mut packet = Packet { ping: true, ..Packet::default() };
        let number = self.begin(&mut packet, now);
        packet.ping = std::mem::take(&mut self.wants_ping);
        let whole = packet.encode_with_data(offset, length, out);
        self.sender.copy(offset, &mut out[whole - length..whole]);
        self.sender.sent(number, (offset, length), whole + self.wrapping, false, now);
        (number, whole)
    }

    fn trial(&mut self, out: &mut [u8], now: Instant) -> (u64, usize) {
        self.trials -= 1;
        self.trial_under_way = true;
        let mut packet = Packet { ping: true, ..Packet::default() };
        let number = self.begin(&mut packet, now);
        packet.padding = 1;
        let bare = packet.encode(out) - 1;
        let length = DATAGRAM_BYTES_MAX - self.wrapping;
        out[bare..length].fill(0);
        self.sender.sent(number, (0, 0), DATAGRAM_BYTES_MAX, true, now);
        (number, length)
    }

    /// What every packet says.
    fn begin(&mut self, packet: &mut Packet, now: Instant) -> u64 {
        let number = self.sender.number();
        packet.limit = self.receiver.tell_limit();
        if self.receiver.wants_to_ack() {
            packet.ack = self.receiver.ack(now);
        }
        if packet.wants_ack() {
            packet.floor = self.sender.floor(number);
        }
        number
    }

    fn judge_trial(&mut self, outcome: &Outcome) {
        if outcome.trial_came {
            self.size = DATAGRAM_BYTES_MAX;
        }
        if outcome.trial_came || outcome.trial_lost {
            self.trial_under_way = false;
        }
    }

    /// The last word: nothing follows.
    pub fn close(&mut self, out: &mut [u8]) -> (u64, usize) {
        let packet = Packet { close: true, limit: self.receiver.tell_limit(), ..Packet::default() };
        (self.sender.number(), packet.encode(out))
    }

    /// When `tick` or `next` has something to do although nothing is heard.
    pub fn deadline(&self, now: Instant) -> Instant {
        let ping = (self.last_heard + KCP_PING_AFTER).max(self.last_ping + KCP_PING_EVERY);
        let silence = self.last_heard + KCP_SILENCE_MAX;
        [self.sender.deadline(now), self.receiver.ack_at()].into_iter().flatten().fold(ping.min(silence), Instant::min)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) -> Result<(), Silent> {
        if now.duration_since(self.last_heard) > KCP_SILENCE_MAX {
            return Err(Silent);
        }
        let (wants_ping, outcome) = self.sender.tick(now);
        self.judge_trial(&outcome);
        self.wants_ping |= wants_ping;
        if now >= (self.last_heard + KCP_PING_AFTER).max(self.last_ping + KCP_PING_EVERY) {
            self.wants_ping = true;
            self.last_ping = now;
        }
        if self.sender.timeouts >= TIMEOUTS_BEFORE_SMALLER && self.size > DATAGRAM_BYTES_MIN {
            // A route may have changed to one that does not take the longest.
            self.size = DATAGRAM_BYTES_MIN;
            self.trials = 0;
        }
        Ok(())
    }

    /// Somebody else says that nobody is there: an answer is wanted now.
    pub fn doubt(&mut self) {
        self.wants_ping = true;
    }

    pub fn is_worn(&self) -> bool {
        self.sender.numbers() > DATAGRAMS_MAX
    }
}

#[cfg(test)]
mod tests;
