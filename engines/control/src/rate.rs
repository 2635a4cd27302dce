//! At most one line per reason and minute, with the count of what it stands for: a stranger must not fill the log.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

const LINE_EVERY: Duration = Duration::from_secs(60);

/// Counts per reason. Reasons are the program's own words, so there are few.
#[derive(Default)]
pub struct LineRate {
    reasons: HashMap<&'static str, (Instant, u64)>,
    total: u64,
}

impl LineRate {
    /// Counts one. `Some(n)`: say it now, it stands for `n` since the last line of this reason.
    pub fn count(&mut self, reason: &'static str, now: Instant) -> Option<u64> {
        self.total += 1;
        let Some((said, held)) = self.reasons.get_mut(reason) else {
            self.reasons.insert(reason, (now, 0));
            return Some(1);
        };
        *held += 1;
        if now.duration_since(*said) < LINE_EVERY {
            return None;
        }
        *said = now;
        Some(std::mem::take(held))
    }

    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_stands_for_all() {
        let mut rate = LineRate::default();
        let start = Instant::now();
        assert_eq!(rate.count("garbage", start), Some(1));
        assert_eq!(rate.count("garbage", start), None);
        assert_eq!(rate.count("slow", start), Some(1));
        assert_eq!(rate.count("garbage", start + Duration::from_secs(59)), None);
        assert_eq!(rate.count("garbage", start + Duration::from_secs(61)), Some(3));
        assert_eq!(rate.total(), 5);
    }
}
