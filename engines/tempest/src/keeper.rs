//! The keeper: the one thread that decides. It brings the engine to the state that the agent wants, makes and answers
//! handshakes, looks at timers, and finds devices. Bytes pass it by.
//!
//! Each round: 1. commands, 2. handshakes that workers want, 3. sessions that peers confirmed, 4. a few letters,
//! 5. when it is time, every timer; 6. devices that are missing; 7. lines about strangers.

mod identities;
mod letters;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use control::{Events, ObjectError, Secrets, log};
use serde::Serialize;

use crate::{
    clock::{self, Millis},
    desk::{Command, Pile},
    devices::Devices,
    limits::{HANDSHAKES_UNDER_LOAD, TICK, UNDER_LOAD_FOR},
    listener::Listener,
    noise::PublicKey,
    peer::{News, Peer},
    shared::Shared,
    state::{State, Wanted, understand},
    tunnel::Tunnel,
    worker::{Mailbox, Order},
};
use identities::Identities;
use letters::Load;

/// Letters looked at before commands are again.
const LETTERS_PER_ROUND: usize = 32;

/// What came of an `apply`.
pub struct Applied {
    pub errors: Vec<ObjectError>,
    /// 0: not listening.
    pub port: u16,
}

pub struct Keeper {
    shared: Arc<Shared>,
    workers: Vec<Mailbox>,
    events: Events,
    listener: Listener,
    devices: Devices,
    identities: Identities,
    peers: HashMap<u64, Peer>,
    by_key: HashMap<PublicKey, u64>,
    next_id: u64,
    ticked_at: Millis,
    load: Load,
}

#[derive(Serialize)]
struct TunnelEvent<'a> {
    peer_id: &'a str,
    state: &'a str,
    endpoint: Option<String>,
    error: Option<String>,
}

impl Keeper {
    pub fn new(shared: Arc<Shared>, workers: Vec<Mailbox>, events: Events) -> Self {
        Self {
            listener: Listener::new(workers.clone()),
            devices: Devices::new(workers.clone()),
            shared,
            workers,
            events,
            identities: Identities::default(),
            peers: HashMap::new(),
            by_key: HashMap::new(),
            next_id: 0,
            ticked_at: 0,
            load: Load::default(),
        }
    }

    /// Until stopped.
    pub fn run(mut self) {
        loop {
            let since = clock::now().saturating_sub(self.ticked_at);
            let wait = TICK.saturating_sub(Duration::from_millis(since));
            let (pile, waiting) = self.shared.desk.take(wait, LETTERS_PER_ROUND);
            let now = clock::now();
            if waiting >= HANDSHAKES_UNDER_LOAD {
                self.load.until = now + UNDER_LOAD_FOR.as_millis() as Millis;
            }
            if !self.round(pile, now) {
                return;
            }
        }
    }

    /// False: stop.
    fn round(&mut self, pile: Pile, now: Millis) -> bool {
        for command in pile.commands {
            match command {
                // A caller that has gone away does not need the answer.
                Command::Apply { secrets, state, answer } => {
                    let applied = self.apply(&secrets, state, now);
                    let _ = answer.send(applied);
                }
                Command::Stop { answer } => {
                    self.stop();
                    let _ = answer.send(());
                    return false;
                }
            }
        }
        for id in pile.wanted {
            self.ask(id, now);
        }
        for id in pile.confirmed {
            self.established(id);
        }
        for letter in pile.letters {
            self.read(&letter, now);
        }
        if now.saturating_sub(self.ticked_at) >= TICK.as_millis() as Millis {
            self.ticked_at = now;
            self.tick(now);
        }
        true
    }

    // ---- state ----

    fn apply(&mut self, secrets: &Secrets, state: State, now: Millis) -> Applied {
        let mut errors = Vec::new();
        if !self.identities.update(secrets, now) {
            self.remove_all();
        }
        if let Err(message) = self.listener.want(state.data_listen, state.bypass_mark) {
            errors.push(ObjectError::new("engine", "ListenFailed", message));
        }
        let (wanted, faults) = understand(state.tunnels, |key| self.identities.is_own(key));
        errors.extend(faults);

        let keep: HashMap<&str, &Wanted> = wanted.iter().map(|one| (one.peer_id.as_str(), one)).collect();
        // A peer stays when it has one of its keys still.
        let stays = |peer: &Peer| {
            keep.get(peer.tunnel.peer_id.as_str()).is_some_and(|one| one.keys().any(|key| peer.has_key(key)))
        };
        let over: Vec<u64> = self.peers.iter().filter(|(_, peer)| !stays(peer)).map(|(id, _)| *id).collect();
        for id in over {
            self.remove(id);
        }
        for one in wanted {
            if let Err(error) = self.bring(one) {
                errors.push(error);
            }
        }
        self.list_tunnels();
        // Whoever is to be spoken to at once is.
        self.tick(now);
        Applied { errors, port: self.listener.port() }
    }

