//! The engines before and after this one: who is there, and what they tell each other while both have flows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::{
    link::{Heard, Link},
    word::{SERVICES_PER_WORD, Totals, Waiting, Word},
};
use crate::{
    config::Config,
    limits::{NEIGHBOURS_TALK_EVERY, NEIGHBOURS_TALK_SELDOM},
    service::{Service, Side},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// The engine whose place this one has taken.
    Before = 0,
    /// The one that has taken its place.
    After = 1,
}

impl Neighbour {
    pub fn other(self) -> Self {
        match self {
            Self::Before => Self::After,
            Self::After => Self::Before,
        }
    }
}

#[derive(Default)]
pub struct Neighbours {
    links: Mutex<[Option<Arc<Link>>; 2]>,
    /// Whose services the talk is of.
    config: Mutex<Option<Arc<Config>>>,
}

impl Neighbours {
    pub fn set_config(&self, config: Arc<Config>) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }

    pub fn has(&self, neighbour: Neighbour) -> bool {
        self.link(neighbour).is_some_and(|link| link.is_alive())
    }

    pub fn link(&self, neighbour: Neighbour) -> Option<Arc<Link>> {
        self.links()[neighbour as usize].clone()
    }

    pub fn set_link(&self, neighbour: Neighbour, link: &Arc<Link>) {
        self.links()[neighbour as usize] = Some(link.clone());
    }

    /// Talks until the neighbour is gone. `in_force`: what to do when it says that it is at work.
    pub fn talk(&self, neighbour: Neighbour, link: &Arc<Link>, mut in_force: impl FnMut()) {
        let (mut heard, mut said, mut next) = (HashMap::new(), Vec::new(), Instant::now());
        loop {
            let now = Instant::now();
            if now >= next {
                let limited = self.services().iter().any(|service| service.bucket.is_limited());
                next = now + if limited { NEIGHBOURS_TALK_EVERY } else { NEIGHBOURS_TALK_SELDOM };
                if !self.tell_waiting(neighbour, link, &mut said) {
                    break;
                }
            }
            match link.hear(next.saturating_duration_since(now).max(Duration::from_millis(1))) {
                Heard::Word(Word::InForce, _) => in_force(),
                Heard::Word(Word::Waiting { services, more }, _) => {
                    heard.extend(
                        services.into_iter().map(|waiting| ((waiting.side, waiting.service_id), waiting.flows)),
                    );
                    if !more {
                        self.note_waiting(neighbour, &std::mem::take(&mut heard));
                    }
                }
                Heard::Word(Word::Totals { services }, _) => self.count_on(&services),
                Heard::Word(..) | Heard::Nothing => (),
                Heard::End => break,
            }
        }
        self.note_waiting(neighbour, &HashMap::new());
        let mut links = self.links();
        let place = &mut links[neighbour as usize];
        // Another one may have come meanwhile.
        if place.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, link)) {
            *place = None;
        }
    }

    /// Nothing is left here: the successor goes on counting where this one has ended.
    pub fn say_totals(&self) {
        let Some(link) = self.link(Neighbour::After) else { return };
        let totals: Vec<Totals> =
            self.services().iter().map(|service| service.take_totals()).filter(is_something).collect();
        for services in totals.chunks(SERVICES_PER_WORD) {
            if link.say(&Word::Totals { services: services.to_vec() }, &[]).is_err() {
                return;
            }
        }
    }

    /// False: the neighbour is gone. Says only what is news.
    fn tell_waiting(&self, neighbour: Neighbour, link: &Link, said: &mut Vec<Waiting>) -> bool {
        let mut waiting: Vec<Waiting> = self
            .services()
            .iter()
            .filter(|service| service.bucket.is_limited())
            .map(|service| Waiting {
                side: service.side,
                service_id: service.id.clone(),
                flows: service.bucket.waiting_but_at(neighbour),
            })
            .filter(|waiting| waiting.flows > 0)
            .collect();
        waiting.sort_by(|a, b| (&a.service_id, a.side as u8).cmp(&(&b.service_id, b.side as u8)));
        if waiting == *said {
            return true;
        }
        *said = waiting;
        Word::waiting(said).iter().all(|word| link.say(word, &[]).is_ok())
    }

    fn note_waiting(&self, neighbour: Neighbour, heard: &HashMap<(Side, Arc<str>), usize>) {
        for service in self.services() {
            let flows = heard.get(&(service.side, service.id.clone())).copied().unwrap_or(0);
            service.bucket.set_waiting_at(neighbour, flows);
        }
    }

    fn count_on(&self, totals: &[Totals]) {
        let services = self.services();
        for total in totals {
            let ours = services.iter().find(|service| service.side == total.side && service.id == total.service_id);
            if let Some(service) = ours {
                service.add_totals(total);
            }
        }
    }

    fn services(&self) -> Vec<Arc<Service>> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(config) = config else { return Vec::new() };
        let outbound = config.outbound.values().map(|outbound| outbound.service.clone());
        outbound.chain(config.inbound.values().map(|inbound| inbound.service.clone())).collect()
    }

    fn links(&self) -> MutexGuard<'_, [Option<Arc<Link>>; 2]> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_something(totals: &Totals) -> bool {
    totals.flows_total > 0 || totals.bytes_in > 0 || totals.bytes_out > 0
}

impl Service {
    /// What it has carried, which counts here no more.
    fn take_totals(&self) -> Totals {
        let take = |counter: &std::sync::atomic::AtomicU64| counter.swap(0, Relaxed);
        Totals {
            side: self.side,
            service_id: self.id.clone(),
            flows_total: take(&self.counters.flows_total),
            bytes_in: take(&self.counters.bytes_in),
            bytes_out: take(&self.counters.bytes_out),
        }
    }

    fn add_totals(&self, totals: &Totals) {
        self.counters.flows_total.fetch_add(totals.flows_total, Relaxed);
        self.counters.bytes_in.fetch_add(totals.bytes_in, Relaxed);
        self.counters.bytes_out.fetch_add(totals.bytes_out, Relaxed);
    }
}
