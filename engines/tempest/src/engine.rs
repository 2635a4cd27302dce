//! The engine as the control socket sees it.

use std::{
    io,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed, mpsc::sync_channel},
    thread,
    time::{Duration, Instant},
};

use control::{Engine, Events, Exit, Failure, ObjectError, Secrets};
use serde::Serialize;

use crate::{
    desk::Command,
    keeper::{Applied, Keeper},
    limits::{DRAIN_SILENCE, WORKERS_MAX},
    shared::Shared,
    state::State,
    timing::Timing,
    worker::{Mailbox, Worker},
};

pub struct Tempest {
    shared: Arc<Shared>,
    port: u16,
    drain: Option<Drain>,
}

struct Drain {
    deadline: Instant,
    /// Packets carried, and since when that many.
    packets: u64,
    since: Instant,
    stopped: bool,
}

#[derive(Serialize)]
pub struct Status {
    listeners: Vec<ListenerStatus>,
    /// Whether devices are to be made with several queues.
    multi_queue: bool,
}

#[derive(Serialize)]
struct ListenerStatus {
    name: &'static str,
    port: u16,
}

#[derive(Serialize)]
pub struct Stats {
    tunnels: Vec<TunnelStats>,
    refused_total: u64,
}

#[derive(Serialize)]
struct TunnelStats {
    peer_id: String,
    device: String,
    endpoint: Option<String>,
    handshake_at_ms: Option<u64>,
    bytes_in: u64,
    bytes_out: u64,
    packets_in: u64,
    packets_out: u64,
    dropped: u64,
}

impl Tempest {
    /// Starts the threads; nothing is carried before the first `apply`.
    pub fn start(workers: usize, timing: Timing, events: Events) -> Result<Self, Failure> {
        let refused = |error: io::Error| {
            Failure::new(Exit::HostRefuses, format!("cannot start threads: {error}; raise the limits of this process"))
        };
        let shared = Arc::new(Shared::new(timing));
        let mut mailboxes = Vec::new();
        for number in 0..workers.clamp(1, WORKERS_MAX) {
            let mailbox = Mailbox::new().map_err(refused)?;
            Worker::start(number, mailbox.clone(), shared.clone()).map_err(refused)?;
            mailboxes.push(mailbox);
        }
        let keeper = Keeper::new(shared.clone(), mailboxes, events);
        thread::Builder::new().name("keeper".into()).spawn(move || keeper.run()).map_err(refused)?;
        Ok(Self { shared, port: 0, drain: None })
    }

    fn packets(&self) -> u64 {
        let tunnels = self.shared.tunnels.read().unwrap_or_else(PoisonError::into_inner);
        let count = |tunnel: &Arc<crate::tunnel::Tunnel>| {
            tunnel.counters.packets_in.load(Relaxed) + tunnel.counters.packets_out.load(Relaxed)
        };
        tunnels.iter().map(count).sum()
    }
}

impl Engine for Tempest {
    const NAME: &'static str = "tempest";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type State = State;
    /// At most a few hundred tunnels: told whole each time, by tunnel it is compared.
    type Change = serde::de::IgnoredAny;
    type Status = Status;
    type Stats = Stats;

    fn status(&self) -> Status {
        let port = self.port;
        let listeners = (port != 0).then_some(ListenerStatus { name: "data", port }).into_iter().collect();
        Status { listeners, multi_queue: false }
    }

    fn apply(&mut self, _: u64, secrets: &Secrets, state: State) -> Result<Vec<ObjectError>, ObjectError> {
        let (answer, applied) = sync_channel(1);
        self.shared.desk.command(Command::Apply { secrets: secrets.clone(), state, answer });
        match applied.recv() {
            Ok(Applied { errors, port }) => {
                self.port = port;
                Ok(errors)
            }
            Err(_) => Err(ObjectError::new("engine", "Ending", "the engine is ending; start it again")),
        }
    }

    fn stats(&mut self) -> Stats {
        let tunnels = self.shared.tunnels.read().unwrap_or_else(PoisonError::into_inner);
        let one = |tunnel: &Arc<crate::tunnel::Tunnel>| {
            let counters = &tunnel.counters;
            let handshake_at_ms = counters.handshake_at_ms.load(Relaxed);
            TunnelStats {
                peer_id: tunnel.peer_id.clone(),
                device: tunnel.device_name(),
                endpoint: tunnel.endpoint().map(|endpoint| endpoint.to_string()),
                handshake_at_ms: (handshake_at_ms != 0).then_some(handshake_at_ms),
                bytes_in: counters.bytes_in.load(Relaxed),
                bytes_out: counters.bytes_out.load(Relaxed),
                packets_in: counters.packets_in.load(Relaxed),
                packets_out: counters.packets_out.load(Relaxed),
                dropped: counters.dropped.load(Relaxed),
            }
        };
        Stats { tunnels: tunnels.iter().map(one).collect(), refused_total: self.shared.refusals.total() }
    }

    /// A tunnel has no flows to end: it goes on until nothing was carried for a moment, or the timeout.
    fn drain(&mut self, timeout: Duration) {
        let now = Instant::now();
        let deadline = now + timeout.min(Duration::from_secs(24 * 3600));
        let packets = self.packets();
        let drain = self.drain.get_or_insert(Drain { deadline, packets, since: now, stopped: false });
        drain.deadline = drain.deadline.min(deadline);
    }

    fn drained(&mut self) -> bool {
        let (packets, now) = (self.packets(), Instant::now());
        let Some(drain) = &mut self.drain else { return false };
        if drain.packets != packets {
            (drain.packets, drain.since) = (packets, now);
        }
        let is_over = now >= drain.deadline || now.duration_since(drain.since) >= DRAIN_SILENCE;
        if is_over && !drain.stopped {
            drain.stopped = true;
            let (answer, stopped) = sync_channel(1);
            self.shared.desk.command(Command::Stop { answer });
            // Gone already is as good.
            let _ = stopped.recv();
        }
        is_over
    }
}
