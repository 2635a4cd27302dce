//! Who may stand at the data port without having proven anything: so many in all, so many from one address. A peer's
//! own address is not kept out by a crowd from elsewhere.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustc_hash::FxHashMap;

use crate::{
    limits::{STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX},
    prefix::{bits, mask},
};

#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Mutex<Crowd>>);

#[derive(Debug, Default)]
struct Crowd {
    total: usize,
    by_source: FxHashMap<(bool, u128), usize>,
}

/// A place at the gate; dropped when the stranger has proven who it is, or is gone.
#[derive(Debug)]
pub struct Permit {
    gate: Gate,
    source: (bool, u128),
}

impl Gate {
    pub fn admit(&self, ip: IpAddr, known: bool) -> Option<Permit> {
        let source = (ip.is_ipv4(), mask(bits(ip), 64));
        let mut crowd = self.crowd();
        let here = crowd.by_source.get(&source).copied().unwrap_or(0);
        if here >= STRANGERS_PER_ADDRESS_MAX || (crowd.total >= STRANGERS_MAX && !known) {
            return None;
        }
        crowd.by_source.insert(source, here + 1);
        crowd.total += 1;
        drop(crowd);
        Some(Permit { gate: self.clone(), source })
    }

    fn crowd(&self) -> MutexGuard<'_, Crowd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut crowd = self.gate.crowd();
        crowd.total -= 1;
        if let Some(here) = crowd.by_source.get_mut(&self.source) {
            *here -= 1;
            if *here == 0 {
                crowd.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_bounded_per_source_and_in_all_and_leaves_no_trace() {
        let gate = Gate::default();
        let v4 = |number: u32| IpAddr::from(number.to_be_bytes());
        let one: Vec<_> = (0..STRANGERS_PER_ADDRESS_MAX + 5).filter_map(|_| gate.admit(v4(1), false)).collect();
        assert_eq!(one.len(), STRANGERS_PER_ADDRESS_MAX);
        let many: Vec<_> = (2..5000).filter_map(|number| gate.admit(v4(number), false)).collect();
        assert_eq!(one.len() + many.len(), STRANGERS_MAX);
        assert!(gate.admit(v4(9999), true).is_some(), "a peer's address still gets in");
        drop((one, many));
        let crowd = gate.crowd();
        assert_eq!((crowd.total, crowd.by_source.len()), (0, 0));
    }

    #[test]
    fn one_ipv6_subnet_is_one_source() {
        let gate = Gate::default();
        let admitted: Vec<_> = (0..1000u128)
            .filter_map(|host| gate.admit(IpAddr::from(((0xfd_u128 << 120) | host).to_be_bytes()), false))
            .collect();
        assert_eq!(admitted.len(), STRANGERS_PER_ADDRESS_MAX);
    }
}
