//! The sending half of a conversation: keeps what is not acknowledged, finds out what was lost, sends that again.
//!
//! Every datagram has a number of its own, also the one that carries the same bytes again. So an acknowledgement tells
//! exactly which sending arrived: round trips are never ambiguous, and what was taken for lost and was not is noticed.
//! A datagram is lost when a later one has come and the longest round trip of late has passed; so neither jitter nor
//! reordering looks like loss.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use super::{
    congestion::{Congestion, Heard, Stamp},
    packet::Ack,
    ranges::Ranges,
};
use crate::limits::{
    ACK_DELAY, BURST_BYTES_MIN, INITIAL_ROUND_TRIP, PROBE_TIMEOUT_MAX, SEND_BUFFER_BYTES_MAX, SEND_BUFFER_BYTES_MIN,
    WINDOW_BYTES_MIN,
};

/// A timer more often than this costs more than it smooths.
const TURN_MAX: Duration = Duration::from_micros(500);

/// So many numbers back the other side is asked about what was given up: a longer memory makes long acknowledgements.
const GIVEN_UP_SPAN: u64 = 1024;

/// A datagram under way that wants an acknowledgement.
#[derive(Debug)]
struct Sent {
    number: u64,
    offset: u64,
    /// Bytes of the stream; 0 for a ping.
    length: u32,
    /// Bytes on the wire.
    size: u32,
    at: Instant,
    stamp: Stamp,
    acked: bool,
    /// Tries a larger datagram.
    is_trial: bool,
}

impl Sent {
    fn stretch(&self) -> Range<u64> {
        self.offset..self.offset + u64::from(self.length)
    }
}

/// What an acknowledgement changed beside the window.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub trial_came: bool,
    pub trial_lost: bool,
}

#[derive(Debug)]
pub struct Sender {
    /// The stream from `una` on.
    out: VecDeque<u8>,
    una: u64,
    /// Everything before this was sent at least once.
    next: u64,
    acked: Ranges,
    lost: Ranges,
    sent: VecDeque<Sent>,
    /// Taken for lost lately, in case they were not.
    given_up: VecDeque<Sent>,
    /// Kept for its capacity.
    arrived: Vec<Range<u64>>,
    under_way: usize,
    next_number: u64,
    largest_acked: Option<u64>,
    limit: u64,
    round_trip: RoundTrip,
    congestion: Congestion,
    /// If not, only the other side's room bounds what is under way, and nothing is paced.
    pub is_controlled: bool,
    /// The next datagram with data may go now or from then on.
    paced_until: Instant,
    /// How long is waited beyond that, so that several go together.
    turn: Duration,
    lost_at: Option<Instant>,
    last_sent: Instant,
    /// Probe timeouts in a row.
    pub timeouts: u32,
    /// One datagram may go beyond the window: a probe.
    probe: bool,
}

impl Sender {
    pub fn new(now: Instant) -> Self {
        Self {
            out: VecDeque::new(),
            una: 0,
            next: 0,
            acked: Ranges::default(),
            lost: Ranges::default(),
            sent: VecDeque::new(),
            given_up: VecDeque::new(),
            arrived: Vec::new(),
            under_way: 0,
            next_number: 0,
            largest_acked: None,
            limit: WINDOW_BYTES_MIN,
            round_trip: RoundTrip::new(now),
            congestion: Congestion::new(now),
            is_controlled: true,
            paced_until: now,
            turn: Duration::ZERO,
            lost_at: None,
            last_sent: now,
            timeouts: 0,
            probe: false,
        }
    }

    /// A round trip that the handshake has measured.
    pub fn note_round_trip(&mut self, sample: Duration, now: Instant) {
        self.round_trip.note(sample, now);
    }

    pub fn round_trip(&self) -> Duration {
        self.round_trip.smooth()
    }

    /// Bytes that may be under way.
    fn window(&self) -> usize {
        if self.is_controlled { self.congestion.window() } else { SEND_BUFFER_BYTES_MAX }
    }

    pub fn room(&self) -> usize {
        let most = (2 * self.window()).clamp(SEND_BUFFER_BYTES_MIN, SEND_BUFFER_BYTES_MAX);
        most.saturating_sub(self.out.len())
    }

