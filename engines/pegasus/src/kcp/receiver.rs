//! The receiving half of a conversation: puts the stream together from what comes, in whatever order and however
//! often, and knows what to acknowledge. Holds at most its window.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::packet::{ACK_WORDS_MAX, Ack, Packet};
use crate::{
    frame::Malformed,
    limits::{ACK_DELAY, PIECE_BYTES, PIECES_MAX, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN},
};

#[derive(Debug)]
pub struct Receiver {
    /// What has come and was not read: disjoint, by offset.
    pieces: BTreeMap<u64, Vec<u8>>,
    /// Everything before this was read.
    read: u64,
    /// Everything before this has come.
    ready: u64,
    window: u64,
    /// The limit that the other side was told last.
    told: u64,
    /// Since when, and from where, reading is measured to size the window.
    measured: (Instant, u64),
    seen: Seen,
    /// Datagrams that want an acknowledgement and have none yet, and since when.
    unacknowledged: u32,
    since: Instant,
    at_once: bool,
    largest_at: Instant,
    /// The oldest number that the other side still asks about.
    floor: u64,
}

impl Receiver {
    pub fn new(now: Instant) -> Self {
        Self {
            pieces: BTreeMap::new(),
            read: 0,
            ready: 0,
            window: WINDOW_BYTES_MIN,
            told: WINDOW_BYTES_MIN,
            measured: (now, 0),
            seen: Seen::default(),
            unacknowledged: 0,
            since: now,
            at_once: false,
            largest_at: now,
            floor: 0,
        }
    }

    pub fn is_readable(&self) -> bool {
        self.ready > self.read
    }

    /// Takes the datagram `number`. Err: no honest peer sends this.
    pub fn hear(&mut self, number: u64, packet: &Packet, now: Instant) -> Result<(), Malformed> {
        if self.seen.has(number) {
            // Our acknowledgement may have been lost, or the datagram was doubled.
            self.at_once |= packet.wants_ack();
            return Ok(());
        }
        let in_order = number == self.seen.next();
        if let Some((offset, bytes)) = packet.data {
            if offset + bytes.len() as u64 > self.told {
                return Err(Malformed);
            }
            if self.pieces.len() >= PIECES_MAX && offset > self.ready {
                // Not kept, so not acknowledged either.
                return Ok(());
            }
            self.keep(offset, bytes);
        }
        if self.seen.note(number) {
            self.largest_at = now;
        }
        if packet.wants_ack() {
            self.floor = self.floor.max(number.saturating_sub(u64::from(packet.floor)));
            if self.unacknowledged == 0 {
                self.since = now;
            }
            self.unacknowledged += 1;
            self.at_once |= packet.ping || !in_order || self.unacknowledged >= 2;
        }
        Ok(())
    }

    /// Keeps those of the bytes that are new.
    fn keep(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let mut at = offset.max(self.ready);
        if let Some((&start, piece)) = self.pieces.range(..=at).next_back() {
            at = at.max(start + piece.len() as u64);
        }
        while at < end {
            let next = self.pieces.range(at..).next().map(|(&start, piece)| (start, start + piece.len() as u64));
            let gap_end = next.map_or(end, |(start, _)| start.min(end));
            self.append(at, &bytes[(at - offset) as usize..(gap_end - offset) as usize]);
            at = next.map_or(end, |(_, end)| end).max(gap_end);
        }
        while let Some((&start, piece)) = self.pieces.range(..=self.ready).next_back() {
            let piece_end = start + piece.len() as u64;
            if piece_end <= self.ready {
                break;
            }
            self.ready = piece_end;
        }
    }

    fn append(&mut self, at: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Some((&start, piece)) = self.pieces.range_mut(..at).next_back()
            && start + piece.len() as u64 == at
            && piece.len() + bytes.len() <= PIECE_BYTES
        {
            return piece.extend_from_slice(bytes);
        }
        self.pieces.insert(at, bytes.to_vec());
    }

