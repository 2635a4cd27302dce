//! The engine as the control socket sees it: compiles each state, makes its listeners, hands both to the workers and
//! answers when all of them have it in force.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc::channel},
    thread,
    time::{Duration, Instant},
};

use control::{Events, Exit, Failure, FlowsQuery, ObjectError, Options, Secrets};
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::{
    aead::fast_aes,
    config::Config,
    flow_list::FlowList,
    gate::Gate,
    kcp::{Cookies, Udp},
    limits::{APPLY_TIMEOUT, FLOWS_TIMEOUT},
    listener::{self, Bound, LOOPBACKS, OwnAddresses},
    peer::PeerStats,
    refusals::Refusals,
    service::ServiceStats,
    state::{ListenerStatus, State, Transport},
    worker::{Command, DataPort, Mailbox, Shared, Worker},
};

pub struct Pegasus {
    shared: Arc<Shared>,
    mailboxes: Vec<Arc<Mailbox>>,
    config: Arc<Config>,
    /// Names in force and their ports.
    ports: FxHashMap<Arc<str>, u16>,
    data: Option<SocketAddr>,
    door: Door,
}

/// The KCP port: the one above the data port.
#[derive(Default)]
struct Door {
    address: Option<SocketAddr>,
    sockets: Vec<Arc<Udp>>,
    mark: u32,
}

#[derive(Serialize)]
pub struct Status {
    listeners: Vec<ListenerStatus>,
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
        let (config, ports, door) = (Arc::new(Config::empty()), FxHashMap::default(), Door::default());
        Ok(Self { shared, mailboxes, config, ports, data: None, door })
    }

    fn data_port(&mut self, text: &str, errors: &mut Vec<ObjectError>) -> Vec<DataPort> {
        let keep = || self.mailboxes.iter().map(|_| DataPort::Keep).collect();
        let Ok(address) = text.parse::<SocketAddr>() else {
            errors.push(ObjectError::new("engine", "InvalidAddress", format!("data_listen {text:?} is not IP:PORT")));
            return keep();
        };
        if self.data == Some(address) {
            return keep();
        }
        match listener::data(address, self.mailboxes.len()) {
            Ok((_, fds)) => {
                self.data = Some(address);
                fds.into_iter().map(|fd| DataPort::Replace(Some(fd))).collect()
            }
            Err(error) => {
                let message =
                    format!("cannot listen on {address}: {error}; stop what uses it or choose another --data-listen");
                errors.push(ObjectError::new("engine", "ListenFailed", message));
                keep()
            }
        }
    }

    /// The KCP port's new sockets, if it is to be opened. When it cannot be, the services that need it say so.
    fn open_door(&mut self, state: &State, errors: &mut Vec<ObjectError>) -> Vec<Option<Arc<Udp>>> {
        let none = self.mailboxes.iter().map(|_| None).collect();
        if self.door.mark != state.bypass_mark {
            self.door.mark = state.bypass_mark;
            self.door.sockets.iter().for_each(|socket| drop(socket.set_mark(state.bypass_mark)));
        }
        let Some(data) = self.data else { return none };
        let above = data.port().checked_add(1).map(|port| SocketAddr::new(data.ip(), port));
        if above.is_some() && self.door.address == above {
            return none;
        }
        let opened = above.ok_or(std::io::ErrorKind::AddrNotAvailable.into());
        match opened.and_then(|address| Udp::door(address, state.bypass_mark, self.mailboxes.len())) {
            Ok(sockets) => {
                self.door.sockets = sockets.into_iter().map(Arc::new).collect();
                self.door.address = above;
                self.door.sockets.iter().cloned().map(Some).collect()
            }
            Err(error) => {
                let inbound = state.inbound.iter().filter(|service| service.transport == Transport::Kcp);
                for service in inbound {
                    let message = format!(
                        "cannot take KCP carriers on UDP port {}, the one above the data port: {error}; \
                         stop what uses it or choose another --data-listen",
                        u32::from(data.port()) + 1
                    );
                    errors.push(ObjectError::new(format!("service:{}", service.service_id), "ListenFailed", message));
                }
                control::log::warn("the KCP port cannot be opened", &[("data", &data), ("error", &error.to_string())]);
                none
            }
        }
    }

    /// Makes the sockets of new listeners, forgets the names that are gone.
    fn listeners(&mut self, state: &State, config: &Config, errors: &mut Vec<ObjectError>) -> Vec<Vec<Bound>> {
        self.ports.retain(|name, _| config.listeners.contains_key(name));
        let mut new: Vec<Vec<Bound>> = self.mailboxes.iter().map(|_| Vec::new()).collect();
        for wanted in &state.listeners {
            let Some((name, _)) = config.listeners.get_key_value(wanted.name.as_str()) else { continue };
            if self.ports.contains_key(name) {
                continue;
            }
            match listener::tproxy(name, wanted.port, self.mailboxes.len()) {
                Ok((port, bound)) => {
                    self.ports.insert(name.clone(), port);
                    new.iter_mut().zip(bound).for_each(|(all, more)| all.extend(more));
                }
                Err(error) => {
                    let object = wanted.service_id.as_ref().map_or("engine".to_owned(), |id| format!("service:{id}"));
                    errors.push(ObjectError::new(object, "ListenFailed", format!("listener {name}: {error}")));
                }
            }
        }
        new
    }

    fn own_addresses(&self) -> HashSet<SocketAddr> {
        let ports = self.ports.values().flat_map(|port| LOOPBACKS.map(|ip| SocketAddr::new(ip, *port)));
        ports.chain(self.data).collect()
    }
}

impl control::Engine for Pegasus {
    const NAME: &'static str = "pegasus";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type State = State;
    type Status = Status;
    type Stats = Stats;

    fn status(&self) -> Status {
        let mut listeners: Vec<_> =
            self.ports.iter().map(|(name, port)| ListenerStatus { name: name.to_string(), port: *port }).collect();
        listeners.sort_by(|a, b| a.name.cmp(&b.name));
        Status { listeners }
    }

    fn apply(&mut self, generation: u64, secrets: &Secrets, state: State) -> Vec<ObjectError> {
        let (config, mut errors) = Config::compile(&state, secrets, &self.config);
        let config = Arc::new(config);
        let data: Vec<DataPort> = self.data_port(&state.data_listen, &mut errors);
        let doors = self.open_door(&state, &mut errors);
        let new = self.listeners(&state, &config, &mut errors);
        self.shared.own.set(self.own_addresses());
        let (done, all_done) = channel();
        for (((mailbox, data), door), new) in self.mailboxes.iter().zip(data).zip(doors).zip(new) {
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

    fn drain(&mut self, timeout: Duration) {
        for mailbox in &self.mailboxes {
            mailbox.post(Command::Drain { deadline: Instant::now() + timeout });
        }
    }

    fn drained(&mut self) -> bool {
        self.mailboxes.iter().all(|mailbox| mailbox.drained.load(Relaxed))
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
