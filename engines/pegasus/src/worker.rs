//! A worker: one thread, one epoll, everything that it carries its own. Nothing is shared with other workers but
//! counters and what the state says.
//!
//! 1. Wait for events, at most until something is due.
//! 2. The mailbox: a new state, a drain.
//! 3. Listeners, flows and carriers that epoll named.
//! 4. Flows whose turn was over before their bytes were.
//! 5. Flows whose service has bandwidth for them again.
//! 6. Ends of flows that have waited for the next one; deadlines and pools.

use std::{
    collections::VecDeque,
    ops::Range,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::Sender,
    },
    time::{Duration, Instant},
};

use control::{Events, FlowsQuery};
use rustc_hash::FxHashMap;
use rustix::{
    event::{
        EventfdFlags, Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
        eventfd,
    },
    io::Errno,
};

use crate::{
    arena::Arena,
    carrier::Carrier,
    config::{Config, Steering},
    flow::Flow,
    flow_list::FlowList,
    gate::Gate,
    kcp::{Cookies, Desk, Udp},
    leaving::{Leaving, Successor},
    limiter::Throttle,
    limits::{EPOLL_EVENTS, LAST_WORDS, POOL_TICK, SWEEP_EVERY},
    link::Link,
    listener::{Bound, OwnAddresses},
    peer::Road,
    pool::Pool,
    reason::Reason,
    refusals::Refusals,
    return_path::Probe,
    service::Service,
    slots::{Key, Slots, Token},
    succession::Neighbours,
};

/// What all workers have in common.
pub struct Shared {
    pub events: Events,
    pub refusals: Refusals,
    pub gate: Gate,
    pub own: OwnAddresses,
    pub cookies: Cookies,
    /// From when the cookies count time.
    pub started: Instant,
    pub fast_aes: bool,
    pub neighbours: Neighbours,
}

/// Where the control thread leaves word for a worker.
pub struct Mailbox {
    commands: Mutex<VecDeque<Command>>,
    wake: OwnedFd,
    /// Set while nothing is left here: a drain is over, or everything that a successor has left.
    pub drained: AtomicBool,
}

pub enum Command {
    Apply {
        config: Arc<Config>,
        data: DataPort,
        door: Option<DoorPort>,
        new: Vec<Bound>,
        done: Sender<()>,
    },
    Drain {
        deadline: Instant,
    },
    /// A successor takes over; see `leaving`.
    Lend {
        successor: Successor,
        relay: Option<OwnedFd>,
        done: Sender<()>,
    },
    Leave {
        successor: Successor,
    },
    Stay {
        successor: Successor,
    },
    Flows {
        services: Vec<Arc<Service>>,
        query: FlowsQuery,
        answer: Sender<FlowList>,
    },
}

pub enum DataPort {
    Keep,
    Replace(Option<Arc<OwnedFd>>),
}

/// This worker's socket of the KCP port, and where to pass on what arrives there for the engine before this one.
pub struct DoorPort {
    pub door: Arc<Udp>,
    pub relay: Option<Arc<OwnedFd>>,
}

