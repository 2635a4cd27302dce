//! A worker: one thread that moves the bytes of its share of tunnels out, and of whatever peers the kernel gives its
//! sockets in. It decides nothing and waits only in `epoll_wait`.

use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use control::log;
use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    io::Errno,
};

use crate::{inbound::Inbound, outbound::Outbound, shared::Shared, tun::Tun, tunnel::Tunnel, udp::Sockets};

/// What epoll says; tunnels' ids follow.
const WAKE: u64 = 0;
const SOCKET_V4: u64 = 1;
const SOCKET_V6: u64 = 2;
const FIRST_TUNNEL: u64 = 3;

pub enum Order {
    /// Serve this device for this tunnel from now on, instead of the one before.
    Attach(Arc<Tunnel>, Arc<Tun>),
    /// The tunnel is no more.
    Detach(u64),
    /// There is a session for what was kept.
    Flush(u64),
    /// Use these from now on. None: carry nothing.
    Sockets(Option<Arc<Sockets>>),
    Stop,
}

/// Where a worker's orders are left.
#[derive(Clone)]
pub struct Mailbox(Arc<(Mutex<Vec<Order>>, OwnedFd)>);

impl Mailbox {
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new((Mutex::default(), wake))))
    }

    pub fn send(&self, order: Order) {
        let (orders, wake) = &*self.0;
        orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        // Full cannot be: it counts to u64::MAX - 1, and would wake as well.
        let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
    }

    fn take(&self) -> Vec<Order> {
        let (orders, wake) = &*self.0;
        let _ = rustix::io::read(wake, &mut [0u8; 8]);
        std::mem::take(&mut *orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub struct Worker {
    mailbox: Mailbox,
    epoll: OwnedFd,
    inbound: Inbound,
    outbound: Outbound,
    tunnels: HashMap<u64, (Arc<Tunnel>, Arc<Tun>)>,
    sockets: Option<Arc<Sockets>>,
}

impl Worker {
    pub fn start(number: usize, mailbox: Mailbox, shared: Arc<Shared>) -> io::Result<thread::JoinHandle<()>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &mailbox.0.1, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let worker = Self {
            mailbox,
            epoll,
            inbound: Inbound::new(shared.clone()),
            outbound: Outbound::new(shared),
            tunnels: HashMap::new(),
            sockets: None,
        };
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || worker.run())
    }

    fn run(mut self) {
        let mut events = [MaybeUninit::uninit(); 64];
        loop {
            let ready = match epoll::wait(&self.epoll, &mut events, None) {
                Ok((ready, _)) => ready.iter().map(|event| event.data.u64()).collect::<Vec<_>>(),
                Err(Errno::INTR) => continue,
                Err(error) => panic!("epoll_wait: {error}"),
            };
            for what in ready {
                match what {
                    WAKE => {
                        if !self.obey() {
                            return;
                        }
                    }
                    SOCKET_V4 | SOCKET_V6 => self.receive(what),
                    tunnel => self.transmit(tunnel - FIRST_TUNNEL),
                }
            }
        }
    }

    fn receive(&mut self, family: u64) {
        let Some(sockets) = self.sockets.clone() else { return };
        let socket = if family == SOCKET_V4 { &sockets.v4 } else { &sockets.v6 };
        if let Some(socket) = socket
            && let Err(error) = self.inbound.turn(socket)
        {
            // A datagram's ICMP error reported late, or the like: the socket goes on.
            log::debug("receiving failed", &[("error", &error.to_string())]);
        }
        for tunnel in std::mem::take(&mut self.inbound.confirmed) {
            self.transmit(tunnel.id);
        }
    }

    fn transmit(&mut self, id: u64) {
        let (Some((tunnel, device)), Some(sockets)) = (self.tunnels.get(&id), &self.sockets) else { return };
        if let Err(error) = self.outbound.turn(tunnel, device, sockets) {
            log::warn(
                "a device is lost; looking for it again",
                &[("device", &tunnel.device_name()), ("error", &error.to_string())],
            );
            let (tunnel, device) = (tunnel.clone(), device.clone());
            let _ = epoll::delete(&self.epoll, &*device);
            self.tunnels.remove(&id);
            // Unless the keeper has found the next one already.
            if tunnel.device().is_some_and(|current| Arc::ptr_eq(&current, &device)) {
                tunnel.set_device(None);
            }
        }
    }

    /// False: stop.
    fn obey(&mut self) -> bool {
        for order in self.mailbox.take() {
            match order {
                Order::Attach(tunnel, device) => self.attach(tunnel, device),
                Order::Detach(id) => self.detach(id),
                Order::Flush(id) => self.transmit(id),
                Order::Sockets(sockets) => self.use_sockets(sockets),
                Order::Stop => return false,
            }
        }
        true
    }

    fn attach(&mut self, tunnel: Arc<Tunnel>, device: Arc<Tun>) {
        self.detach(tunnel.id);
        let id = tunnel.id;
        let data = epoll::EventData::new_u64(id + FIRST_TUNNEL);
        if let Err(error) = epoll::add(&self.epoll, &*device, data, epoll::EventFlags::IN) {
            // Deleted since: the keeper looks again.
            log::debug("cannot wait for a device", &[("error", &error.to_string())]);
            return tunnel.set_device(None);
        }
        self.tunnels.insert(id, (tunnel, device));
    }

    fn detach(&mut self, id: u64) {
        if let Some((_, device)) = self.tunnels.remove(&id) {
            // Already out when the device was deleted.
            let _ = epoll::delete(&self.epoll, &*device);
        }
    }

    fn use_sockets(&mut self, sockets: Option<Arc<Sockets>>) {
        if let Some(before) = self.sockets.take() {
            for socket in [&before.v4, &before.v6].into_iter().flatten() {
                let _ = epoll::delete(&self.epoll, socket);
            }
        }
        if let Some(now) = &sockets {
            for (socket, what) in [(&now.v4, SOCKET_V4), (&now.v6, SOCKET_V6)] {
                let Some(socket) = socket else { continue };
                let data = epoll::EventData::new_u64(what);
                if let Err(error) = epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN) {
                    log::error("cannot wait for a socket", &[("error", &error.to_string())]);
                }
            }
        }
        self.sockets = sockets;
    }
}
