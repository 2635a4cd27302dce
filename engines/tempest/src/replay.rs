//! Which counters of one receiving key were seen. The window is RFC 6479's: a ring of words of which one is always
//! being emptied, so that moving on never shifts.

const WORD_BITS: u64 = 64;
const WORDS: u64 = 128;
/// Counters behind the newest that may still come late.
pub const WINDOW: u64 = (WORDS - 1) * WORD_BITS;

pub struct ReplayWindow {
    /// One more than the largest counter seen; 0 before the first.
    next: u64,
    seen: [u64; WORDS as usize],
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self { next: 0, seen: [0; WORDS as usize] }
    }
}

impl ReplayWindow {
    /// Nothing was accepted yet.
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Whether `counter` could still be accepted. Cheap: asked before the packet is opened.
    #[inline]
    pub fn may_accept(&self, counter: u64) -> bool {
        if counter >= self.next {
            return counter != u64::MAX;
        }
        self.next - counter <= WINDOW && self.seen[word(counter)] & bit(counter) == 0
    }

    /// Takes `counter` once. Only for packets that were proven to be the peer's.
    #[inline]
    pub fn accept(&mut self, counter: u64) -> bool {
        if !self.may_accept(counter) {
            return false;
        }
        if counter >= self.next {
            // `next - 1` is the newest seen: every word behind its word, up to the counter's, starts empty.
            let newest_word = self.next.saturating_sub(1) / WORD_BITS;
            let steps = (counter / WORD_BITS - newest_word).min(WORDS);
            for step in 1..=steps {
                self.seen[((newest_word + step) % WORDS) as usize] = 0;
            }
            self.next = counter + 1;
        }
        self.seen[word(counter)] |= bit(counter);
        true
    }
}

fn word(counter: u64) -> usize {
    ((counter / WORD_BITS) % WORDS) as usize
}

fn bit(counter: u64) -> u64 {
    1 << (counter % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// The same rule, said with a set of everything ever seen.
    #[derive(Default)]
    struct Oracle {
        next: u64,
        seen: HashSet<u64>,
    }

    impl Oracle {
        fn accept(&mut self, counter: u64) -> bool {
            let fresh = counter != u64::MAX
                && (counter >= self.next || self.next - counter <= WINDOW)
                && self.seen.insert(counter);
            if fresh {
                self.next = self.next.max(counter + 1);
            }
            fresh
        }
    }

    fn counters() -> impl Strategy<Value = Vec<u64>> {
        let near = 0..3 * WINDOW;
        let edge = (0..8u64, 0..40u64).prop_map(|(turn, off)| (turn * WINDOW + off).wrapping_sub(20) % (1 << 40));
        let far = prop_oneof![Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()];
        let walk = prop::collection::vec((0..200u64, 0..30u64), 0..400).prop_map(|steps| {
            let mut at = 0u64;
            steps
                .into_iter()
                .map(|(forward, back)| {
                    at += forward;
                    at.saturating_sub(back * 10)
                })
                .collect::<Vec<_>>()
        });
        let mixed = prop::collection::vec(prop_oneof![20 => near, 10 => edge, 1 => far], 0..400);
        prop_oneof![walk, mixed]
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_everything_seen(counters in counters()) {
            let (mut window, mut oracle) = (ReplayWindow::default(), Oracle::default());
            for counter in counters {
                prop_assert_eq!(window.accept(counter), oracle.accept(counter), "counter {}", counter);
                prop_assert!(!window.may_accept(counter));
            }
        }
    }

    #[test]
    fn a_counter_is_taken_once_in_any_order() {
        let mut window = ReplayWindow::default();
        for counter in [5, 0, 4, 1, 8000, 9000] {
            assert!(window.accept(counter), "{counter}");
            assert!(!window.accept(counter), "{counter} again");
        }
        assert!(!window.accept(9001 - WINDOW - 1), "behind the window");
        assert!(window.accept(9001 - WINDOW), "the window's last");
    }
}
