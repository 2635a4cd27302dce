//! The engine as the control socket sees it: compiles each state, makes its listeners, hands both to the workers and
//! answers when all of them have it in force.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc::channel},
    thread,
    time::{Duration, Instant},
};

use control::{Events, Exit, Failure, FlowsQuery, ObjectError, Options, Secrets};
use serde::Serialize;

use crate::{
    aead::fast_aes,
    config::Config,
    flow_list::FlowList,
    gate::Gate,
    kcp::Cookies,
    kept::Kept,
    limits::{APPLY_TIMEOUT, FLOWS_TIMEOUT},
    listener::{self, OwnAddresses},
    peer::PeerStats,
    ports::{Change, Ports},
    refusals::Refusals,
    service::ServiceStats,
    state::{ListenerStatus, State, StateChange},
    succession::{Neighbours, Succession, VERSION},
    worker::{Command, Mailbox, Shared, Worker},
};

pub struct Pegasus {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    config: Arc<Config>,
    kept: Kept,
    pub(crate) ports: Ports,
    pub(crate) succession: Succession,
}

#[derive(Serialize)]
pub struct Status {
    listeners: Vec<ListenerStatus>,
    workers: usize,
    /// The version of handing over that it speaks.
    hand_over: u32,
    has_successor: bool,
}

#[derive(Serialize)]
pub struct Stats {
    services: Vec<ServiceStats>,
    peers: Vec<PeerStats>,
    refused_total: u64,
}

impl Pegasus {
    /// Checks what the host must allow, and starts the workers.
    pub fn start(options: &Options, events: Events) -> Result<Self, Failure> {
        let refuses = |what: String| Failure::new(Exit::HostRefuses, what);
        listener::may_intercept().map_err(|error| {
            refuses(format!(
                "cannot intercept connections: {error}; run as root or with CAP_NET_ADMIN in this network namespace"
            ))
        })?;
        raise_file_limit();
        let shared = Arc::new(Shared {
            refusals: Refusals::new(events.clone()),
            events,
            gate: Gate::default(),
            own: OwnAddresses::default(),
            cookies: Cookies::new(random()),
            started: Instant::now(),
            fast_aes: fast_aes(),
            neighbours: Neighbours::default(),
        });
        let mut mailboxes = Vec::new();
        for index in 0..options.workers {
            let cannot = |error: std::io::Error| {
                refuses(format!("cannot start worker {index}: {error}; raise the limits of files or threads"))
            };
            let mailbox = Arc::new(Mailbox::new().map_err(|error| cannot(error.into()))?);
            let worker =
                Worker::new(index as u8, shared.clone(), mailbox.clone()).map_err(|error| cannot(error.into()))?;
            thread::Builder::new().name(format!("worker-{index}")).spawn(move || worker.run()).map_err(cannot)?;
            mailboxes.push(mailbox);
        }
        control::log::info("workers started", &[("workers", &options.workers), ("fast_aes", &shared.fast_aes)]);
        let ports = Ports::new(mailboxes.len());
        let succession = Succession::new(options.succeeds.clone());
        Ok(Self { shared, mailboxes, config: Arc::new(Config::empty()), kept: Kept::default(), ports, succession })
    }

    /// Hands a state to the workers, and waits until all of them have it. Answers what of it cannot be in force.
    fn bring_into_force(&mut self, generation: u64, config: Config) -> Vec<ObjectError> {
        let mut errors: Vec<ObjectError> = self.kept.errors().cloned().collect();
        let config = Arc::new(config);
        let changes = self.ports.bring_to(&config, control::Engine::has_successor(self), &mut errors);
        self.shared.own.set(self.ports.addresses());
        self.shared.neighbours.set_config(config.clone());
        let (done, all_done) = channel();
        for (mailbox, Change { data, door, new }) in self.mailboxes.iter().zip(changes) {
            mailbox.post(Command::Apply { config: config.clone(), data, door, new, done: done.clone() });
        }
        let deadline = Instant::now() + APPLY_TIMEOUT;
        for _ in &self.mailboxes {
            if all_done.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
                let message = "a worker has not taken the state over in time; it follows as soon as it can";
                errors.push(ObjectError::new("engine", "Busy", message));
                break;
            }
        }
        self.config = config;
        control::log::debug("applied", &[("generation", &generation), ("errors", &errors.len())]);
        errors
    }
}

