//! One direction of the wire: decides what happens to a frame, and keeps those that are on their way. Pure: the time and
//! the frames come in, what is due goes out.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use crate::{conditions::Conditions, dice::Dice};

/// Frames on their way. 1 Gbit/s of full frames for 390 ms.
pub const FRAMES_MAX: usize = 32_768;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Lost,
    /// The queue of a slow wire, or this program's, is full.
    Overflowed,
    /// At this moment; `true`: ahead of its turn.
    Arrives(Instant, bool),
}

pub struct Way {
    pub conditions: Conditions,
    dice: Dice,
    /// By when they are due, then by when they came.
    flying: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    count: u64,
    /// When the slow wire has room for the next frame.
    busy_until: Option<Instant>,
    latest: Option<Instant>,
    /// Buffers of frames that have arrived, to be used again.
    spare: Vec<Vec<u8>>,
}

impl Way {
    pub fn new(seed: u64) -> Self {
        Self {
            conditions: Conditions::default(),
            dice: Dice::new(seed),
            flying: BinaryHeap::new(),
            count: 0,
            busy_until: None,
            latest: None,
            spare: Vec::new(),
        }
    }

    /// What happens to a frame of `length` bytes that comes now. Each takes the same number of throws, so conditions that
    /// change do not change what the dice say later.
    pub fn decide(&mut self, length: usize, now: Instant) -> Fate {
        let [loss, reorder, late] = [(); 3].map(|()| self.dice.roll());
        let conditions = self.conditions;
        if loss < conditions.loss {
            return Fate::Lost;
        }
        let mut at = now;
        if conditions.rate_mbps > 0.0 {
            let begins = self.busy_until.map_or(now, |until| until.max(now));
            if begins - now > milliseconds(conditions.queue_ms) {
                return Fate::Overflowed;
            }
            at = begins + Duration::from_secs_f64(length as f64 * 8.0 / (conditions.rate_mbps * 1e6));
            self.busy_until = Some(at);
        }
        if self.flying.len() >= FRAMES_MAX {
            return Fate::Overflowed;
        }
        let overtakes = reorder < conditions.reorder;
        if !overtakes {
            at += milliseconds(conditions.delay_ms + conditions.jitter_ms * (2.0 * late - 1.0));
            if conditions.ordered {
                at = self.latest.map_or(at, |latest| latest.max(at));
                self.latest = Some(at);
            }
        }
        Fate::Arrives(at, overtakes)
    }

    /// Nothing is on its way: a frame that is due now may be handed on without being kept.
    pub fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    pub fn keep(&mut self, at: Instant, frame: &[u8]) {
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.clear();
        kept.extend_from_slice(frame);
        self.flying.push(Reverse((at, self.count, kept)));
        self.count += 1;
    }

    pub fn next_at(&self) -> Option<Instant> {
        self.flying.peek().map(|Reverse((at, ..))| *at)
    }

    /// Hands out every frame that is due at `now`, in turn.
    pub fn arrive(&mut self, now: Instant, mut take: impl FnMut(&[u8])) {
        while self.next_at().is_some_and(|at| at <= now)
            && let Some(Reverse((_, _, frame))) = self.flying.pop()
        {
            take(&frame);
            self.spare.push(frame);
        }
    }
}