impl Mailbox {
    pub fn new() -> rustix::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { commands: Mutex::default(), wake, drained: AtomicBool::new(false) })
    }

    pub fn post(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push_back(command);
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn take(&self) -> VecDeque<Command> {
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
        std::mem::take(&mut self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A listening socket on this worker.
pub struct Listener {
    pub fd: Arc<OwnedFd>,
    pub role: ListenerRole,
}

#[derive(Clone)]
pub enum ListenerRole {
    /// Carriers of other engines.
    Data,
    /// Intercepted clients.
    Tproxy { name: Arc<str>, steering: Arc<Steering> },
}

/// Something that goes on when the others had their turn.
pub enum Turn {
    Flow(Key),
    Carrier(Key),
}

pub struct Worker {
    pub shared: Arc<Shared>,
    pub config: Arc<Config>,
    pub epoll: OwnedFd,
    pub listeners: Slots<Listener>,
    pub flows: Slots<Flow>,
    pub carriers: Slots<Carrier>,
    pub pools: FxHashMap<Road, Pool>,
    pub kcp: Desk,
    pub turns: VecDeque<Turn>,
    /// Carriers that hold a FIN, and until when; in that order.
    pub held_fins: VecDeque<(Key, Instant)>,
    pub throttles: Vec<Throttle<Key>>,
    pub probes: Vec<Probe>,
    pub arena: Arena,
    /// Kept for its capacity: where the opened payloads of a read stand in the arena.
    pub payloads: Vec<Range<usize>>,
    pub now: Instant,
    /// A descriptor to give up for a moment when there are no others, so that a connection can be refused at all.
    pub spare: Option<OwnedFd>,
    pub random: u64,
    pub leaving: Leaving,
    mailbox: Arc<Mailbox>,
    drain: Option<Instant>,
    sweep_at: Instant,
    pub sweeps: u64,
}

impl Worker {
    /// `index`: this worker's number.
    pub fn new(index: u8, shared: Arc<Shared>, mailbox: Arc<Mailbox>) -> rustix::io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &mailbox.wake, EventData::new_u64(Token::Mailbox.encode()), EventFlags::IN)?;
        let now = Instant::now();
        let mut seed = [0; 8];
        let _ = getrandom::fill(&mut seed);
        Ok(Self {
            shared,
            config: Arc::new(Config::empty()),
            epoll,
            listeners: Slots::default(),
            flows: Slots::default(),
            carriers: Slots::default(),
            pools: FxHashMap::default(),
            kcp: Desk::new(index, now),
            turns: VecDeque::new(),
            held_fins: VecDeque::new(),
            throttles: Vec::new(),
            probes: Vec::new(),
            arena: Arena::new(),
            payloads: Vec::new(),
            now,
            spare: crate::listener::spare(),
            random: u64::from_ne_bytes(seed) | 1,
            leaving: Leaving::default(),
            mailbox,
            drain: None,
            sweep_at: now + SWEEP_EVERY,
            sweeps: 0,
        })
    }

    /// Works until the process ends.
    pub fn run(mut self) {
        let mut events: Vec<Event> = Vec::with_capacity(EPOLL_EVENTS);
        loop {
            let timeout = self.timeout();
            let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => (),
                Err(error) => panic!("epoll_wait: {error}"),
            }
            self.now = Instant::now();
            for event in &events {
                self.dispatch(Token::decode(event.data.u64()), event.flags);
            }
            for _ in 0..self.turns.len() {
                match self.turns.pop_front() {
                    Some(Turn::Flow(key)) => self.go_on_up(key),
                    Some(Turn::Carrier(key)) => self.go_on_down(key),
                    None => break,
                }
            }
            self.serve_throttles();
            self.release_fins();
            self.tick();
            self.serve_conversations();
            self.end_drain();
        }
    }

    fn timeout(&self) -> Duration {
        if !self.turns.is_empty() {
            return Duration::ZERO;
        }
        let due = self.sweep_at.saturating_duration_since(self.now);
        let pools = self.pools.values().any(|pool| pool.is_waiting()).then_some(POOL_TICK);
        let throttles = self.throttles.iter().filter_map(|throttle| throttle.wait_time());
        let drain = self.drain.map(|deadline| deadline.saturating_duration_since(self.now));
        let fins = self.held_fins.front().map(|(_, until)| until.saturating_duration_since(self.now));
        let kcp = self.kcp.next_due(self.now).map(|at| at.saturating_duration_since(self.now));
        throttles
            .chain(pools)
            .chain(kcp)
            .chain(fins)
            .chain(drain.filter(|left| !left.is_zero()))
            .fold(due, Duration::min)
    }

    fn dispatch(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Mailbox => {
                for command in self.mailbox.clone().take() {
                    match command {
                        Command::Apply { config, data, door, new, done } => {
                            self.open_door(door);
                            self.apply(config, data, new);
                            // Nobody waits any more when the engine is ending.
                            let _ = done.send(());
                        }
                        Command::Drain { deadline } => self.start_drain(deadline),
                        Command::Lend { successor, relay, done } => {
                            self.lend(successor, relay);
                            let _ = done.send(());
                        }
                        Command::Leave { successor } => self.leave(successor),
                        Command::Stay { successor } => self.stay(successor),
                        Command::Flows { services, query, answer } => {
                            let _ = answer.send(self.list_flows(&services, &query));
                        }
                    }
                }
            }
            Token::Door => self.hear_door(),
            Token::Relay => self.hear_relay(),
            Token::Listener(key) => self.accept(key),
            Token::Flow(key) => self.flow_event(key, flags),
            Token::Carrier(key) => match self.carriers.get(key).map(|carrier| &carrier.link) {
                Some(Link::Kcp(_)) => self.hear_socket(key),
                _ => self.carrier_event(key, flags),
            },
        }
    }

    fn tick(&mut self) {
        if self.now >= self.sweep_at {
            self.sweep_at = self.now + SWEEP_EVERY;
            self.sweep();
        }
        self.fill_pools();
        let Some(deadline) = self.drain else { return };
        if self.now >= deadline {
            self.reset_flows(Reason::Drained, |_| true);
        }
    }

    /// A drain is over when no flow is left and the last words over KCP have arrived; what the kernel holds it delivers.
    fn end_drain(&mut self) {
        let Some(deadline) = self.drain.filter(|_| self.flows.is_empty()) else {
            return self.mailbox.drained.store(self.drain.is_none() && self.has_left(), Relaxed);
        };
        let waits = |carrier: &Carrier| !carrier.link.may_close();
        if self.now < deadline + LAST_WORDS && self.carriers.iter().any(|(_, carrier)| waits(carrier)) {
            return;
        }
        for key in self.carriers.keys(|carrier| matches!(carrier.link, Link::Kcp(_))) {
            self.carriers.remove(key);
        }
        self.mailbox.drained.store(true, Relaxed);
    }

    fn open_door(&mut self, door: Option<DoorPort>) {
        let Some(DoorPort { door, relay }) = door else { return };
        relay.into_iter().for_each(|relay| self.kcp.relays.set_before(relay));
        // Level-triggered, as listeners are. Conversations that have begun at the one before keep it.
        if let Err(error) = epoll::add(&self.epoll, &door, EventData::new_u64(Token::Door.encode()), EventFlags::IN) {
            control::log::error("the KCP port cannot be watched", &[("error", &error.to_string())]);
        }
        self.kcp.door = Some(door);
    }

    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Takes over a new state: listeners first, then what the state does not want any more, then warm carriers.
    fn apply(&mut self, config: Arc<Config>, data: DataPort, new: Vec<Bound>) {
        let before = std::mem::replace(&mut self.config, config);
        if self.drain.is_some() {
            return;
        }
        if let DataPort::Replace(fd) = data {
            for key in self.listeners.keys(|listener| matches!(listener.role, ListenerRole::Data)) {
                self.unlisten(key);
            }
            if let Some(fd) = fd {
                self.listen(fd, ListenerRole::Data);
            }
        }
        let config = self.config.clone();
        for key in self.listeners.keys(|_| true) {
            let Some(listener) = self.listeners.get_mut(key) else { continue };
            let ListenerRole::Tproxy { name, steering } = &mut listener.role else { continue };
            match config.listeners.get(name) {
                Some(now) => *steering = now.clone(),
                None => self.unlisten(key),
            }
        }
        for bound in new {
            if let Some(steering) = config.listeners.get(&bound.name) {
                self.listen(bound.fd, ListenerRole::Tproxy { name: bound.name, steering: steering.clone() });
            }
        }
        if before.kcp_congestion_control != config.kcp_congestion_control {
            self.set_congestion_control(config.kcp_congestion_control);
        }
        self.drop_unwanted(&before);
        self.adjust_pools();
    }

    /// Another engine may have the same socket, so closing it alone would not end its events.
    fn unlisten(&mut self, key: Key) {
        if let Some(listener) = self.listeners.remove(key) {
            let _ = epoll::delete(&self.epoll, &listener.fd);
        }
    }

    fn listen(&mut self, fd: Arc<OwnedFd>, role: ListenerRole) {
        let key = self.listeners.insert(Listener { fd, role });
        if let Some(listener) = self.listeners.get(key) {
            // Level-triggered: what one turn leaves is there in the next.
            let added = epoll::add(
                &self.epoll,
                &listener.fd,
                EventData::new_u64(Token::Listener(key).encode()),
                EventFlags::IN,
            );
            if let Err(error) = added {
                control::log::error("a listener cannot be watched", &[("error", &error.to_string())]);
            }
        }
    }

    fn start_drain(&mut self, deadline: Instant) {
        self.drain = Some(self.drain.map_or(deadline, |before| before.min(deadline)));
        for key in self.listeners.keys(|_| true) {
            self.unlisten(key);
        }
        for pool in self.pools.values_mut() {
            pool.close();
        }
        for key in self.carriers.keys(|carrier| carrier.ours && carrier.flow.is_none()) {
            self.close_carrier(key);
        }
        self.reset_flows(Reason::Drained, |flow| flow.carrier.is_none() && !flow.up_ended);
    }

    /// Edge-triggered, once and for all.
    pub fn watch(&self, fd: &impl std::os::fd::AsFd, token: Token) -> rustix::io::Result<()> {
        let flags = EventFlags::IN | EventFlags::PRI | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, fd, EventData::new_u64(token.encode()), flags)
    }

    /// For jitter only.
    pub fn random_unit(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }
}