    /// Bytes taken; the window follows the reader's pace, `rtt` being what a round trip takes.
    pub fn read(&mut self, into: &mut [u8], rtt: Duration, now: Instant) -> usize {
        let mut length = 0;
        while length < into.len()
            && let Some(mut entry) = self.pieces.first_entry()
        {
            let Some(skip) = self.read.checked_sub(*entry.key()) else { break };
            let piece = &entry.get_mut()[skip as usize..];
            let taken = piece.len().min(into.len() - length);
            into[length..length + taken].copy_from_slice(&piece[..taken]);
            if taken == piece.len() {
                entry.remove();
            }
            length += taken;
            self.read += taken as u64;
        }
        let (since, from) = self.measured;
        if self.read - from > self.window / 2 {
            // Half a window within a few round trips: the window is what holds the sender back.
            if now.duration_since(since) < 4 * rtt {
                self.window = (self.window * 2).min(WINDOW_BYTES_MAX);
            }
            self.measured = (now, self.read);
        }
        length
    }

    /// The limit to tell with the next datagram.
    pub fn tell_limit(&mut self) -> u64 {
        self.told = self.told.max(self.read + self.window);
        self.told
    }

    /// The other side should hear of more room although there is nothing else to say.
    pub fn has_more_room(&self) -> bool {
        self.read + self.window >= self.told + self.window / 4
    }

    /// When an acknowledgement is due.
    pub fn ack_at(&self) -> Option<Instant> {
        if self.at_once {
            Some(self.since)
        } else if self.unacknowledged > 0 {
            Some(self.since + ACK_DELAY)
        } else {
            None
        }
    }

    /// Something is to be acknowledged, be it due or not.
    pub fn wants_to_ack(&self) -> bool {
        self.unacknowledged > 0 || self.at_once
    }

    /// Words of the next acknowledgement.
    pub fn ack_words(&self) -> usize {
        let largest = self.seen.largest.unwrap_or(0);
        let span = largest - self.floor.min(largest) + 1;
        (span.div_ceil(64) as usize).clamp(1, ACK_WORDS_MAX)
    }

    /// The acknowledgement of everything so far.
    pub fn ack(&mut self, now: Instant) -> Option<Ack> {
        let largest = self.seen.largest?;
        self.unacknowledged = 0;
        self.at_once = false;
        let count = self.ack_words();
        let delay_us = now.duration_since(self.largest_at).as_micros().min(u128::from(u32::MAX)) as u32;
        Some(Ack { largest, delay_us, words: self.seen.words, count })
    }
}

/// The numbers that have come, as far back as an acknowledgement reaches.
#[derive(Debug)]
struct Seen {
    largest: Option<u64>,
    /// Bit i of word w: `largest − 64 w − i`.
    words: [u64; ACK_WORDS_MAX],
}

impl Default for Seen {
    fn default() -> Self {
        Self { largest: None, words: [0; ACK_WORDS_MAX] }
    }
}

impl Seen {
    fn next(&self) -> u64 {
        self.largest.map_or(0, |largest| largest + 1)
    }

    /// Numbers too old to remember count as seen.
    fn has(&self, number: u64) -> bool {
        let Some(largest) = self.largest else { return false };
        let Some(back) = largest.checked_sub(number) else { return false };
        self.words.get((back / 64) as usize).is_none_or(|word| word >> (back % 64) & 1 == 1)
    }

    /// True when it is the largest.
    fn note(&mut self, number: u64) -> bool {
        let ahead = match self.largest {
            None => u64::MAX,
            Some(largest) if number > largest => number - largest,
            Some(largest) => {
                let back = largest - number;
                if let Some(word) = self.words.get_mut((back / 64) as usize) {
                    *word |= 1 << (back % 64);
                }
                return false;
            }
        };
        self.shift(ahead);
        self.words[0] |= 1;
        self.largest = Some(number);
        true
    }

