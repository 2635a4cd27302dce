//! The control loop: one thread, `poll`, no waiting on anybody.
//!
//! 1. Signals: SIGTERM and SIGINT start a drain of 0 ms; SIGHUP is ignored.
//! 2. New clients get `hello`.
//! 3. Each client's lines are answered in order.
//! 4. Events go to all clients; without a client they wait in their ring.
//! 5. Clients that are gone or do not read are dropped.
//! 6. A drain that is over, or a successor when nothing is left, ends the loop, after the last events were offered.

use std::{
    io::Read,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{
    Engine, Events, Exit, Failure,
    client::Client,
    limits::{
        CLIENTS_MAX, DRAIN_POLL, EVENTS_EVERY, FLOWS_MAX, LAST_WORDS_TIMEOUT, READ_BYTES, STATE_NAME_BYTES_MAX,
        SUCCEEDED_POLL,
    },
    log,
    message::{Answer, CHANGES, Misunderstood, PROTOCOL, Request, parse},
    rss::rss_bytes,
    socket::ControlSocket,
};

pub struct Server {
    socket: ControlSocket,
    signals: UnixStream,
    events: Events,
    clients: Vec<Client>,
    /// Of the state in force.
    generation: Option<u64>,
    /// What its agent calls it; None where it has no name that changes could be told by.
    state_name: Option<String>,
    draining: bool,
    /// A successor has asked: the end may come without anybody saying so here.
    handed_over: bool,
    /// When events were written last.
    published: Instant,
}

/// What `poll` said, without borrowing what it asked about.
struct Ready {
    socket: bool,
    signals: bool,
    events: bool,
    clients: Vec<PollFlags>,
}

impl Server {
    /// Listens on `path` and takes over the signals. Call before any thread starts.
    pub fn bind(path: &Path) -> Result<Self, Failure> {
        let refused = |error: std::io::Error| {
            Failure::new(Exit::HostRefuses, format!("cannot watch signals: {error}; raise the limit of open files"))
        };
        let socket = ControlSocket::bind(path)?;
        let (signals, pipe) = UnixStream::pair().map_err(refused)?;
        signals.set_nonblocking(true).map_err(refused)?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, pipe.try_clone().map_err(refused)?).map_err(refused)?;
        }
        signal_hook::flag::register(SIGHUP, Arc::new(AtomicBool::new(false))).map_err(refused)?;
        let events = Events::new().map_err(|error| refused(error.into()))?;
        Ok(Self {
            socket,
            signals,
            events,
            clients: Vec::new(),
            generation: None,
            state_name: None,
            draining: false,
            handed_over: false,
            published: Instant::now(),
        })
    }

    /// The sending end of the events, for the engine's threads.
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// Serves until nothing is left to do: a drain is over, or all that a successor has left. The socket file is gone on return.
    pub fn run<E: Engine>(mut self, mut engine: E) -> Result<(), Failure> {
        let mut buffer = vec![0; READ_BYTES];
        log::info("listening", &[("pid", &std::process::id()), ("version", &E::VERSION)]);
        loop {
            let ready = self.wait()?;
            if ready.signals && self.signals.read(&mut [0; 64]).is_ok() {
                log::info("asked to end by a signal", &[]);
                self.drain(&mut engine, Duration::ZERO);
            }
            if ready.socket {
                self.accept(&engine);
            }
            self.serve(&mut engine, &ready.clients, &mut buffer);
            if ready.events {
                self.events.clear_wake();
            }
            if self.publish_in().is_some_and(|wait| wait.is_zero()) {
                self.publish();
            }
            if (self.draining || self.may_end_by_itself(&engine)) && engine.drained() {
                self.last_words();
                log::info("ended", &[]);
                return Ok(());
            }
        }
    }

    fn wait(&self) -> Result<Ready, Failure> {
        let mut fds = vec![
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(self.events.wake_fd(), PollFlags::IN),
        ];
        for client in &self.clients {
            let write = if client.backlog() > 0 { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::from_borrowed_fd(client.as_fd(), PollFlags::IN | write));
        }
        let end = self.draining.then_some(DRAIN_POLL).or(self.handed_over.then_some(SUCCEEDED_POLL));
        let timeout = self.publish_in().into_iter().chain(end).min();
        let timeout = timeout.map(|wait| Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => (),
            Err(error) => return Err(Failure::new(Exit::Bug, format!("poll failed: {error}"))),
        }
        let ready = |index: usize| !fds[index].revents().is_empty();
        Ok(Ready {
            socket: ready(0),
            signals: ready(1),
            events: ready(2),
            clients: fds[3..].iter().map(|fd| fd.revents()).collect(),
        })
    }

    fn accept<E: Engine>(&mut self, engine: &E) {
        while let Some(stream) = self.socket.accept() {
            if self.clients.len() == CLIENTS_MAX {
                log::warn("a control client was turned away: too many are connected", &[("limit", &CLIENTS_MAX)]);
                continue;
            }
            let mut client = Client::new(stream);
            let hello = render::<E>(&Answer::Hello {
                engine: E::NAME,
                version: E::VERSION,
                protocol: PROTOCOL,
                pid: std::process::id(),
                generation: self.generation,
                changes: E::TAKES_CHANGES.then_some(CHANGES),
                status: engine.status(),
            });
            if client.send(&hello) {
                self.clients.push(client);
            }
        }
    }

    fn serve<E: Engine>(&mut self, engine: &mut E, ready: &[PollFlags], buffer: &mut [u8]) {
        let mut clients = std::mem::take(&mut self.clients);
        let mut index = 0;
        clients.retain_mut(|client| {
            let flags = ready.get(index).copied().unwrap_or(PollFlags::empty());
            index += 1;
            if flags.contains(PollFlags::OUT) && !client.flush() {
                return false;
            }
            if client.closing() || !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                return true;
            }
            match client.read(buffer) {
                Err(None) => false,
                Err(Some(_)) => {
                    let answer = Answer::Error { code: "LineTooLong", message: "a line is at most 64 MiB" };
                    refuse::<E>(client, &answer)
                }
                Ok(lines) => lines.iter().all(|line| self.answer(engine, client, line)),
            }
        });
        self.clients = clients;
    }

    /// Answers one line. False: the client is to go.
    fn answer<E: Engine>(&mut self, engine: &mut E, client: &mut Client, line: &[u8]) -> bool {
        let answer = match parse::<E::State, E::Change>(line) {
            Ok(Request::Ping { id }) => Answer::Pong { id },
            Ok(Request::Stats { id }) => Answer::Stats {
                id,
                stats: engine.stats(),
                events_dropped: self.events.dropped(),
                rss_bytes: rss_bytes(),
            },
            Ok(Request::Flows { id, mut query }) => {
                query.limit = query.limit.min(FLOWS_MAX);
                match engine.flows(&query) {
                    Some(flows) => Answer::Flows { id, flows },
                    None => Answer::Error { code: "UnknownType", message: "this engine carries no flows" },
                }
            }
            Ok(Request::Drain { timeout_ms }) => {
                self.drain(engine, Duration::from_millis(timeout_ms));
                Answer::Draining
            }
            Ok(Request::HandOver { version }) => match engine.hand_over(version) {
                Ok(fd) => {
                    self.handed_over = true;
                    return client.send_with(&render::<E>(&Answer::HandedOver), fd.as_fd());
                }
                Err(message) => Answer::Error { code: "NotHandedOver", message },
            },
            Ok(Request::StandAside) => match engine.stand_aside() {
                Ok(()) => {
                    self.handed_over = true;
                    Answer::StandingAside
                }
                Err(message) => Answer::Error { code: "NotHandedOver", message },
            },
            Ok(Request::Apply(apply)) => {
                let errors = match engine.apply(apply.generation, &apply.secrets, apply.state) {
                    Ok(errors) => {
                        self.generation = Some(apply.generation);
                        self.state_name = apply.name.filter(|name| name.len() <= STATE_NAME_BYTES_MAX);
                        errors
                    }
                    Err(error) => vec![error],
                };
                Answer::Applied { generation: apply.generation, errors, status: engine.status() }
            }
            Ok(Request::Change(change)) => {
                // Told by two agents, or by one that has missed something, a change of another state would make one that
                // nobody has asked for.
                let changed = if self.state_name.as_ref() == Some(&change.base) {
                    engine.change(change.generation, &change.secrets, change.change).map_err(|why| ("Misfit", why))
                } else {
                    Err(("OtherBase", "the state in force is not the one that this change is of".to_owned()))
                };
                match changed {
                    Ok(errors) => {
                        self.generation = Some(change.generation);
                        self.state_name = Some(change.name).filter(|name| name.len() <= STATE_NAME_BYTES_MAX);
                        Answer::Applied { generation: change.generation, errors, status: engine.status() }
                    }
                    Err((code, message)) => {
                        log::info("a change was not applied", &[("code", &code), ("detail", &message)]);
                        let answer = Answer::NotApplied { generation: change.generation, code, message: &message };
                        return client.send(&render::<E>(&answer));
                    }
                }
            }
            Err(Misunderstood { code, message, fatal }) => {
                log::warn("a control message was not understood", &[("code", &code), ("detail", &message)]);
                let answer = Answer::Error { code, message: &message };
                return if fatal { refuse::<E>(client, &answer) } else { client.send(&render::<E>(&answer)) };
            }
        };
        client.send(&render::<E>(&answer))
    }

    fn drain<E: Engine>(&mut self, engine: &mut E, timeout: Duration) {
        self.draining = true;
        engine.drain(timeout);
    }

    /// What it has to tell of its last flows is for an agent, which may just be starting again.
    fn may_end_by_itself<E: Engine>(&self, engine: &E) -> bool {
        engine.has_successor() && (!self.events.waiting() || !self.clients.is_empty())
    }

    /// How long until events that wait are due; None when there are none, or nobody to take them.
    fn publish_in(&self) -> Option<Duration> {
        let wanted = !self.clients.is_empty() && self.events.waiting();
        wanted.then(|| EVENTS_EVERY.saturating_sub(self.published.elapsed()))
    }

    fn publish(&mut self) {
        self.published = Instant::now();
        let lines = self.events.take();
        self.clients.retain_mut(|client| {
            let takes = client.send_all(lines.iter().map(String::as_str));
            if !takes {
                log::warn("a control client was dropped: it does not read", &[("waiting_bytes", &client.backlog())]);
            }
            takes
        });
    }

    fn last_words(&mut self) {
        let deadline = Instant::now() + LAST_WORDS_TIMEOUT;
        self.publish();
        while self.clients.iter().any(|client| client.backlog() > 0) && Instant::now() < deadline {
            std::thread::sleep(DRAIN_POLL);
            self.clients.retain_mut(|client| client.flush());
        }
    }
}

fn render<E: Engine>(answer: &Answer<E::Status, E::Stats>) -> String {
    serde_json::to_string(answer).unwrap_or_else(|error| to_error_line(&error))
}

fn to_error_line(error: &impl ToString) -> String {
    serde_json::json!({"type": "error", "code": "Internal", "message": error.to_string()}).to_string()
}

/// Says why and closes. True while the words still wait.
fn refuse<E: Engine>(client: &mut Client, answer: &Answer<E::Status, E::Stats>) -> bool {
    client.close_after_flush();
    client.send(&render::<E>(answer))
}