    /// Makes the tunnel or brings it to what is wanted.
    fn bring(&mut self, wanted: Wanted) -> Result<(), ObjectError> {
        let id = match wanted.keys().find_map(|key| self.by_key.get(key)) {
            Some(id) => *id,
            None => self.add(&wanted),
        };
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(()) };
        self.by_key.retain(|_, of| *of != id);
        peer.set_keys(wanted.public_key, wanted.public_key_before);
        peer.use_key_before = wanted.use_key_before;
        self.by_key.extend(peer.public_keys().map(|key| (*key, id)));
        if self.identities.towards(peer).is_some_and(|identity| peer.has_newer_keys(identity)) {
            // The tick after this begins it.
            peer.tunnel.activity.want_handshake();
        }
        peer.keepalive_ms = wanted.keepalive_s.saturating_mul(1000);
        peer.set_endpoints(wanted.endpoints);
        let tunnel = peer.tunnel.clone();
        tunnel.mtu.store(wanted.mtu, std::sync::atomic::Ordering::Relaxed);
        self.devices
            .want(&tunnel, &wanted.device)
            .map_err(|message| ObjectError::new(format!("peer:{}", tunnel.peer_id), "DeviceMissing", message))
    }

    fn add(&mut self, wanted: &Wanted) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let tunnel = Tunnel::new(id, wanted.peer_id.clone(), wanted.device.clone(), wanted.mtu);
        self.peers.insert(id, Peer::new(Arc::new(tunnel), wanted.public_key));
        id
    }

    fn remove(&mut self, id: u64) {
        let Some(peer) = self.peers.remove(&id) else { return };
        self.by_key.retain(|_, of| *of != id);
        self.devices.forget(&peer.tunnel);
        self.shared.table.remove(&peer.tunnel.close());
    }

    fn remove_all(&mut self) {
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.remove(id);
        }
        self.list_tunnels();
    }

    fn stop(&mut self) {
        self.remove_all();
        self.identities = Identities::default();
        for worker in &self.workers {
            worker.send(Order::Stop);
        }
    }

    fn list_tunnels(&self) {
        let mut tunnels: Vec<_> = self.peers.values().map(|peer| peer.tunnel.clone()).collect();
        tunnels.sort_by_key(|tunnel| tunnel.id);
        *self.shared.tunnels.write().unwrap_or_else(PoisonError::into_inner) = tunnels;
    }

    // ---- handshakes ----

    fn ask(&mut self, id: u64, now: Millis) {
        let (index, wire) = (self.free_index(), self.listener.wire());
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(identity) = self.identities.towards(peer) else { return };
        peer.ask(identity, index, &wire, &self.shared.timing, now);
    }

    fn established(&mut self, id: u64) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let news = peer.established();
        let tunnel = peer.tunnel.clone();
        self.devices.worker_of(&tunnel).send(Order::Flush(id));
        self.tell(&tunnel, news);
    }

    /// An index that names no session here; random, so that it tells nothing.
    fn free_index(&self) -> u32 {
        loop {
            let mut bytes = [0; 4];
            // Without entropy no handshake can be made anyway.
            let _ = getrandom::fill(&mut bytes);
            let index = u32::from_le_bytes(bytes);
            if !self.shared.table.contains(index) && self.find_asking(index).is_none() {
                return index;
            }
        }
    }

    // ---- time ----

    fn tick(&mut self, now: Millis) {
        self.listener.tick(now);
        if !self.identities.is_empty() {
            let wire = self.listener.wire();
            let ids: Vec<u64> = self.peers.keys().copied().collect();
            let mut index = self.free_index();
            let mut news = Vec::new();
            for id in ids {
                let Some(peer) = self.peers.get_mut(&id) else { continue };
                let Some(identity) = self.identities.towards(peer) else { continue };
                let (gone, new) = peer.tick(identity, index, &wire, &self.shared.timing, now);
                let is_used = peer.asking_index() == Some(index);
                news.extend(new.map(|new| (peer.tunnel.clone(), new)));
                self.shared.table.remove(&gone);
                if is_used {
                    index = self.free_index();
                }
            }
            for (tunnel, new) in news {
                self.tell(&tunnel, Some(new));
            }
        }
        self.devices.tick(now);
        self.shared.refusals.say(&self.events, now);
    }

    fn tell(&self, tunnel: &Tunnel, news: Option<News>) {
        let Some(news) = news else { return };
        let peer_id = tunnel.peer_id.as_str();
        match news {
            News::Up(endpoint) => {
                log::info("tunnel is up", &[("peer", &peer_id), ("endpoint", &endpoint.to_string())]);
                let endpoint = Some(endpoint.to_string());
                self.events.send("tunnel", TunnelEvent { peer_id, state: "up", endpoint, error: None });
            }
            News::Down(error) => {
                log::warn("tunnel is down", &[("peer", &peer_id), ("error", &error)]);
                let endpoint = tunnel.endpoint().map(|endpoint| endpoint.to_string());
                self.events.send("tunnel", TunnelEvent { peer_id, state: "down", endpoint, error: Some(error) });
            }
        }
    }
}
