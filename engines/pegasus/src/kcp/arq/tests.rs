use super::*;
use proptest::prelude::*;

const WRAPPING: usize = 33;

/// A wire in virtual time between two ends, with its own dice.
struct Wire {
    now: Instant,
    start: Instant,
    dice: u64,
    loss: f64,
    double: f64,
    delay: Duration,
    jitter: Duration,
    /// The part that is not delayed at all, and whether jitter leaves the others in their order.
    reorder: f64,
    ordered: bool,
    latest: [Instant; 2],
    /// Bytes per second, and how many may wait.
    rate: Option<(f64, usize)>,
    busy_until: [Instant; 2],
    flying: Vec<(Instant, usize, u64, Vec<u8>)>,
    /// By end.
    sent: [u64; 2],
    ends: [Arq; 2],
}

impl Wire {
    fn new(seed: u64, loss: f64, delay_ms: u64, jitter_ms: u64) -> Self {
        let now = Instant::now();
        Self {
            now,
            start: now,
            dice: seed | 1,
            loss,
            double: 0.0,
            delay: Duration::from_millis(delay_ms),
            jitter: Duration::from_millis(jitter_ms),
            reorder: 0.0,
            ordered: false,
            latest: [now, now],
            rate: None,
            busy_until: [now, now],
            flying: Vec::new(),
            sent: [0; 2],
            ends: [Arq::new(WRAPPING, now), Arq::new(WRAPPING, now)],
        }
    }

    fn roll(&mut self) -> f64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) as f64 / (1u64 << 53) as f64
    }

    fn put(&mut self, from: usize, number: u64, bytes: &[u8]) {
        self.sent[from] += 1;
        let mut at = self.now;
        if let Some((rate, most)) = self.rate {
            let begin = self.busy_until[from].max(at);
            if (begin - at).as_secs_f64() * rate > most as f64 {
                return;
            }
            at = begin + Duration::from_secs_f64((bytes.len() + WRAPPING) as f64 / rate);
            self.busy_until[from] = at;
        }
        if self.roll() < self.loss {
            return;
        }
        let copies = if self.roll() < self.double { 2 } else { 1 };
        for _ in 0..copies {
            let mut due = at;
            if self.reorder == 0.0 || self.roll() >= self.reorder {
                due += self.delay + self.jitter.mul_f64(self.roll());
                if self.ordered {
                    due = due.max(self.latest[from]);
                    self.latest[from] = due;
                }
            }
            self.flying.push((due, 1 - from, number, bytes.to_vec()));
        }
    }

    /// Everything that can happen now, then the clock goes on to the next thing.
    fn step(&mut self) -> Result<(), Silent> {
        self.arrive();
        self.depart()
    }

    fn arrive(&mut self) {
        self.flying.sort_by_key(|(at, ..)| *at);
        while self.flying.first().is_some_and(|(at, ..)| *at <= self.now) {
            let (_, to, number, bytes) = self.flying.remove(0);
            self.ends[to].hear(number, &bytes, self.now).unwrap();
        }
    }

    fn depart(&mut self) -> Result<(), Silent> {
        let mut due = self.flying.first().map(|(at, ..)| *at);
        for end in 0..2 {
            self.ends[end].tick(self.now)?;
            let mut buffer = [0; DATAGRAM_BYTES_MAX];
            while let Some((number, length)) = self.ends[end].next(&mut buffer, self.now) {
                assert!(length + WRAPPING <= DATAGRAM_BYTES_MAX);
                self.put(end, number, &buffer[..length]);
            }
            let deadline = self.ends[end].deadline(self.now);
            due = Some(due.map_or(deadline, |due| due.min(deadline)));
        }
        let next = self.flying.iter().map(|(at, ..)| *at).chain(due).min().unwrap();
        self.now = next.max(self.now + Duration::from_micros(10));
        Ok(())
    }

    /// Sends `total` bytes from the first end to the second and checks each; how long it took.
    fn carry(&mut self, total: usize) -> Duration {
        let stream: Vec<u8> = (0..total).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let (mut written, mut read) = (0, 0);
        let mut buffer = vec![0; 50_000];
        while read < total {
            self.arrive();
            written += self.ends[0].write(&stream[written..]);
            while let length @ 1.. = self.ends[1].read(&mut buffer, self.now) {
                assert!(buffer[..length] == stream[read..read + length], "bent before byte {}", read + length);
                read += length;
            }
            self.depart().unwrap();
            assert!(self.now - self.start < Duration::from_secs(600), "stuck at {read} of {total}");
        }
        self.now - self.start
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_byte_arrives_once_and_in_order(
        seed: u64, loss in 0.0..0.4f64, double in 0.0..0.3f64, delay_ms in 0u64..80, jitter_ms in 0u64..40, total in 1usize..200_000,
    ) {
        let mut wire = Wire::new(seed, loss, delay_ms, jitter_ms);
        wire.double = double;
        wire.carry(total);
    }

    #[test]
    fn what_a_hostile_member_says_is_refused_or_harmless(words in proptest::collection::vec((any::<u64>(), proptest::collection::vec(any::<u8>(), 0..300)), 1..60)) {
        let now = Instant::now();
        let mut end = Arq::new(WRAPPING, now);
        end.write(&[7; 100_000]);
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        for (number, mut bytes) in words {
            if let Some(first) = bytes.first_mut() {
                *first &= 31;
            }
            let _ = end.hear(number >> (number % 64), &bytes, now);
            let _ = end.tick(now);
            while end.next(&mut buffer, now).is_some() {}
            end.read(&mut [0; 1000], now);
        }
    }
}

