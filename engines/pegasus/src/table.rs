//! The route table as hash maps: one per (source length, destination length), searched in order of their best route
//! (tuple-space search). It answers exactly as a walk over the ordered list would; the property test holds it to that.
//!
//! A copy shares all but what it changes, so that a change of one route costs the same among 10 or 10,000.

use std::{net::IpAddr, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    prefix::{Family, Prefix, bits, mask},
    shards::Shards,
};

/// A rule of an ordered list. No prefix matches everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    fn concerns(&self, family: Family) -> bool {
        [self.source, self.dest].iter().flatten().all(|prefix| prefix.family == family)
    }
}

/// Where a rule stands in its list: smaller is better, and no two have the same.
pub type Rank = u64;

/// `T`: what a rule leads to.
#[derive(Debug, Clone)]
pub struct Table<T> {
    v4: Space<T>,
    v6: Space<T>,
}

#[derive(Debug, Clone)]
struct Space<T> {
    /// By best rank, so that a search may stop early.
    tuples: Vec<Tuple<T>>,
    attached: Arc<Vec<(u8, FxHashSet<u128>)>>,
}

#[derive(Debug, Clone)]
struct Tuple<T> {
    source_length: u8,
    dest_length: u8,
    /// None of its rules is better. When the best one goes this stays as it is, which costs a look at most.
    best: Rank,
    rules: Shards<(u128, u128), Found<T>>,
}

/// The best rule of one pair of networks, and those that it hides.
#[derive(Debug, Clone)]
struct Found<T> {
    rank: Rank,
    to: T,
    hidden: Vec<(Rank, T)>,
}

impl<T: Clone> Table<T> {
    pub fn new(attached: &[Prefix]) -> Self {
        Self { v4: Space::new(Family::V4, attached), v6: Space::new(Family::V6, attached) }
    }

    /// A rule of a rank that no other one has.
    pub fn insert(&mut self, rank: Rank, rule: &Rule, to: T) {
        for (family, space) in [(Family::V4, &mut self.v4), (Family::V6, &mut self.v6)] {
            if rule.concerns(family) {
                space.insert(rank, rule, to.clone());
            }
        }
    }

    /// A rule that was inserted with this rank.
    pub fn remove(&mut self, rank: Rank, rule: &Rule) {
        for (family, space) in [(Family::V4, &mut self.v4), (Family::V6, &mut self.v6)] {
            if rule.concerns(family) {
                space.remove(rank, rule);
            }
        }
    }

    /// What the best rule that matches leads to. A destination inside an attached network is matched only by rules whose
    /// destination is at least as long as that network.
    pub fn lookup(&self, source: IpAddr, dest: IpAddr) -> Option<&T> {
        match (source, dest) {
            (IpAddr::V4(_), IpAddr::V4(_)) => self.v4.lookup(bits(source), bits(dest)),
            (IpAddr::V6(_), IpAddr::V6(_)) => self.v6.lookup(bits(source), bits(dest)),
            _ => None,
        }
    }
}

type Lengths = (u8, u8);
type Networks = (u128, u128);

fn key(rule: &Rule) -> (Lengths, Networks) {
    let part = |prefix: Option<Prefix>| prefix.map_or((0, 0), |prefix| (prefix.length, prefix.bits));
    let ((source_length, source), (dest_length, dest)) = (part(rule.source), part(rule.dest));
    ((source_length, dest_length), (source, dest))
}

impl<T: Clone> Space<T> {
    fn new(family: Family, attached: &[Prefix]) -> Self {
        let mut lengths: FxHashMap<u8, FxHashSet<u128>> = FxHashMap::default();
        for prefix in attached.iter().filter(|prefix| prefix.family == family) {
            lengths.entry(prefix.length).or_default().insert(prefix.bits);
        }
        let mut attached: Vec<_> = lengths.into_iter().collect();
        attached.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        Self { tuples: Vec::new(), attached: Arc::new(attached) }
    }

    fn place(&self, lengths: Lengths) -> Option<usize> {
        self.tuples.iter().position(|tuple| (tuple.source_length, tuple.dest_length) == lengths)
    }