    fn shift(&mut self, by: u64) {
        let (words, bits) = ((by / 64).min(ACK_WORDS_MAX as u64) as usize, by % 64);
        for at in (0..ACK_WORDS_MAX).rev() {
            let from = |back: usize| at.checked_sub(words + back).map_or(0, |from| self.words[from]);
            let (high, low) = (from(0), from(1));
            self.words[at] = if bits == 0 { high } else { high << bits | low >> (64 - bits) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn data(offset: u64, bytes: &[u8]) -> Packet<'_> {
        Packet { data: Some((offset, bytes)), ..Packet::default() }
    }

    proptest! {
        #[test]
        fn the_stream_is_whole_whatever_the_cuts_the_order_and_the_copies(
            cuts in proptest::collection::vec((0usize..3000, 1usize..700), 1..80), rooms in proptest::collection::vec(1usize..900, 1..10),
        ) {
            let stream: Vec<u8> = (0..4000u32).map(|at| (at * 7 + at / 256) as u8).collect();
            let now = Instant::now();
            let (mut receiver, mut number, mut got) = (Receiver::new(now), 0, Vec::new());
            let tail = (0..40).rev().map(|piece| (piece * 100, 100));
            for ((start, length), room) in cuts.into_iter().chain(tail).zip(rooms.into_iter().cycle()) {
                receiver.hear(number, &data(start as u64, &stream[start..start + length]), now).unwrap();
                number += 1;
                let mut buffer = vec![0; room];
                let length = receiver.read(&mut buffer, Duration::from_millis(1), now);
                got.extend_from_slice(&buffer[..length]);
            }
            let mut rest = vec![0; 5000];
            let length = receiver.read(&mut rest, Duration::from_millis(1), now);
            got.extend_from_slice(&rest[..length]);
            prop_assert!(got == stream, "{} of {} bytes", got.len(), stream.len());
            prop_assert!(receiver.pieces.is_empty());
        }

        #[test]
        fn it_remembers_exactly_what_came(numbers in proptest::collection::vec(0u64..3000, 1..200)) {
            let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
            for number in numbers {
                let largest = model.last().copied();
                let known = model.contains(&number) || largest.is_some_and(|largest| number + (ACK_WORDS_MAX * 64) as u64 <= largest);
                prop_assert_eq!(seen.has(number), known);
                prop_assert_eq!(seen.note(number), largest.is_none_or(|largest| number > largest));
                model.insert(number);
            }
        }
    }

    #[test]
    fn more_than_was_offered_is_not_taken() {
        let now = Instant::now();
        let mut receiver = Receiver::new(now);
        let bytes = [0; 10];
        assert!(receiver.hear(0, &data(WINDOW_BYTES_MIN - 10, &bytes), now).is_ok());
        assert_eq!(receiver.hear(1, &data(WINDOW_BYTES_MIN - 9, &bytes), now), Err(Malformed));
    }

    #[test]
    fn crumbs_with_gaps_cost_a_bounded_number_of_pieces() {
        let now = Instant::now();
        let mut receiver = Receiver::new(now);
        for number in 0..WINDOW_BYTES_MIN / 2 {
            receiver.hear(number, &data(number * 2 + 1, &[1]), now).unwrap();
        }
        assert_eq!(receiver.pieces.len(), PIECES_MAX);
    }

    #[test]
    fn the_window_follows_a_fast_reader_and_not_a_slow_one() {
        let start = Instant::now();
        let rtt = Duration::from_millis(10);
        for (pause, grows) in [(rtt, true), (50 * rtt, false)] {
            let (mut receiver, mut now, mut at) = (Receiver::new(start), start, 0);
            let mut buffer = vec![0; 1 << 20];
            for number in 0..4000 {
                receiver.hear(number, &data(at, &[0; 1000]), now).unwrap();
                at += 1000;
                if at.is_multiple_of(100_000) {
                    now += pause;
                    receiver.read(&mut buffer, rtt, now);
                    receiver.tell_limit();
                }
            }
            assert_eq!(receiver.window > WINDOW_BYTES_MIN, grows, "{} bytes", receiver.window);
        }
    }
}
