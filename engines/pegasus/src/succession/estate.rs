//! The listening sockets of an engine, as it lends them and as its successor gets them.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Instant,
};

use super::{
    link::{Heard, Link},
    word::Word,
};
use crate::{kcp::Udp, limits::NEIGHBOUR_TIMEOUT};

/// The sockets of one listener.
#[derive(Clone)]
pub struct Listening {
    pub port: u16,
    /// Each worker's: one for each family.
    pub sockets: Vec<Vec<Arc<OwnedFd>>>,
}

/// A worker's socket of the KCP port, and the successor's end of its relay.
pub type LentDoor = (Arc<Udp>, OwnedFd);

/// What an engine lends: it keeps all of it.
pub struct Lent {
    pub workers: usize,
    pub data: Option<(SocketAddr, Vec<Arc<OwnedFd>>)>,
    pub door: Option<(SocketAddr, Vec<LentDoor>)>,
    pub listeners: Vec<(Arc<str>, Listening)>,
}

/// What a successor got, each worker's share in its place.
#[derive(Default)]
pub struct Estate {
    pub data: Option<(SocketAddr, Vec<Arc<OwnedFd>>)>,
    pub door: Option<(SocketAddr, Vec<OwnedFd>)>,
    /// For datagrams that arrive at the door for the one before.
    pub relays: Vec<Arc<OwnedFd>>,
    pub listeners: HashMap<Arc<str>, Listening>,
}

impl Lent {
    /// Says all of it, and then that it was all.
    pub fn hand_to(self, link: &Link) -> io::Result<()> {
        if let Some((address, sockets)) = &self.data {
            for (worker, socket) in sockets.iter().enumerate() {
                link.say(&Word::Data { address: *address, worker }, &[socket.as_fd()])?;
            }
        }
        if let Some((address, doors)) = &self.door {
            for (worker, (door, relay)) in doors.iter().enumerate() {
                link.say(&Word::Door { address: *address, worker }, &[door.as_fd(), relay.as_fd()])?;
            }
        }
        for (name, Listening { port, sockets }) in &self.listeners {
            for (worker, sockets) in sockets.iter().enumerate() {
                let fds: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
                link.say(&Word::Listener { name: name.clone(), port: *port, worker }, &fds)?;
            }
        }
        link.say(&Word::All { workers: self.workers }, &[])
    }
}

impl Estate {
    /// Takes what the engine before has to give. It is for as many workers as there are there, and so has to be here.
    pub fn take(link: &Link, workers: usize) -> Result<Self, String> {
        let deadline = Instant::now() + NEIGHBOUR_TIMEOUT;
        let mut estate = Self::default();
        loop {
            match link.hear(deadline.saturating_duration_since(Instant::now())) {
                Heard::Word(Word::All { workers: there }, _) if there == workers => return Ok(estate),
                Heard::Word(Word::All { workers: there }, _) => {
                    return Err(format!(
                        "it has {there} workers, this one {workers}; start this one with --workers {there}"
                    ));
                }
                Heard::Word(word, fds) => estate.add(word, fds)?,
                Heard::Nothing if Instant::now() < deadline => (),
                Heard::Nothing => return Err("it does not say what it hands over".into()),
                Heard::End => return Err("it ended meanwhile".into()),
            }
        }
    }

    /// In the order in which it is said: worker by worker.
    fn add(&mut self, word: Word, fds: Vec<OwnedFd>) -> Result<(), String> {
        let mut fds = fds.into_iter();
        match word {
            Word::Data { address, .. } => {
                self.data.get_or_insert_with(|| (address, Vec::new())).1.extend(fds.map(Arc::new));
            }
            Word::Door { address, .. } => {
                let (Some(door), Some(relay)) = (fds.next(), fds.next()) else {
                    return Err("a door without a relay".into());
                };
                self.door.get_or_insert_with(|| (address, Vec::new())).1.push(door);
                self.relays.push(Arc::new(relay));
            }
            Word::Listener { name, port, .. } => {
                let listening = self.listeners.entry(name).or_insert_with(|| Listening { port, sockets: Vec::new() });
                listening.sockets.push(fds.map(Arc::new).collect());
            }
            _ => return Err("it speaks of something else".into()),
        }
        Ok(())
    }
}
