//! How much may be under way, and how fast it is sent: a model of the path in the manner of BBR (Cardwell et al., ACM
//! Queue 2016), made for paths on which loss and jitter do not mean congestion.
//!
//! ```text
//! startup ─(the rate grows no more)→ drain ─(the queue is gone)→ cruise ⇄ probe (once in 10 s: what the path takes empty)
//! ```
//! Two figures are measured. The rate: the most that was delivered per time within the last rounds. The round trip: the
//! least *mean* of a round, not the least sample; where jitter is larger than the path is long the least sample is next to
//! nothing, and a window made of it starves. Loss only counts when it is far more than a bad wire has by itself.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::limits::{INITIAL_WINDOW_BYTES, LOSS_TOLERATED, WINDOW_BYTES_LEAST};

/// Doubles the rate each round (2 / ln 2).
const STARTUP_GAIN: f64 = 2.885;
/// What may be under way, in bandwidth × round trip: one on its way, one for what comes back late and in crowds.
const WINDOW_GAIN: f64 = 2.0;
/// One round asks for more, the next lets the queue go that this made, the others keep.
const CRUISE_GAINS: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
const RATE_ROUNDS: u64 = 10;
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBE_FOR: Duration = Duration::from_millis(150);
/// Timers and batches make shorter round trips than this look emptier than they are.
const ROUND_TRIP_MIN: Duration = Duration::from_millis(1);
/// Acknowledgements come in crowds as far apart as this.
const CROWD: Duration = Duration::from_millis(5);
const BACK_OFF: f64 = 0.7;
/// A mean of fewer round trips says little: one datagram that overtook the others would make the path look empty, the window
/// small, and the rate that is measured with that window smaller still.
const SAMPLES_LEAST: u32 = 32;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Startup,
    Drain,
    Cruise { step: usize, since: Instant },
    Probe { until: Instant },
}

/// The state of delivery when a datagram was sent: what its acknowledgement is measured against.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    app_limited: bool,
    /// Bytes under way with it, and lost in all before it.
    under_way: usize,
    lost: u64,
}

/// What one acknowledgement told.
#[derive(Debug, Default)]
pub struct Heard {
    newest: Option<(Stamp, Instant)>,
}

#[derive(Debug)]
pub struct Congestion {
    phase: Phase,
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// Samples are too small to lower anything until so much is delivered: there was not enough to send.
    app_limited_until: u64,
    round: u64,
    round_ends: u64,
    lost: u64,
    /// Something sent before this many bytes were delivered has been judged already.
    judged_until: u64,
    round_trips: (Duration, u32),
    /// By round, falling: the first is the most.
    rates: VecDeque<(u64, f64)>,
    /// The least mean, and since when.
    base: Option<(Duration, Instant)>,
    /// The rate that startup has to beat, and how many rounds it has not.
    full: (f64, u32),
    /// Found by loss far beyond what is tolerated.
    ceiling: Option<f64>,
}

