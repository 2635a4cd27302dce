//! Which address of a peer to connect to next.
//!
//! While none is proven they are tried beside each other, each once at a time: one that does not answer at all (another site's
//! private network, say) keeps nobody from the one that does, nor from asking again one that refused.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::limits::{ADDRESS_STAGGER, BACKOFF_MAX, BACKOFF_MIN, CONNECTING_MAX};

/// The addresses themselves are the caller's, in order of preference.
pub struct Attempts {
    /// Of the connections in the making.
    under_way: Vec<SocketAddr>,
    /// The one that works.
    proven: Option<SocketAddr>,
    /// The next one to try while none is proven, and from when.
    next: usize,
    next_at: Instant,
    /// Which have failed since one worked or all had, and how often the list has come to its end meanwhile.
    failed: Vec<SocketAddr>,
    rounds: u32,
}

impl Attempts {
    pub fn new(now: Instant) -> Self {
        Self { under_way: Vec::new(), proven: None, next: 0, next_at: now, failed: Vec::new(), rounds: 0 }
    }

    pub fn list_changed(&mut self, addresses: &[SocketAddr], now: Instant) {
        self.proven = self.proven.filter(|address| addresses.contains(address));
        self.begin_anew(now);
    }

    pub fn begin_anew(&mut self, now: Instant) {
        (self.next, self.next_at, self.rounds) = (0, now, 0);
        self.failed.clear();
    }

    /// How many connections to begin when `missing` are wanted.
    pub fn lacking(&self, addresses: &[SocketAddr], missing: usize) -> usize {
        let Some(proven) = self.proven else {
            let untried = addresses.iter().any(|address| !self.under_way.contains(address));
            return usize::from(missing > 0 && untried);
        };
        // What is under way elsewhere may never come.
        let coming = self.under_way.iter().filter(|address| **address == proven).count();
        missing.min(CONNECTING_MAX).saturating_sub(coming)
    }

    /// The address to connect to now; it counts as being connected to from now on.
    pub fn next(&mut self, addresses: &[SocketAddr], now: Instant) -> Option<SocketAddr> {
        let address = match self.proven {
            Some(address) => address,
            None if now < self.next_at => return None,
            None => {
                let free = |at: &usize| !self.under_way.contains(&addresses[*at]);
                let Some(at) = (self.next..addresses.len()).find(free) else {
                    // The rest does not answer, and may not for long. Who refused may have been asked too early.
                    (self.next, self.next_at) = (0, now + backoff(self.rounds));
                    self.rounds += 1;
                    return None;
                };
                (self.next, self.next_at) = (at + 1, now + ADDRESS_STAGGER);
                addresses[at]
            }
        };
        self.under_way.push(address);
        Some(address)
    }

    pub fn succeeded(&mut self, address: SocketAddr) {
        self.arrived(address);
        // One that took longer is not taken instead.
        self.proven.get_or_insert(address);
        (self.next, self.rounds) = (0, 0);
        self.failed.clear();
    }

    /// True when every address has failed.
    pub fn failed(&mut self, address: SocketAddr, addresses: &[SocketAddr], now: Instant) -> bool {
        self.arrived(address);
        if self.proven == Some(address) {
            self.proven = None;
            self.begin_anew(now);
        }
        if self.proven.is_some() {
            return false;
        }
        if !self.failed.contains(&address) {
            self.failed.push(address);
        }
        self.next_at = now;
        addresses.iter().all(|address| self.failed.contains(address))
    }

    fn arrived(&mut self, address: SocketAddr) {
        if let Some(at) = self.under_way.iter().position(|one| *one == address) {
            self.under_way.swap_remove(at);
        }
    }
}

pub fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::POOL_TICK;

    const AWAY: &str = "10.2.0.1:7947";
    const HERE: &str = "10.9.2.2:7947";
    const THIRD: &str = "10.9.3.2:7947";

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// Lets time pass in ticks; what is tried meanwhile fails at once, unless it is AWAY, which never answers.
    fn tried(attempts: &mut Attempts, addresses: &[SocketAddr], now: &mut Instant, ticks: u32) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        for _ in 0..ticks {
            *now += POOL_TICK;
            while let Some(next) = attempts.next(addresses, *now) {
                all.push(next);
                if next != address(AWAY) {
                    assert!(!attempts.failed(next, addresses, *now), "the other one has not failed yet");
                }
            }
        }
        all
    }

    #[test]
    fn one_that_does_not_answer_keeps_nobody_from_one_that_refused() {
        for addresses in [[AWAY, HERE], [HERE, AWAY]] {
            let addresses = addresses.map(address);
            let mut now = Instant::now();
            let mut attempts = Attempts::new(now);
            let all = tried(&mut attempts, &addresses, &mut now, 40);
            assert_eq!(all.iter().filter(|one| **one == address(AWAY)).count(), 1, "{all:?}");
            assert!(all.iter().filter(|one| **one == address(HERE)).count() >= 3, "{all:?}");
            // It has come to know us.
            let again = std::iter::from_fn(|| {
                now += POOL_TICK;
                Some(attempts.next(&addresses, now))
            });
            assert_eq!(again.take(100).flatten().next(), Some(address(HERE)));
            attempts.succeeded(address(HERE));
            // The one that hangs counts for nothing: both warm carriers are made.
            assert_eq!(attempts.lacking(&addresses, 2), 2);
            assert_eq!(attempts.next(&addresses, now), Some(address(HERE)));
            assert_eq!(attempts.lacking(&addresses, 2), 1);
            assert!(!attempts.failed(address(AWAY), &addresses, now));
            assert_eq!(attempts.next(&addresses, now), Some(address(HERE)));
        }
    }

    #[test]
    fn those_that_do_not_answer_are_not_waited_for_before_the_next() {
        let addresses = [AWAY, THIRD, HERE].map(address);
        let begin = Instant::now();
        let mut attempts = Attempts::new(begin);
        let all: Vec<SocketAddr> =
            (0..40).filter_map(|tick| attempts.next(&addresses, begin + POOL_TICK * tick)).collect();
        assert_eq!(all, addresses);
        assert_eq!(attempts.lacking(&addresses, 2), 0, "all are under way");
        attempts.succeeded(address(HERE));
        attempts.succeeded(address(THIRD));
        assert_eq!(attempts.next(&addresses, begin), Some(address(HERE)), "the one that was quicker stays");
    }

    #[test]
    fn all_have_failed_when_each_has() {
        let addresses = [AWAY, HERE].map(address);
        let mut now = Instant::now();
        let mut attempts = Attempts::new(now);
        assert_eq!(attempts.next(&addresses, now), Some(address(AWAY)));
        now += ADDRESS_STAGGER;
        assert_eq!(attempts.next(&addresses, now), Some(address(HERE)));
        assert!(!attempts.failed(address(HERE), &addresses, now));
        assert!(attempts.failed(address(AWAY), &addresses, now));
    }
}
