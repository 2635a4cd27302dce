//! Bandwidth per service and direction: a token bucket that gates *reads*, and deficit round robin between the flows
//! that wait for it. What is not read fills the sender's window, so nothing piles up here.
//!
//! Each worker has its own share of the rate, by how many of the waiting flows are its own; so all flows of a service
//! get the same wherever the kernel has put them. The same goes for the flows that an engine before or after this one
//! still has: both tell each other now and then how many of theirs wait, see `succession`.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{service::Service, succession::Neighbour};

/// What a flow may read when it is its turn: as much as the service may in this time, within these bytes. Slow services
/// go round often enough that a new flow has its share at once; fast ones are not eaten up by turns.
const QUANTUM: Duration = Duration::from_millis(1);
const QUANTUM_BYTES_MIN: usize = 2 << 10;
const QUANTUM_BYTES_MAX: usize = 64 << 10;
/// Tokens kept for a late worker: this much time, and at least two quanta.
const BURST: Duration = Duration::from_millis(20);

/// The limit of a service's direction, shared by all workers. Rate 0 is no limit.
#[derive(Debug, Default)]
pub struct Bucket {
    bytes_per_second: AtomicU64,
    waiting: AtomicUsize,
    /// The most that waited since it was last told to each neighbour, and what each neighbour said of itself.
    peaks: [AtomicUsize; 2],
    elsewhere: [AtomicUsize; 2],
}

impl Bucket {
    /// Rounded up: what is less than a byte per second is still a limit.
    pub fn set_mbps(&self, mbps: f64) {
        self.bytes_per_second.store((mbps.max(0.0) * 125_000.0).ceil() as u64, Relaxed);
    }

    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second.load(Relaxed)
    }

    pub fn is_limited(&self) -> bool {
        self.bytes_per_second() > 0
    }

    /// What to tell this neighbour: how many wait here, and at the other neighbour behind. The most since it was told last: a
    /// flow that is being served waits for its next turn a moment later.
    pub fn waiting_but_at(&self, neighbour: Neighbour) -> usize {
        let now = self.waiting.load(Relaxed);
        let peak = self.peaks[neighbour as usize].swap(now, Relaxed);
        peak.max(now) + self.elsewhere[neighbour.other() as usize].load(Relaxed)
    }

    pub fn set_waiting_at(&self, neighbour: Neighbour, flows: usize) {
        self.elsewhere[neighbour as usize].store(flows, Relaxed);
    }

    fn note_waiting(&self) {
        let now = self.waiting.fetch_add(1, Relaxed) + 1;
        for peak in &self.peaks {
            peak.fetch_max(now, Relaxed);
        }
    }

    /// Flows that wait anywhere.
    fn everybody(&self) -> usize {
        self.waiting.load(Relaxed) + self.elsewhere.iter().map(|flows| flows.load(Relaxed)).sum::<usize>()
    }

    fn quantum(&self) -> usize {
        let bytes = self.bytes_per_second.load(Relaxed) as f64 * QUANTUM.as_secs_f64();
        (bytes as usize).clamp(QUANTUM_BYTES_MIN, QUANTUM_BYTES_MAX)
    }
}

/// One service's flows that wait on one worker.
#[derive(Debug)]
pub struct Throttle<K> {
    service: Arc<Service>,
    queue: VecDeque<K>,
    /// Granted and not yet [`Throttle::served`]: most go back into the line, so they still count.
    in_service: usize,
    tokens: f64,
    filled: Instant,
}

impl<K> Throttle<K> {
    pub fn new(service: Arc<Service>, now: Instant) -> Self {
        Self { service, queue: VecDeque::new(), in_service: 0, tokens: 0.0, filled: now }
    }