/// Found by the property above.
#[test]
fn a_wire_that_loses_two_in_five_lets_everything_through() {
    Wire::new(7852641330711156636, 0.38028742334830296, 20, 23).carry(88_035);
}

fn mbps(bytes: usize, time: Duration) -> f64 {
    (bytes * 8) as f64 / time.as_secs_f64() / 1e6
}

#[test]
fn a_bad_wire_does_not_make_it_slow() {
    // 1 % loss, 8 ms and up to 14 ms more: a loss-based TCP makes some 20 Mbit/s of this.
    let mut wire = Wire::new(7, 0.01, 4, 14);
    let rate = mbps(40_000_000, wire.carry(40_000_000));
    let sent_again = wire.sent[0] as f64 * 1380.0 / 40e6;
    eprintln!("{rate:.0} Mbit/s, {sent_again:.2} datagrams for each that was needed");
    assert!(rate > 100.0, "{rate} Mbit/s");
}

#[test]
fn a_narrow_wire_is_filled_and_its_queue_stays_short() {
    for (loss, least) in [(0.0, 0.85), (0.02, 0.8)] {
        let mut wire = Wire::new(9, loss, 20, 0);
        wire.rate = Some((20e6 / 8.0, 1 << 20));
        let rate = mbps(20_000_000, wire.carry(20_000_000));
        let lost = 1.0 - 20e6 / (wire.sent[0] as f64 * 1380.0);
        let trip = wire.ends[0].sender.round_trip();
        eprintln!("{rate:.1} of 20 Mbit/s, {lost:.3} sent in vain, {trip:?}");
        assert!(rate > 20.0 * least, "{rate} Mbit/s");
        assert!(trip < Duration::from_millis(140), "{trip:?} of 40 ms");
    }
}

#[test]
fn jitter_in_a_queue_and_some_that_overtake_do_not_make_it_slow() {
    for ordered in [true, false] {
        let mut wire = Wire::new(7, 0.01, 0, 11);
        (wire.reorder, wire.ordered) = (0.025, ordered);
        let rate = mbps(40_000_000, wire.carry(40_000_000));
        let sent_again = wire.sent[0] as f64 * 1380.0 / 40e6;
        eprintln!("ordered {ordered}: {rate:.0} Mbit/s, {sent_again:.2} datagrams for each that was needed");
        assert!(rate > 100.0, "{rate} Mbit/s");
        assert!(sent_again < 1.2, "{sent_again}");
    }
}

