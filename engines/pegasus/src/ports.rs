//! The engine's listening sockets: which there are, and what has to change for a new state. Made once for all workers, so
//! that their ports are known before the state is answered; or taken from the engine before this one.

use std::{collections::HashSet, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use control::ObjectError;
use rustc_hash::FxHashMap;

use crate::{
    config::{Config, Steering},
    kcp::Udp,
    listener::{self, Bound, LOOPBACKS},
    state::{ListenerStatus, Transport},
    succession::{Estate, Lent, Listening},
    worker::{DataPort, DoorPort},
};

pub struct Ports {
    workers: usize,
    listeners: FxHashMap<Arc<str>, Listening>,
    data: Option<(SocketAddr, Vec<Arc<OwnedFd>>)>,
    door: Door,
    /// Of the engine before this one, until the first state is in force.
    pub inherited: Estate,
}

/// The KCP port: the one above the data port.
#[derive(Default)]
struct Door {
    address: Option<SocketAddr>,
    sockets: Vec<Arc<Udp>>,
    mark: u32,
}

/// What is new for one worker.
pub struct Change {
    pub data: DataPort,
    pub door: Option<DoorPort>,
    pub new: Vec<Bound>,
}

impl Ports {
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            listeners: FxHashMap::default(),
            data: None,
            door: Door::default(),
            inherited: Estate::default(),
        }
    }

    pub fn status(&self) -> Vec<ListenerStatus> {
        let named = |(name, listening): (&Arc<str>, &Listening)| ListenerStatus {
            name: name.to_string(),
            port: listening.port,
        };
        let mut listeners: Vec<_> = self.listeners.iter().map(named).collect();
        listeners.sort_by(|a, b| a.name.cmp(&b.name));
        listeners
    }

    pub fn addresses(&self) -> HashSet<SocketAddr> {
        let ports =
            self.listeners.values().flat_map(|listening| LOOPBACKS.map(|ip| SocketAddr::new(ip, listening.port)));
        ports.chain(self.data.as_ref().map(|(address, _)| *address)).collect()
    }

    /// `leaving`: what the state wants new is the successor's to make.
    pub fn bring_to(
        &mut self,
        config: &Config,
        leaving: bool,
        errors: &mut Vec<ObjectError>,
    ) -> impl Iterator<Item = Change> + use<> {
        let data = self.data_port(&config.data_listen, leaving, errors);
        let doors = self.open_door(config, leaving, errors);
        let new = self.listeners(config, leaving, errors);
        self.inherited = Estate::default();
        data.into_iter().zip(doors).zip(new).map(|((data, door), new)| Change { data, door, new })
    }

    /// Everything, for a successor. `relays`: its ends, one per worker.
    pub fn lend(&self, relays: Vec<OwnedFd>) -> Lent {
        let doors = self.door.sockets.iter().cloned().zip(relays).collect();
        Lent {
            workers: self.workers,
            data: self.data.clone(),
            door: self.door.address.map(|address| (address, doors)),
            listeners: self.listeners.iter().map(|(name, listening)| (name.clone(), listening.clone())).collect(),
        }
    }

    pub fn has_door(&self) -> bool {
        self.door.address.is_some()
    }

    fn data_port(&mut self, text: &str, leaving: bool, errors: &mut Vec<ObjectError>) -> Vec<DataPort> {
        let all = |of: fn() -> DataPort| (0..self.workers).map(|_| of()).collect();
        let Ok(address) = text.parse::<SocketAddr>() else {
            errors.push(ObjectError::new("engine", "InvalidAddress", format!("data_listen {text:?} is not IP:PORT")));
            return all(|| DataPort::Keep);
        };
        if self.data.as_ref().is_some_and(|(before, _)| *before == address) {
            return all(|| DataPort::Keep);
        }
        if leaving {
            self.data = None;
            return all(|| DataPort::Replace(None));
        }
        let inherited = self.inherited.data.take().filter(|(there, _)| *there == address).map(|(_, sockets)| sockets);
        let made = inherited.map_or_else(
            || listener::data(address, self.workers).map(|(_, fds)| fds.into_iter().map(Arc::new).collect()),
            Ok,
        );
        match made {
            Ok(sockets) => {
                self.data = Some((address, sockets.clone()));
                sockets.into_iter().map(|fd| DataPort::Replace(Some(fd))).collect()
            }
            Err(error) => {
                let message =
                    format!("cannot listen on {address}: {error}; stop what uses it or choose another --data-listen");
                errors.push(ObjectError::new("engine", "ListenFailed", message));
                all(|| DataPort::Keep)
            }
        }
    }

    /// The KCP port's new sockets, if it is to be opened. When it cannot be, the services that need it say so.
    fn open_door(&mut self, config: &Config, leaving: bool, errors: &mut Vec<ObjectError>) -> Vec<Option<DoorPort>> {
        let none = (0..self.workers).map(|_| None).collect();
        if self.door.mark != config.bypass_mark {
            self.door.mark = config.bypass_mark;
            self.door.sockets.iter().for_each(|socket| drop(socket.set_mark(config.bypass_mark)));
        }
        let Some((data, _)) = self.data.as_ref().filter(|_| !leaving) else { return none };
        let above = data.port().checked_add(1).map(|port| SocketAddr::new(data.ip(), port));
        if above.is_some() && self.door.address == above {
            return none;
        }
        let relays = std::mem::take(&mut self.inherited.relays).into_iter().map(Some).chain(std::iter::repeat(None));
        let inherited = self.inherited.door.take().filter(|(there, _)| Some(*there) == above);
        let opened = match (inherited, above) {
            (Some((_, doors)), _) => doors.into_iter().map(Udp::adopt).collect(),
            (None, Some(above)) => Udp::door(above, config.bypass_mark, self.workers),
            (None, None) => Err(std::io::ErrorKind::AddrNotAvailable.into()),
        };
        match opened {
            Ok(sockets) => {
                self.door.sockets = sockets.into_iter().map(Arc::new).collect();
                self.door.address = above;
                let doors = self.door.sockets.iter().cloned().zip(relays);
                doors.map(|(door, relay)| Some(DoorPort { door, relay })).collect()
            }
            Err(error) => {
                for inbound in config.inbound.values().filter(|inbound| inbound.transport == Transport::Kcp) {
                    let message = format!(
                        "cannot take KCP carriers on UDP port {}, the one above the data port: {error}; \
                         stop what uses it or choose another --data-listen",
                        u32::from(data.port()) + 1
                    );
                    errors.push(ObjectError::new(format!("service:{}", inbound.service.id), "ListenFailed", message));
                }
                control::log::warn("the KCP port cannot be opened", &[("data", data), ("error", &error.to_string())]);
                none
            }
        }
    }

    /// Makes the sockets of new listeners, forgets the names that are gone.
    fn listeners(&mut self, config: &Config, leaving: bool, errors: &mut Vec<ObjectError>) -> Vec<Vec<Bound>> {
        self.listeners.retain(|name, _| config.listeners.contains_key(name));
        let mut new: Vec<Vec<Bound>> = (0..self.workers).map(|_| Vec::new()).collect();
        let is_missing = |(name, _): &(&Arc<str>, _)| !leaving && !self.listeners.contains_key(*name);
        let mut missing: Vec<(&Arc<str>, &Arc<Steering>)> = config.listeners.iter().filter(is_missing).collect();
        missing.sort_by_key(|(name, _)| *name);
        for (name, steering) in missing {
            let wish = config.wishes.get(name).copied().unwrap_or_default();
            let inherited = self.inherited.listeners.remove(name);
            match inherited.map_or_else(|| listener::tproxy(wish, self.workers), Ok) {
                Ok(listening) => {
                    for (all, sockets) in new.iter_mut().zip(&listening.sockets) {
                        all.extend(sockets.iter().map(|fd| Bound { name: name.clone(), fd: fd.clone() }));
                    }
                    self.listeners.insert(name.clone(), listening);
                }
                Err(error) => {
                    let object = match &**steering {
                        Steering::Service(id) => format!("service:{id}"),
                        Steering::Table(_) => "engine".to_owned(),
                    };
                    errors.push(ObjectError::new(object, "ListenFailed", format!("listener {name}: {error}")));
                }
            }
        }
        new
    }
}