    fn insert(&mut self, rank: Rank, rule: &Rule, to: T) {
        let (lengths, networks) = key(rule);
        let at = self.place(lengths).unwrap_or_else(|| {
            let (source_length, dest_length) = lengths;
            self.tuples.push(Tuple { source_length, dest_length, best: rank, rules: Shards::default() });
            self.tuples.len() - 1
        });
        let tuple = &mut self.tuples[at];
        let found = match tuple.rules.get(&networks).cloned() {
            None => Found { rank, to, hidden: Vec::new() },
            Some(mut found) if rank < found.rank => {
                found.hidden.push((found.rank, found.to));
                Found { rank, to, hidden: found.hidden }
            }
            Some(mut found) => {
                found.hidden.push((rank, to));
                found
            }
        };
        tuple.rules.insert(networks, found);
        tuple.best = tuple.best.min(rank);
        self.tuples.sort_by_key(|tuple| tuple.best);
    }

    fn remove(&mut self, rank: Rank, rule: &Rule) {
        let (lengths, networks) = key(rule);
        let Some(at) = self.place(lengths) else { return };
        let rules = &mut self.tuples[at].rules;
        let Some(mut found) = rules.get(&networks).cloned() else { return };
        if found.rank != rank {
            found.hidden.retain(|(hidden, _)| *hidden != rank);
            rules.insert(networks, found);
        } else if let Some((next, _)) = found.hidden.iter().enumerate().min_by_key(|(_, (rank, _))| *rank) {
            let (rank, to) = found.hidden.swap_remove(next);
            rules.insert(networks, Found { rank, to, hidden: found.hidden });
        } else {
            rules.remove(&networks);
            if rules.is_empty() {
                self.tuples.remove(at);
            }
        }
    }

    fn lookup(&self, source: u128, dest: u128) -> Option<&T> {
        let attached = self.attached.iter().find(|(length, nets)| nets.contains(&mask(dest, *length)));
        let shortest = attached.map_or(0, |(length, _)| *length);
        let mut found: Option<&Found<T>> = None;
        for tuple in &self.tuples {
            if found.is_some_and(|found| found.rank < tuple.best) {
                break;
            }
            if tuple.dest_length >= shortest {
                let networks = (mask(source, tuple.source_length), mask(dest, tuple.dest_length));
                if let Some(other) = tuple.rules.get(&networks)
                    && found.is_none_or(|found| other.rank < found.rank)
                {
                    found = Some(other);
                }
            }
        }
        found.map(|found| &found.to)
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

    fn table(rules: &[Rule], attached: &[Prefix]) -> Table<usize> {
        let mut table = Table::new(attached);
        for (rank, rule) in rules.iter().enumerate() {
            table.insert(rank as Rank, rule, rank);
        }
        table
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn the_table_answers_as_the_list(
            rules in proptest::collection::vec(rule(), 0..40),
            attached in proptest::collection::vec(prefix(), 0..6),
            flows in proptest::collection::vec((ip(), ip()), 1..40),
        ) {
            let table = table(&rules, &attached);
            for (source, dest) in flows {
                let expected = oracle(&rules, &attached, source, dest);
                prop_assert_eq!(table.lookup(source, dest).copied(), expected, "{} to {}", source, dest);
            }
        }

        /// Rules come and go in any order, each with the rank that it always has.
        #[test]
        fn a_changed_table_answers_as_one_made_anew(
            rules in proptest::collection::vec(rule(), 1..30),
            steps in proptest::collection::vec(any::<proptest::sample::Index>(), 0..60),
            attached in proptest::collection::vec(prefix(), 0..4),
            flows in proptest::collection::vec((ip(), ip()), 1..40),
        ) {
            let mut there = vec![false; rules.len()];
            let mut changed = Table::new(&attached);
            for step in steps {
                let at = step.index(rules.len());
                let before = changed.clone();
                if there[at] { changed.remove(at as Rank, &rules[at]) } else { changed.insert(at as Rank, &rules[at], at) }
                there[at] = !there[at];
                drop(before);
            }
            let left: Vec<usize> = (0..rules.len()).filter(|at| there[*at]).collect();
            let list: Vec<Rule> = left.iter().map(|at| rules[*at]).collect();
            for (source, dest) in flows {
                let expected = oracle(&list, &attached, source, dest).map(|position| left[position]);
                prop_assert_eq!(changed.lookup(source, dest).copied(), expected, "{} to {}", source, dest);
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
        let table = table(&rules, &[]);
        let took = start.elapsed();
        assert!(table.lookup("1.2.3.4".parse().unwrap(), "10.0.3.4".parse().unwrap()).is_some());
        assert!(took.as_millis() < 100, "{took:?}");
    }
}