    /// Bytes taken.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.out.extend(&bytes[..taken]);
        taken
    }

    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    pub fn set_limit(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    fn has_new(&self) -> bool {
        self.next < self.una + self.out.len() as u64 && self.next < self.limit
    }

    /// Something waits for room on the other side and nothing is under way that would bring word of it.
    fn is_shut_out(&self) -> bool {
        !self.out.is_empty() && self.lost.is_empty() && !self.has_new() && self.sent.is_empty()
    }

    /// The stretch of the stream to send now in a datagram that has room for `room` bytes and will be `size` long.
    pub fn next_stretch(&mut self, room: usize, size: usize, now: Instant) -> Option<(u64, usize)> {
        if self.lost.is_empty() && !self.has_new() {
            if self.under_way < self.window() {
                self.congestion.had_nothing_to_send(self.under_way);
            }
            return None;
        }
        let fits = self.under_way + size <= self.window() && now >= self.paced_until;
        if !fits && !std::mem::take(&mut self.probe) {
            return None;
        }
        if let Some(range) = self.lost.take_first(room as u64) {
            return Some((range.start, (range.end - range.start) as usize));
        }
        let end = (self.una + self.out.len() as u64).min(self.limit).min(self.next + room as u64);
        let offset = std::mem::replace(&mut self.next, end);
        Some((offset, (end - offset) as usize))
    }

    pub fn copy(&self, offset: u64, into: &mut [u8]) {
        let from = (offset - self.una) as usize;
        let (first, second) = self.out.as_slices();
        let split = first.len().saturating_sub(from).min(into.len());
        if split > 0 {
            into[..split].copy_from_slice(&first[from..from + split]);
        }
        let length = into.len();
        if split < length {
            let from = from + split - first.len();
            into[split..].copy_from_slice(&second[from..from + length - split]);
        }
    }

    /// A number for the next datagram.
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// How many datagrams were numbered.
    pub fn numbers(&self) -> u64 {
        self.next_number
    }

    /// How many numbers back the oldest one stands that has no acknowledgement.
    pub fn floor(&self, number: u64) -> u32 {
        let given_up = self.given_up.iter().map(|sent| sent.number).find(|given_up| number - given_up < GIVEN_UP_SPAN);
        let oldest = given_up.or(self.sent.front().map(|sent| sent.number)).unwrap_or(number).min(number);
        (number - oldest).min(u64::from(u32::MAX)) as u32
    }

    /// A datagram that wants an acknowledgement goes out.
    pub fn sent(&mut self, number: u64, (offset, length): (u64, usize), size: usize, is_trial: bool, now: Instant) {
        let stamp = self.congestion.sent(self.under_way, now);
        self.under_way += size;
        self.last_sent = now;
        let (length, size) = (length as u32, size as u32);
        self.sent.push_back(Sent { number, offset, length, size, at: now, stamp, acked: false, is_trial });
        if length > 0 && self.is_controlled {
            let rate = self.congestion.rate(self.round_trip.smooth());
            // What was not used of the last moment may be caught up with, but not more than a burst.
            let burst = Duration::from_secs_f64(BURST_BYTES_MIN as f64 / rate).max(Duration::from_millis(1));
            self.turn = (burst / 2).min(TURN_MAX);
            let from = self.paced_until.max(now.checked_sub(burst).unwrap_or(now));
            self.paced_until = from + Duration::from_secs_f64(f64::from(size) / rate);
        }
    }

    pub fn heard_ack(&mut self, ack: &Ack, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        if ack.largest >= self.next_number {
            // Never sent: what an honest peer does not say is not believed.
            return outcome;
        }
        let mut heard = Heard::default();
        let (mut sum, mut count) = (Duration::ZERO, 0);
        let mut arrived = std::mem::take(&mut self.arrived);
        for sent in self.sent.iter_mut().take_while(|sent| sent.number <= ack.largest) {
            if sent.acked || !ack.has(sent.number) {
                continue;
            }
            sent.acked = true;
            self.under_way -= sent.size as usize;
            arrived.push(sent.stretch());
            self.congestion.acked(&mut heard, sent.size as usize, sent.stamp, sent.at, now);
            outcome.trial_came |= sent.is_trial;
            let delay = Duration::from_micros(if sent.number == ack.largest { ack.delay_us.into() } else { 0 });
            let sample = now.duration_since(sent.at).saturating_sub(delay.min(2 * ACK_DELAY));
            self.round_trip.note_longest(sample, now);
            (sum, count) = (sum + sample, count + 1);
        }
        for sent in self.given_up.iter_mut().filter(|sent| !sent.acked && ack.has(sent.number)) {
            sent.acked = true;
            arrived.push(sent.stretch());
            self.congestion.was_not_lost(sent.size as usize);
            self.round_trip.note_longest(now.duration_since(sent.at), now);
        }
        for range in arrived.drain(..) {
            self.lost.remove(range.clone());
            self.acked.insert(range.start.max(self.una)..range.end.max(self.una));
        }
        self.arrived = arrived;
        if count > 0 {
            self.timeouts = 0;
            self.probe = false;
            self.round_trip.note(sum / count, now);
        }
        self.largest_acked = self.largest_acked.max(Some(ack.largest));
        while self.sent.front().is_some_and(|sent| sent.acked) {
            self.sent.pop_front();
        }
        if let Some(range) = self.acked.first().filter(|range| range.start == self.una) {
            self.acked.remove(range.clone());
            self.lost.remove(0..range.end);
            self.out.drain(..(range.end - self.una) as usize);
            self.una = range.end;
            self.next = self.next.max(self.una);
        }
        outcome.trial_lost = self.find_lost(now);
        self.congestion.conclude(&heard, self.under_way, now);
        if self.out.is_empty() && self.sent.is_empty() {
            // An idle conversation owns no buffers.
            (self.out, self.sent, self.arrived) = (VecDeque::new(), VecDeque::new(), Vec::new());
        }
        outcome
    }

    /// True when a trial was among them.
    fn find_lost(&mut self, now: Instant) -> bool {
        let mut trial = false;
        let patience = self.round_trip.patience();
        self.lost_at = None;
        while let Some(sent) = self.sent.front() {
            if !sent.acked {
                if self.largest_acked.is_none_or(|largest| sent.number > largest) {
                    break;
                }
                if sent.at + patience > now {
                    self.lost_at = Some(sent.at + patience);
                    break;
                }
            }
            let Some(sent) = self.sent.pop_front() else { break };
            if !sent.acked {
                trial |= sent.is_trial;
                self.under_way -= sent.size as usize;
                self.lose(sent.stretch());
                if !sent.is_trial {
                    self.congestion.lost(sent.size as usize, sent.stamp);
                }
                self.given_up.push_back(sent);
            }
        }
        while self.given_up.front().is_some_and(|sent| sent.acked || sent.at + 4 * patience < now) {
            self.given_up.pop_front();
        }
        trial
    }

    /// To be sent again, but for what has come in another datagram.
    fn lose(&mut self, range: Range<u64>) {
        let range = range.start.max(self.una)..range.end;
        self.lost.insert(range.clone());
        for known in self.acked.within(range) {
            self.lost.remove(known);
        }
    }

    /// When something is to be done here although nothing is heard: a loss, a probe, or a turn to send.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let waits = !self.lost.is_empty() || self.has_new();
        let turn = (waits && self.paced_until > now).then(|| self.paced_until + self.turn);
        [self.lost_at, self.probe_at(), turn].into_iter().flatten().min()
    }

    fn probe_at(&self) -> Option<Instant> {
        let waits = !self.sent.is_empty() || !self.lost.is_empty() || self.is_shut_out();
        let timeout = (self.round_trip.patience() + ACK_DELAY) * (1 << self.timeouts.min(10));
        waits.then(|| self.last_sent + timeout.min(PROBE_TIMEOUT_MAX))
    }

    /// Does what is due. True when a ping is wanted: there is nothing else to send that would bring an answer.
    pub fn tick(&mut self, now: Instant) -> (bool, Outcome) {
        let mut outcome = Outcome::default();
        if self.lost_at.is_some_and(|at| at <= now) {
            outcome.trial_lost = self.find_lost(now);
        }
        if self.probe_at().is_none_or(|at| at > now) {
            return (false, outcome);
        }
        self.timeouts += 1;
        self.last_sent = now;
        self.probe = true;
        if self.lost.is_empty()
            && let Some(sent) = self.sent.iter().find(|sent| !sent.acked && sent.length > 0)
        {
            self.lose(sent.stretch());
        }
        (self.lost.is_empty() && !self.has_new(), outcome)
    }
}

