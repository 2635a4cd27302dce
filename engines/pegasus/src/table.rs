//! The route table as hash maps: one per (source length, destination length), searched in order of their best route
//! (tuple-space search). It answers exactly as a walk over the ordered list would; the property test holds it to that.

use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::prefix::{Family, Prefix, bits, mask};

/// A rule of an ordered list, best first. No prefix matches everything.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub source: Option<Prefix>,
    pub dest: Option<Prefix>,
}

impl Rule {
    /// Source and destination are of one family, so it can match something.
    pub fn is_possible(&self) -> bool {
        match (self.source, self.dest) {
            (Some(source), Some(dest)) => source.family == dest.family,
            _ => true,
        }
    }
}

#[derive(Debug, Default)]
pub struct Table {
    v4: Space,
    v6: Space,
}

#[derive(Debug, Default)]
struct Space {
    /// By best rank, so that a search may stop early.
    tuples: Vec<Tuple>,
    attached: Vec<(u8, FxHashSet<u128>)>,
}

#[derive(Debug)]
struct Tuple {
    source_length: u8,
    dest_length: u8,
    best: usize,
    ranks: FxHashMap<(u128, u128), usize>,
}

impl Table {
    /// Compiles `rules`, best first. The position of a rule is its rank.
    pub fn new(rules: &[Rule], attached: &[Prefix]) -> Self {
        let mut table = Self::default();
        for (family, space) in [(Family::V4, &mut table.v4), (Family::V6, &mut table.v6)] {
            space.compile(family, rules, attached);
        }
        table
    }

    /// The rank of the first rule that matches. A destination inside an attached network is matched only by rules whose
    /// destination is at least as long as that network.
    pub fn lookup(&self, source: IpAddr, dest: IpAddr) -> Option<usize> {
        match (source, dest) {
            (IpAddr::V4(_), IpAddr::V4(_)) => self.v4.lookup(bits(source), bits(dest)),
            (IpAddr::V6(_), IpAddr::V6(_)) => self.v6.lookup(bits(source), bits(dest)),
            _ => None,
        }
    }
}

impl Space {
    fn compile(&mut self, family: Family, rules: &[Rule], attached: &[Prefix]) {
        let mut index: FxHashMap<(u8, u8), usize> = FxHashMap::default();
        for (rank, rule) in rules.iter().enumerate() {
            let ours = |prefix: Option<Prefix>| prefix.is_none_or(|prefix| prefix.family == family);
            if !ours(rule.source) || !ours(rule.dest) {
                continue;
            }
            let part = |prefix: Option<Prefix>| prefix.map_or((0, 0), |prefix| (prefix.length, prefix.bits));
            let ((source_length, source), (dest_length, dest)) = (part(rule.source), part(rule.dest));
            let at = *index.entry((source_length, dest_length)).or_insert_with(|| {
                self.tuples.push(Tuple { source_length, dest_length, best: rank, ranks: FxHashMap::default() });
                self.tuples.len() - 1
            });
            self.tuples[at].ranks.entry((source, dest)).or_insert(rank);
        }
        // Ranks only grow, so the tuples were made in order of their best one.
        debug_assert!(self.tuples.is_sorted_by_key(|tuple| tuple.best));
        for prefix in attached.iter().filter(|prefix| prefix.family == family) {
            match self.attached.iter_mut().find(|(length, _)| *length == prefix.length) {
                Some((_, nets)) => nets.insert(prefix.bits),
                None => {
                    self.attached.push((prefix.length, FxHashSet::from_iter([prefix.bits])));
                    true
                }
            };
        }
        self.attached.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    }

    fn lookup(&self, source: u128, dest: u128) -> Option<usize> {
        let attached = self.attached.iter().find(|(length, nets)| nets.contains(&mask(dest, *length)));
        let shortest = attached.map_or(0, |(length, _)| *length);
        let mut found: Option<usize> = None;
        for tuple in &self.tuples {
            if found.is_some_and(|rank| rank < tuple.best) {
                break;
            }
            if tuple.dest_length >= shortest {
                let key = (mask(source, tuple.source_length), mask(dest, tuple.dest_length));
                if let Some(&rank) = tuple.ranks.get(&key) {
                    found = Some(found.map_or(rank, |best| best.min(rank)));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        net::{Ipv4Addr, Ipv6Addr},
        time::Instant,
    };

    /// The rule of PROTOCOL.md, word by word.
    fn oracle(rules: &[Rule], attached: &[Prefix], source: IpAddr, dest: IpAddr) -> Option<usize> {
        if source.is_ipv4() != dest.is_ipv4() {
            return None;
        }
        rules.iter().position(|rule| {
            let contains = |prefix: Option<Prefix>, ip| prefix.is_none_or(|prefix: Prefix| prefix.contains(ip));
            let length = rule.dest.map_or(0, |dest| dest.length);
            contains(rule.source, source)
                && contains(rule.dest, dest)
                && !attached.iter().any(|net| net.contains(dest) && net.length > length)
        })
    }

    /// Few distinct bits, so that prefixes and addresses meet often.
    fn ip() -> impl Strategy<Value = IpAddr> {
        let byte = || prop_oneof![Just(0u8), Just(1), Just(128), Just(255)];
        prop_oneof![
            3 => (byte(), byte()).prop_map(|(a, b)| IpAddr::V4(Ipv4Addr::new(10, a, 0, b))),
            1 => (byte(), byte()).prop_map(|(a, b)| IpAddr::V6(Ipv6Addr::from([0xfd, a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b]))),
        ]
    }

    fn prefix() -> impl Strategy<Value = Prefix> {
        (ip(), 0u8..=16).prop_map(|(ip, choice)| {
            let longest = if ip.is_ipv4() { 32 } else { 128 };
            let length =
                [0, 1, 8, 9, 15, 16, 17, 24, 25, 31, 32, 64, 112, 120, 121, 127, 128][usize::from(choice)].min(longest);
            Prefix { family: Family::of(ip), length, bits: mask(bits(ip), length) }
        })
    }

    fn rule() -> impl Strategy<Value = Rule> {
        (proptest::option::of(prefix()), proptest::option::weighted(0.8, prefix()))
            .prop_map(|(source, dest)| Rule { source, dest })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn the_table_answers_as_the_list(
            rules in proptest::collection::vec(rule(), 0..40),
            attached in proptest::collection::vec(prefix(), 0..6),
            flows in proptest::collection::vec((ip(), ip()), 1..40),
        ) {
            let table = Table::new(&rules, &attached);
            for (source, dest) in flows {
                prop_assert_eq!(table.lookup(source, dest), oracle(&rules, &attached, source, dest), "{} to {}", source, dest);
            }
        }
    }

    #[test]
    fn ten_thousand_routes_compile_in_a_moment() {
        let rules: Vec<Rule> = (0..10_000u32)
            .map(|number| {
                let bits = (u128::from(number) << 104) | (10 << 120);
                Rule { source: None, dest: Some(Prefix { family: Family::V4, length: 24, bits: mask(bits, 24) }) }
            })
            .collect();
        let start = Instant::now();
        let table = Table::new(&rules, &[]);
        let took = start.elapsed();
        assert!(table.lookup("1.2.3.4".parse().unwrap(), "10.0.3.4".parse().unwrap()).is_some());
        assert!(took.as_millis() < 100, "{took:?}");
    }
}