impl Congestion {
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Startup,
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            app_limited_until: 0,
            round: 0,
            round_ends: 0,
            lost: 0,
            judged_until: 0,
            round_trips: (Duration::ZERO, 0),
            rates: VecDeque::new(),
            base: None,
            full: (0.0, 0),
            ceiling: None,
        }
    }

    /// Bytes that may be under way.
    pub fn window(&self) -> usize {
        let Some(product) = self.product() else { return INITIAL_WINDOW_BYTES };
        let crowd = self.rate_seen() * CROWD.as_secs_f64();
        let window = match self.phase {
            Phase::Probe { .. } => product / 2.0,
            Phase::Startup => STARTUP_GAIN * product + crowd,
            Phase::Drain | Phase::Cruise { .. } => WINDOW_GAIN * product + crowd,
        };
        let window = self.ceiling.map_or(window, |ceiling| window.min(ceiling)).max(WINDOW_BYTES_LEAST as f64);
        match self.phase {
            Phase::Startup => window.max(INITIAL_WINDOW_BYTES as f64) as usize,
            _ => window as usize,
        }
    }

    /// Bytes per second to send at; `round_trip` stands in while nothing is measured.
    pub fn rate(&self, round_trip: Duration) -> f64 {
        let rate = self.rate_seen();
        let gain = match self.phase {
            Phase::Startup => STARTUP_GAIN,
            Phase::Drain => 1.0 / STARTUP_GAIN,
            Phase::Cruise { step, .. } => CRUISE_GAINS[step],
            Phase::Probe { .. } => 1.0,
        };
        let initial = INITIAL_WINDOW_BYTES as f64 / round_trip.max(ROUND_TRIP_MIN).as_secs_f64();
        if rate == 0.0 || (self.phase == Phase::Startup && gain * rate < initial) { initial } else { gain * rate }
    }

    /// `under_way`: before this one.
    pub fn sent(&mut self, under_way: usize, now: Instant) -> Stamp {
        if under_way == 0 {
            (self.first_sent_at, self.delivered_at) = (now, now);
        }
        Stamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            app_limited: self.delivered < self.app_limited_until,
            under_way,
            lost: self.lost,
        }
    }

    /// There was room for more than there was to send.
    pub fn had_nothing_to_send(&mut self, under_way: usize) {
        self.app_limited_until = self.delivered + under_way as u64;
    }

    pub fn acked(&mut self, heard: &mut Heard, bytes: usize, stamp: Stamp, sent_at: Instant, now: Instant) {
        self.delivered += bytes as u64;
        self.round_trips.0 += now.duration_since(sent_at);
        self.round_trips.1 += 1;
        if heard.newest.is_none_or(|(newest, at)| (stamp.delivered, sent_at) >= (newest.delivered, at)) {
            heard.newest = Some((stamp, sent_at));
        }
    }

    /// Judged against what was under way with it: that much of a flight lost is a queue that runs over.
    pub fn lost(&mut self, bytes: usize, stamp: Stamp) {
        self.lost += bytes as u64;
        let with_it = self.lost.saturating_sub(stamp.lost) as usize;
        let flight = stamp.under_way + bytes;
        let is_bad = with_it as f64 > LOSS_TOLERATED * flight as f64 && with_it > WINDOW_BYTES_LEAST;
        if is_bad && stamp.delivered >= self.judged_until {
            self.judged_until = self.delivered;
            self.ceiling = Some((flight as f64 * BACK_OFF).max(WINDOW_BYTES_LEAST as f64));
            if self.phase == Phase::Startup {
                self.phase = Phase::Drain;
            }
        }
    }

    /// It came after all.
    pub fn was_not_lost(&mut self, bytes: usize) {
        self.lost = self.lost.saturating_sub(bytes as u64);
    }

    /// All that one acknowledgement says has been counted.
    pub fn conclude(&mut self, heard: &Heard, under_way: usize, now: Instant) {
        let Some((stamp, sent_at)) = heard.newest else { return };
        let interval = now.duration_since(stamp.delivered_at).max(sent_at.duration_since(stamp.first_sent_at));
        (self.delivered_at, self.first_sent_at) = (now, sent_at);
        if interval >= ROUND_TRIP_MIN / 4 {
            let rate = (self.delivered - stamp.delivered) as f64 / interval.as_secs_f64();
            if !stamp.app_limited || rate > self.rate_seen() {
                self.note_rate(rate);
            }
        }
        if stamp.delivered >= self.round_ends {
            self.end_round(stamp.app_limited, now);
        }
        self.step(under_way, now);
    }

    fn end_round(&mut self, app_limited: bool, now: Instant) {
        self.round += 1;
        self.round_ends = self.delivered;
        if self.round_trips.1 >= SAMPLES_LEAST {
            let (sum, count) = std::mem::take(&mut self.round_trips);
            let mean = sum / count;
            if self.base.is_none_or(|(base, _)| mean <= base) {
                self.base = Some((mean, now));
            }
        }
        if let Some(ceiling) = self.ceiling
            && !app_limited
        {
            // Beyond what the model wants a ceiling means nothing.
            let wanted = self.product().unwrap_or(0.0) * STARTUP_GAIN;
            self.ceiling = Some(ceiling * 1.1).filter(|ceiling| *ceiling < wanted);
        }
        if self.phase == Phase::Startup && !app_limited {
            let rate = self.rate_seen();
            if rate >= self.full.0 * 1.25 {
                self.full = (rate, 0);
            } else {
                self.full.1 += 1;
            }
            if self.full.1 >= 3 {
                self.phase = Phase::Drain;
            }
        }
    }

    /// Moves on to the next phase when its time has come.
    fn step(&mut self, under_way: usize, now: Instant) {
        let base = self.base.map_or(ROUND_TRIP_MIN, |(base, _)| base.max(ROUND_TRIP_MIN));
        let is_stale = self.base.is_some_and(|(_, at)| now.duration_since(at) > PROBE_EVERY);
        self.phase = match self.phase {
            Phase::Drain if under_way as f64 <= self.product().unwrap_or(0.0) => Phase::Cruise { step: 2, since: now },
            Phase::Cruise { .. } if is_stale => {
                // What the next rounds show is taken, be it more or less.
                self.round_trips = (Duration::ZERO, 0);
                self.round_ends = self.delivered + under_way as u64;
                self.base = Some((base, now));
                Phase::Probe { until: now + PROBE_FOR.max(2 * base) }
            }
            Phase::Cruise { step, since } if now.duration_since(since) > base => {
                Phase::Cruise { step: (step + 1) % CRUISE_GAINS.len(), since: now }
            }
            Phase::Probe { until } if now >= until => {
                let (sum, count) = std::mem::take(&mut self.round_trips);
                self.base = Some((if count >= SAMPLES_LEAST { sum / count } else { base }, now));
                Phase::Cruise { step: 2, since: now }
            }
            phase => phase,
        };
    }

    /// Bandwidth × round trip.
    fn product(&self) -> Option<f64> {
        let (base, _) = self.base?;
        let rate = self.rate_seen();
        (rate > 0.0).then(|| rate * base.max(ROUND_TRIP_MIN).as_secs_f64())
    }

    fn rate_seen(&self) -> f64 {
        self.rates.front().map_or(0.0, |(_, rate)| *rate)
    }

    fn note_rate(&mut self, rate: f64) {
        while self.rates.back().is_some_and(|(_, before)| *before <= rate) {
            self.rates.pop_back();
        }
        self.rates.push_back((self.round, rate));
        while self.rates.front().is_some_and(|(round, _)| round + RATE_ROUNDS < self.round) {
            self.rates.pop_front();
        }
    }
}
