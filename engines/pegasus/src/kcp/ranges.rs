//! Stretches of a stream: disjoint half-open ranges of byte offsets.

use std::{collections::BTreeMap, ops::Range};

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn first(&self) -> Option<Range<u64>> {
        self.0.first_key_value().map(|(&start, &end)| start..end)
    }

    /// Adds a range; what touches it becomes one with it.
    pub fn insert(&mut self, mut range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if let Some((&start, &end)) = self.0.range(..=range.start).next_back()
            && end >= range.start
        {
            range = start..range.end.max(end);
        }
        while let Some((&start, &end)) = self.0.range(range.start..=range.end).next() {
            range.end = range.end.max(end);
            self.0.remove(&start);
        }
        self.0.insert(range.start, range.end);
    }

    /// Takes a range out, whatever of it is in.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if let Some((&start, &end)) = self.0.range(..range.start).next_back()
            && end > range.start
        {
            self.0.insert(start, range.start);
            if end > range.end {
                self.0.insert(range.end, end);
                return;
            }
        }
        while let Some((&start, &end)) = self.0.range(range.start..range.end).next() {
            self.0.remove(&start);
            if end > range.end {
                self.0.insert(range.end, end);
            }
        }
    }

    /// The parts of `range` that are in.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let before = self.0.range(..range.start).next_back();
        let after = self.0.range(range.start..range.end.max(range.start));
        let parts = before.into_iter().chain(after);
        parts.map(move |(&start, &end)| start.max(range.start)..end.min(range.end)).filter(|part| !part.is_empty())
    }

    /// Takes at most `most` bytes from the beginning of the first range.
    pub fn take_first(&mut self, most: u64) -> Option<Range<u64>> {
        let first = self.first()?;
        let taken = first.start..first.end.min(first.start + most);
        self.0.remove(&first.start);
        if taken.end < first.end {
            self.0.insert(taken.end, first.end);
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set_of_offsets(steps in proptest::collection::vec((any::<bool>(), 0u64..60, 0u64..20), 1..40), most in 1u64..9) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (insert, start, length) in steps {
                if insert {
                    ranges.insert(start..start + length);
                    model.extend(start..start + length);
                } else {
                    ranges.remove(start..start + length);
                    model.retain(|at| !(start..start + length).contains(at));
                }
                let flat: Vec<u64> = ranges.0.iter().flat_map(|(&start, &end)| start..end).collect();
                prop_assert_eq!(&flat, &model.iter().copied().collect::<Vec<_>>());
                let within: Vec<u64> = ranges.within(10..30).flatten().collect();
                prop_assert_eq!(within, model.range(10..30).copied().collect::<Vec<_>>());
                let gaps = ranges.0.iter().zip(ranges.0.iter().skip(1)).all(|(one, next)| one.1 < next.0);
                prop_assert!(gaps || !insert, "what touches is one range");
            }
            let mut taken = Vec::new();
            while let Some(range) = ranges.take_first(most) {
                prop_assert!(range.end - range.start <= most);
                taken.extend(range);
            }
            prop_assert_eq!(taken, model.into_iter().collect::<Vec<_>>());
        }
    }
}