    pub fn is_of(&self, service: &Arc<Service>) -> bool {
        Arc::ptr_eq(&self.service, service)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A flow that wants to read goes to the end of the line.
    pub fn wait(&mut self, flow: K, now: Instant) {
        // Tokens up to now belong to those who waited until now.
        self.fill(now);
        self.service.bucket.note_waiting();
        self.queue.push_back(flow);
    }

    /// The next flow whose turn it is, and how many bytes it may read. Then give back what it did not read with
    /// [`Throttle::refund`], let it wait again if it wants more, and call [`Throttle::served`].
    pub fn grant(&mut self, now: Instant) -> Option<(K, usize)> {
        self.fill(now);
        let (limited, quantum) = (self.service.bucket.is_limited(), self.service.bucket.quantum());
        if limited && self.tokens < quantum as f64 {
            return None;
        }
        let flow = self.queue.pop_front()?;
        self.in_service += 1;
        if limited {
            self.tokens -= quantum as f64;
        }
        Some((flow, quantum))
    }

    pub fn served(&mut self) {
        self.in_service -= 1;
        self.service.bucket.waiting.fetch_sub(1, Relaxed);
    }

    pub fn refund(&mut self, bytes: usize) {
        self.tokens += bytes as f64;
    }

    /// How long until the next grant; None when nobody waits.
    pub fn wait_time(&self) -> Option<Duration> {
        if self.queue.is_empty() {
            return None;
        }
        let missing = (self.service.bucket.quantum() as f64 - self.tokens).max(0.0);
        Some(Duration::from_secs_f64((missing / self.rate().max(1.0)).min(1.0)))
    }

    fn fill(&mut self, now: Instant) {
        let rate = self.rate();
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        let most = (rate * BURST.as_secs_f64()).max(2.0 * self.service.bucket.quantum() as f64);
        self.tokens = (self.tokens + elapsed * rate).min(most);
    }

    /// This worker's share of the service's rate, bytes per second. Nobody waiting: the whole of it.
    fn rate(&self) -> f64 {
        let whole = self.service.bucket.bytes_per_second.load(Relaxed) as f64;
        let (mine, all) = (self.queue.len() + self.in_service, self.service.bucket.everybody());
        if mine == 0 { whole } else { whole * mine as f64 / all.max(mine) as f64 }
    }
}

impl<K> Drop for Throttle<K> {
    fn drop(&mut self) {
        self.service.bucket.waiting.fetch_sub(self.queue.len() + self.in_service, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Side;

    fn service(mbps: f64) -> Arc<Service> {
        let service = Service::new("limited".into(), Side::Source);
        service.bucket.set_mbps(mbps);
        Arc::new(service)
    }

    /// Bytes per flow after `seconds` in which every flow always wants more.
    fn run(throttles: &mut [(Throttle<usize>, Vec<usize>)], seconds: f64) -> Vec<usize> {
        let start = Instant::now();
        let mut got = vec![0; throttles.iter().map(|(_, flows)| flows.len()).sum()];
        for (throttle, flows) in throttles.iter_mut() {
            flows.iter().for_each(|&flow| throttle.wait(flow, start));
        }
        for step in 0..(seconds * 10_000.0) as u32 {
            let now = start + Duration::from_micros(100) * step;
            for (throttle, _) in throttles.iter_mut() {
                while let Some((flow, bytes)) = throttle.grant(now) {
                    got[flow] += bytes;
                    throttle.wait(flow, now);
                    throttle.served();
                }
            }
        }
        got
    }

    #[test]
    fn a_limit_below_a_byte_per_second_is_a_limit_and_0_is_none() {
        let bucket = Bucket::default();
        bucket.set_mbps(1e-9);
        assert!(bucket.is_limited());
        bucket.set_mbps(0.0);
        assert!(!bucket.is_limited());
    }

    #[test]
    fn the_rate_is_kept_and_shared_evenly_on_one_worker_and_on_two() {
        let service = service(100.0);
        let now = Instant::now();
        let alone = run(&mut [(Throttle::new(service.clone(), now), (0..8).collect())], 2.0);
        let split = run(
            &mut [
                (Throttle::new(service.clone(), now), vec![0]),
                (Throttle::new(service.clone(), now), (1..8).collect()),
            ],
            2.0,
        );
        for got in [alone, split] {
            let total: usize = got.iter().sum();
            assert!((24_000_000..26_000_000).contains(&total), "{total} bytes in 2 s at 12.5 MB/s");
            let squares: f64 = got.iter().map(|&bytes| (bytes as f64).powi(2)).sum();
            let jain = (total as f64).powi(2) / (got.len() as f64 * squares);
            assert!(jain > 0.99, "Jain {jain}: {got:?}");
        }
    }

    #[test]
    fn the_rate_is_kept_within_2_percent_over_10_s_from_1_mbps_to_10_gbps() {
        for mbps in [1.0, 10.0, 100.0, 1000.0, 10_000.0] {
            for flows in [1, 8] {
                let throttle = Throttle::new(service(mbps), Instant::now());
                let total: usize = run(&mut [(throttle, (0..flows).collect())], 10.0).iter().sum();
                let part = total as f64 * 8.0 / 10.0 / (mbps * 1e6);
                assert!((0.98..1.02).contains(&part), "{mbps} Mbit/s, {flows} flows: {part}");
            }
        }
    }

    #[test]
    fn a_new_flow_among_seven_has_its_turn_within_200_ms_at_any_rate() {
        for mbps in [1.0, 10.0, 1000.0, 10_000.0] {
            let start = Instant::now();
            let mut throttle = Throttle::new(service(mbps), start);
            (0..7).for_each(|flow| throttle.wait(flow, start));
            let mut waited = None;
            for step in 0..12_000 {
                let now = start + Duration::from_micros(100) * step;
                if step == 10_000 {
                    throttle.wait(7, now);
                }
                while let Some((flow, _)) = throttle.grant(now) {
                    throttle.wait(flow, now);
                    throttle.served();
                    if flow == 7 {
                        waited = waited.or(Some(step - 10_000));
                    }
                }
            }
            assert!(waited.is_some(), "at {mbps} Mbit/s not within 200 ms");
        }
    }

    #[test]
    fn two_engines_keep_one_rate_together() {
        let (before, after) = (service(100.0), service(100.0));
        let now = Instant::now();
        let mut throttles =
            [(Throttle::new(before.clone(), now), vec![0]), (Throttle::new(after.clone(), now), (1..8).collect())];
        for (throttle, flows) in &mut throttles {
            flows.iter().for_each(|&flow| throttle.wait(flow, now));
        }
        // As the two tell each other: each knows what waits at the other.
        after.bucket.set_waiting_at(Neighbour::Before, before.bucket.waiting_but_at(Neighbour::After));
        before.bucket.set_waiting_at(Neighbour::After, after.bucket.waiting_but_at(Neighbour::Before));
        throttles.iter_mut().for_each(|(throttle, _)| {
            while throttle.queue.pop_front().is_some() {
                throttle.service.bucket.waiting.fetch_sub(1, Relaxed);
            }
        });
        let got = run(&mut throttles, 2.0);
        let total: usize = got.iter().sum();
        assert!((24_000_000..26_000_000).contains(&total), "{total} bytes in 2 s at 12.5 MB/s");
        let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
        assert!(least * 10 > most * 9, "{got:?}");
    }

    #[test]
    fn what_waits_is_told_at_its_peak_and_passed_on_to_the_other_neighbour() {
        let service = service(1.0);
        let mut throttle = Throttle::new(service.clone(), Instant::now());
        (0..3).for_each(|flow| throttle.wait(flow, Instant::now()));
        let later = Instant::now() + Duration::from_secs(1);
        while throttle.grant(later).is_some() {
            throttle.served();
        }
        service.bucket.set_waiting_at(Neighbour::Before, 5);
        let waiting = service.bucket.waiting.load(Relaxed);
        assert_eq!(service.bucket.waiting_but_at(Neighbour::After), 3 + 5, "at its peak, with those of the one before");
        assert_eq!(service.bucket.waiting_but_at(Neighbour::Before), 3, "which knows of its own itself");
        assert_eq!(service.bucket.waiting_but_at(Neighbour::After), waiting + 5);
    }

    #[test]
    fn what_was_not_read_is_given_back_and_no_limit_never_waits() {
        let service = service(1.0);
        let start = Instant::now();
        let mut throttle = Throttle::new(service.clone(), start);
        throttle.wait(1, start);
        assert_eq!(throttle.grant(start), None);
        let later = start + Duration::from_secs(1);
        assert_eq!(throttle.grant(later), Some((1, QUANTUM_BYTES_MIN)));
        throttle.refund(QUANTUM_BYTES_MIN);
        throttle.wait(1, later);
        throttle.served();
        assert_eq!(throttle.wait_time(), Some(Duration::ZERO));
        service.bucket.set_mbps(0.0);
        for _ in 0..100 {
            assert_eq!(throttle.grant(later).map(|(flow, _)| flow), Some(1));
            throttle.wait(1, later);
            throttle.served();
        }
        assert_eq!(service.bucket.waiting.load(Relaxed), 1);
    }
}