#[test]
fn a_shallow_queue_is_not_flooded() {
    let mut wire = Wire::new(9, 0.0, 20, 0);
    wire.rate = Some((20e6 / 8.0, 30_000));
    let rate = mbps(20_000_000, wire.carry(20_000_000));
    let vain = wire.sent[0] as f64 * 1380.0 / 20e6;
    eprintln!("{rate:.1} of 20 Mbit/s, {vain:.2} datagrams for each that was needed");
    assert!(rate > 10.0 && vain < 1.35, "{rate} Mbit/s, {vain}");
}

#[test]
fn without_congestion_control_a_shallow_queue_is_flooded_and_the_stream_still_comes_whole() {
    let mut wire = Wire::new(9, 0.0, 20, 0);
    wire.rate = Some((20e6 / 8.0, 30_000));
    wire.ends[0].set_congestion_control(false);
    wire.carry(600_000);
    let vain = wire.sent[0] as f64 * 1380.0 / 600e3;
    assert!(vain > 2.0, "{vain} datagrams for each that was needed: it makes room");
    // From one moment to the next, in the middle of a conversation.
    wire.ends[0].set_congestion_control(true);
    let before = wire.sent[0];
    let (mut written, mut read, mut buffer) = (0, 0, vec![0; 50_000]);
    while read < 3_000_000 {
        wire.arrive();
        written += wire.ends[0].write(&vec![1; 3_000_000 - written]);
        while let length @ 1.. = wire.ends[1].read(&mut buffer, wire.now) {
            read += length;
        }
        wire.depart().unwrap();
    }
    let vain = (wire.sent[0] - before) as f64 * 1380.0 / 3e6;
    assert!(vain < 1.5, "{vain} datagrams for each that was needed");
}

#[test]
fn a_reader_that_stops_stops_the_sender_and_finds_everything_when_it_comes_back() {
    let mut wire = Wire::new(3, 0.01, 5, 2);
    let stream = vec![5; 3_000_000];
    let mut written = 0;
    for _ in 0..3000 {
        written += wire.ends[0].write(&stream[written..]);
        wire.step().unwrap();
    }
    let held = written;
    assert!(held < 2 << 20, "{held} bytes for a reader that does not read");
    let mut read = 0;
    let mut buffer = vec![0; 50_000];
    while read < stream.len() {
        read += wire.ends[1].read(&mut buffer, wire.now);
        written += wire.ends[0].write(&stream[written..]);
        wire.step().unwrap();
    }
    assert_eq!(read, stream.len());
}

#[test]
fn silence_is_noticed_by_both_ends_with_and_without_something_to_say() {
    // One way cut: the end that hears gives up when the other one, which does not, has fallen silent.
    assert!(2 * KCP_SILENCE_MAX + KCP_PING_EVERY < Duration::from_secs(15));
    for speaks in [true, false] {
        let mut wire = Wire::new(3, 0.0, 5, 0);
        wire.carry(1000);
        wire.loss = 1.1;
        if speaks {
            wire.ends[0].write(b"anybody there?");
        }
        let gone = wire.now;
        while wire.step().is_ok() {}
        let took = wire.now - gone;
        assert!(took < KCP_SILENCE_MAX + KCP_PING_EVERY, "{took:?}");
    }
}

#[test]
fn an_idle_conversation_lives_on_a_few_words() {
    let mut wire = Wire::new(3, 0.0, 5, 0);
    wire.carry(1000);
    let (sent, start) = (wire.sent[0], wire.now);
    while wire.now - start < Duration::from_secs(60) {
        wire.step().unwrap();
    }
    assert!(wire.sent[0] - sent < 70, "{} datagrams in a minute", wire.sent[0] - sent);
}

#[test]
fn a_wire_that_takes_long_datagrams_gets_them_and_one_that_does_not_gets_short_ones() {
    let mut wire = Wire::new(3, 0.0, 5, 0);
    wire.carry(300_000);
    assert_eq!(wire.ends[0].size, DATAGRAM_BYTES_MAX);
}
