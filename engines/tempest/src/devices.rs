//! The TUN devices that tunnels are wanted on: attached when they are there, looked for while they are not.

use std::{collections::HashMap, io, sync::Arc};

use control::log;

use crate::{
    clock::Millis,
    limits::DEVICE_RETRY,
    tun::Tun,
    tunnel::Tunnel,
    worker::{Mailbox, Order},
};

pub struct Devices {
    workers: Vec<Mailbox>,
    tunnels: HashMap<u64, Served>,
    looked_at: Millis,
}

struct Served {
    tunnel: Arc<Tunnel>,
    /// Said in the log, so that it is said once.
    is_missing: bool,
}

impl Devices {
    pub fn new(workers: Vec<Mailbox>) -> Self {
        Self { workers, tunnels: HashMap::new(), looked_at: 0 }
    }

    /// Serves `tunnel` on the device of this name, at once or as soon as there is one. The error says why not at once.
    pub fn want(&mut self, tunnel: &Arc<Tunnel>, name: &str) -> Result<(), String> {
        if tunnel.device_name() != name {
            self.detach(tunnel);
            tunnel.set_device_name(name);
        }
        self.tunnels.entry(tunnel.id).or_insert_with(|| Served { tunnel: tunnel.clone(), is_missing: false });
        if tunnel.device().is_some() {
            return Ok(());
        }
        self.attach(tunnel).map_err(|error| explain(name, &error))
    }

    pub fn forget(&mut self, tunnel: &Arc<Tunnel>) {
        self.tunnels.remove(&tunnel.id);
        self.detach(tunnel);
    }

    /// Looks for what is missing.
    pub fn tick(&mut self, now: Millis) {
        if now.saturating_sub(self.looked_at) < DEVICE_RETRY.as_millis() as Millis {
            return;
        }
        self.looked_at = now;
        let missing: Vec<_> = self
            .tunnels
            .values()
            .filter(|served| served.tunnel.device().is_none())
            .map(|it| it.tunnel.clone())
            .collect();
        for tunnel in missing {
            let result = self.attach(&tunnel);
            let Some(served) = self.tunnels.get_mut(&tunnel.id) else { continue };
            let name = tunnel.device_name();
            match result {
                Ok(()) => {
                    served.is_missing = false;
                    log::info("device is attached", &[("device", &name), ("peer", &tunnel.peer_id)]);
                }
                Err(error) if !served.is_missing => {
                    served.is_missing = true;
                    log::warn("device is missing", &[("device", &name), ("error", &error.to_string())]);
                }
                Err(_) => (),
            }
        }
    }

    pub fn worker_of(&self, tunnel: &Tunnel) -> &Mailbox {
        &self.workers[tunnel.id as usize % self.workers.len()]
    }

    fn attach(&self, tunnel: &Arc<Tunnel>) -> io::Result<()> {
        let device = Arc::new(Tun::attach(&tunnel.device_name())?);
        tunnel.set_device(Some(device.clone()));
        self.worker_of(tunnel).send(Order::Attach(tunnel.clone(), device));
        Ok(())
    }

    fn detach(&self, tunnel: &Arc<Tunnel>) {
        tunnel.set_device(None);
        self.worker_of(tunnel).send(Order::Detach(tunnel.id));
    }
}

fn explain(name: &str, error: &io::Error) -> String {
    let advice = match error.raw_os_error() {
        Some(libc::EBUSY) => "somebody else serves it; stop that one",
        Some(libc::EPERM) => "it takes CAP_NET_ADMIN",
        Some(libc::EINVAL) => "it is no TUN device; make it with `ip tuntap add … mode tun vnet_hdr`",
        _ if error.kind() == io::ErrorKind::NotFound => "it is attached as soon as it is there",
        _ => "it is tried again",
    };
    format!("cannot attach to device {name}: {error}; {advice}")
}