/// Less than nothing is nothing.
fn milliseconds(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn way(seed: u64, conditions: Conditions) -> Way {
        Way { conditions, ..Way::new(seed) }
    }

    /// Sends `count` frames, one a millisecond, and says which arrive in which order, and how late each.
    fn arrivals(way: &mut Way, count: u32) -> Vec<(u32, Duration)> {
        let start = Instant::now();
        let mut lateness = Vec::new();
        let mut order = Vec::new();
        for n in 0..=count {
            // The last time is long after everything.
            let now = start + Duration::from_millis(if n < count { n.into() } else { u64::MAX >> 20 });
            way.arrive(now, |frame| order.push(u32::from_be_bytes(frame.try_into().unwrap())));
            let fate = if n < count { way.decide(1500, now) } else { Fate::Lost };
            lateness.push(if let Fate::Arrives(at, _) = fate { at - now } else { Duration::ZERO });
            if let Fate::Arrives(at, _) = fate {
                way.keep(at, &n.to_be_bytes());
            }
        }
        order.into_iter().map(|n| (n, lateness[n as usize])).collect()
    }

    #[test]
    fn it_loses_and_overtakes_as_often_as_it_is_told_to() {
        let conditions = Conditions { loss: 0.01, reorder: 0.025, delay_ms: 20.0, ..Conditions::default() };
        let mut way = way(7, conditions);
        let count = 200_000;
        let order = arrivals(&mut way, count);
        // Five standard deviations.
        let within = |seen: f64, part: f64, of: f64| (seen - part * of).abs() < 5.0 * (of * part * (1.0 - part)).sqrt();
        let lost = f64::from(count) - order.len() as f64;
        assert!(within(lost, 0.01, f64::from(count)), "{lost} of {count} lost");
        let early = order.iter().filter(|(_, late)| late.is_zero()).count() as f64;
        assert!(within(early, 0.025, order.len() as f64), "{early} of {} overtook", order.len());
        assert!(order.iter().all(|(_, late)| late.is_zero() || *late == Duration::from_millis(20)));
        let overtaken = order.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
        assert!(overtaken > 0);
    }

    #[test]
    fn jitter_spreads_evenly_around_the_delay() {
        let mut way = way(3, Conditions { delay_ms: 10.0, jitter_ms: 6.0, ..Conditions::default() });
        let late: Vec<f64> = arrivals(&mut way, 50_000).iter().map(|(_, late)| late.as_secs_f64() * 1000.0).collect();
        let mean = late.iter().sum::<f64>() / late.len() as f64;
        let (least, most) = late.iter().fold((f64::MAX, 0.0f64), |(low, high), &ms| (low.min(ms), high.max(ms)));
        assert!((mean - 10.0).abs() < 0.1, "{mean} ms");
        assert!((4.0..4.1).contains(&least) && (15.9..=16.0).contains(&most), "{least} to {most} ms");
    }

    #[test]
    fn a_slow_wire_takes_what_it_takes_and_its_queue_ends() {
        let mut way = way(3, Conditions { rate_mbps: 12.0, queue_ms: 50.0, ..Conditions::default() });
        // 1,500 bytes at 12 Mbit/s are a millisecond each; all come at once.
        let now = Instant::now();
        let fates: Vec<Fate> = (0..100).map(|_| way.decide(1500, now)).collect();
        let came = fates.iter().filter(|fate| matches!(fate, Fate::Arrives(..))).count();
        assert_eq!(came, 51);
        assert_eq!(fates[50], Fate::Arrives(now + Duration::from_millis(51), false));
        assert_eq!(fates[99], Fate::Overflowed);
    }

    #[test]
    fn more_than_it_can_keep_is_lost_and_counted() {
        let mut way = way(3, Conditions { delay_ms: 1000.0, ..Conditions::default() });
        let now = Instant::now();
        for _ in 0..FRAMES_MAX {
            let Fate::Arrives(at, _) = way.decide(60, now) else { panic!("kept") };
            way.keep(at, &[0; 60]);
        }
        assert_eq!(way.decide(60, now), Fate::Overflowed);
    }

    proptest! {
        #[test]
        fn the_seed_decides(seed: u64, loss in 0.0..1.0f64, reorder in 0.0..1.0f64, delay_ms in 0.0..50.0f64, jitter_ms in 0.0..50.0f64) {
            let conditions = Conditions { loss, reorder, delay_ms, jitter_ms, ..Conditions::default() };
            prop_assert_eq!(arrivals(&mut way(seed, conditions), 300), arrivals(&mut way(seed, conditions), 300));
        }

        #[test]
        fn an_ordered_wire_keeps_the_order_whatever_the_jitter(seed: u64, delay_ms in 0.0..50.0f64, jitter_ms in 0.0..50.0f64) {
            let mut way = way(seed, Conditions { delay_ms, jitter_ms, ordered: true, ..Conditions::default() });
            let order: Vec<u32> = arrivals(&mut way, 300).into_iter().map(|(n, _)| n).collect();
            prop_assert_eq!(order, (0..300).collect::<Vec<_>>());
        }
    }
}