impl control::Engine for Pegasus {
    const NAME: &'static str = "pegasus";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type State = State;
    type Change = StateChange;
    const TAKES_CHANGES: bool = true;
    type Status = Status;
    type Stats = Stats;

    fn status(&self) -> Status {
        Status {
            listeners: self.ports.status(),
            workers: self.mailboxes.len(),
            hand_over: VERSION,
            has_successor: control::Engine::has_successor(self),
        }
    }

    fn apply(&mut self, generation: u64, secrets: &Secrets, state: State) -> Result<Vec<ObjectError>, ObjectError> {
        let link = self.take_over()?;
        let (config, kept) = Config::compile(&state, secrets, &self.config);
        self.kept = kept;
        let errors = self.bring_into_force(generation, config);
        if let Some(link) = link {
            self.is_in_force(link);
        }
        Ok(errors)
    }

    fn change(&mut self, generation: u64, secrets: &Secrets, change: StateChange) -> Result<Vec<ObjectError>, String> {
        let config = self.config.changed(&change, secrets, &mut self.kept)?;
        Ok(self.bring_into_force(generation, config))
    }

    fn stats(&mut self) -> Stats {
        let config = &self.config;
        let outbound = config.outbound.values().map(|outbound| outbound.service.stats());
        let services = outbound.chain(config.inbound.values().map(|inbound| inbound.service.stats())).collect();
        let by_kcp = config.kcp_peers.values().filter(|peer| peer.is_in_use());
        let peers = config.peers.values().chain(by_kcp).map(|peer| peer.stats()).collect();
        Stats { services, peers, refused_total: self.shared.refusals.total() }
    }

    fn flows(&mut self, query: &FlowsQuery) -> Option<serde_json::Value> {
        let id = query.service_id.as_str();
        let outbound = self.config.outbound.get(id).map(|outbound| outbound.service.clone());
        let inbound = self.config.inbound.get(id).map(|inbound| inbound.service.clone());
        let services: Vec<_> = outbound.into_iter().chain(inbound).collect();
        let (answer, answers) = channel();
        for mailbox in &self.mailboxes {
            let (services, query, answer) = (services.clone(), query.clone(), answer.clone());
            mailbox.post(Command::Flows { services, query, answer });
        }
        let deadline = Instant::now() + FLOWS_TIMEOUT;
        let mut list = FlowList::default();
        for _ in &self.mailboxes {
            match answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(more) => list.join(more, query),
                Err(_) => break,
            }
        }
        serde_json::to_value(list).ok()
    }

    fn hand_over(&mut self, version: u32) -> Result<OwnedFd, &'static str> {
        self.lend(version)
    }

    fn stand_aside(&mut self) -> Result<(), &'static str> {
        self.step_aside()
    }

    fn has_successor(&self) -> bool {
        self.succession.is_leaving()
    }

    fn drain(&mut self, timeout: Duration) {
        self.succession.draining = true;
        for mailbox in &self.mailboxes {
            mailbox.post(Command::Drain { deadline: Instant::now() + timeout });
        }
    }

    fn drained(&mut self) -> bool {
        self.mailboxes.iter().all(|mailbox| mailbox.drained.load(Relaxed)) && self.may_go()
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    // Without randomness no handshake succeeds either.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// Two descriptors per flow: as many as the host allows.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        control::log::warn("the limit of open files stays", &[("error", &error.to_string())]);
    }
}