/// What a round trip takes, and what it takes at worst.
#[derive(Debug)]
struct RoundTrip {
    smooth: Option<Duration>,
    /// The longest of this span and of the one before.
    longest: (Duration, Duration),
    span_began: Instant,
}

impl RoundTrip {
    fn new(now: Instant) -> Self {
        Self { smooth: None, longest: (Duration::ZERO, Duration::ZERO), span_began: now }
    }

    fn note(&mut self, sample: Duration, now: Instant) {
        self.smooth = Some(self.smooth.map_or(sample, |smooth| (smooth * 7 + sample) / 8));
        self.note_longest(sample, now);
    }

    fn note_longest(&mut self, sample: Duration, now: Instant) {
        if now.duration_since(self.span_began) > (8 * self.smooth()).max(Duration::from_millis(100)) {
            self.longest = (Duration::ZERO, self.longest.0);
            self.span_began = now;
        }
        self.longest.0 = self.longest.0.max(sample);
    }

    fn smooth(&self) -> Duration {
        self.smooth.unwrap_or(INITIAL_ROUND_TRIP)
    }

    /// How long to wait for a datagram after which others have come.
    fn patience(&self) -> Duration {
        let longest = self.longest.0.max(self.longest.1).max(self.smooth());
        longest * 9 / 8 + Duration::from_millis(1)
    }
}
