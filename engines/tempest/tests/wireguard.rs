//! Against wireguard-go: the protocol is the standard one, whoever begins.

mod lab;

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use lab::{Host, Lab, PORT, echoes, lab, run, transfer};
use serde_json::json;

const SOON: Duration = Duration::from_secs(5);

/// wireguard-go on a host, with that host's key and address.
struct WireGuard {
    child: Child,
    device: String,
}

impl WireGuard {
    fn start(lab: &Lab, host: &Host, peer: &Host) -> Self {
        // Its control sockets are shared by all namespaces, so the name must be one of ours alone.
        let device = format!("tmt{}", std::process::id());
        host.delete_device();
        let mut command = host.command("wireguard-go");
        command.args(["-f", &device]).stdout(Stdio::null()).stderr(Stdio::null());
        let wireguard = Self { child: command.spawn().unwrap(), device: device.clone() };
        let key = host.key_file(lab);
        let namespace = &host.namespace;
        run(&format!(
            "for i in $(seq 50); do [ -S /var/run/wireguard/{device}.sock ] && break; sleep 0.1; done; \
             ip netns exec {namespace} wg set {device} listen-port {PORT} private-key {} peer {} \
             allowed-ips 0.0.0.0/0,::/0 endpoint 10.9.0.{}:{PORT}",
            key.display(),
            peer.public,
            peer.number
        ));
        host.ip(&format!("addr add 10.77.0.{}/24 dev {device}", host.number));
        host.ip(&format!("addr add fd77::{}/64 dev {device} nodad", host.number));
        host.ip(&format!("link set {device} mtu 1420 up"));
        wireguard
    }
}

impl Drop for WireGuard {
    fn drop(&mut self) {
        // SIGTERM, so that it removes its socket.
        // SAFETY: a child of ours that was not waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let _ = self.child.wait();
        let _ = std::fs::remove_file(format!("/var/run/wireguard/{}.sock", self.device));
    }
}

#[test]
fn both_roles_of_a_stock_peer() {
    let Some(lab) = lab() else { return };
    for program in ["wireguard-go", "wg"] {
        if !lab::has(program) {
            assert!(std::env::var_os("CI").is_none(), "{program} is missing");
            return eprintln!("skipped: {program} is missing");
        }
    }
    let mut a = lab.a.engine();
    let _wireguard = WireGuard::start(&lab, &lab.b, &lab.a);
    assert_eq!(a.apply(&lab.a, &[lab.a.to(&lab.b)])["errors"], json!([]));
    carries(&lab, &lab.a, &lab.b, "tempest began");

    // Forget the session here; there it would last: so only the stock peer can begin, as it does when unanswered.
    a.apply(&lab.a, &[]);
    drop(_wireguard);
    lab.b.make_device();
    let _wireguard = WireGuard::start(&lab, &lab.b, &lab.a);
    let mut passive = lab.a.to(&lab.b);
    passive["endpoints"] = json!([]);
    a.apply(&lab.a, &[passive]);
    carries(&lab, &lab.b, &lab.a, "wireguard-go began");
}

fn carries(lab: &Lab, first: &Host, other: &Host, what: &str) {
    let (v4, v6) = (format!("10.77.0.{}", other.number), format!("fd77::{}", other.number));
    first.reaches(&v4, SOON);
    assert!(first.pings(&format!("-c3 -i0.2 {v4}")), "{what}: v4");
    assert!(first.pings(&format!("-c3 -i0.2 -s 1372 {v6}")), "{what}: v6");
    transfer(&lab.a, &lab.b, "10.77.0.2", 5_000_000);
    transfer(&lab.b, &lab.a, "fd77::1", 5_000_000);
    assert_eq!(echoes(&lab.a, &lab.b, "10.77.0.2", vec![1000; 50], Duration::ZERO), 50, "{what}: UDP");
}
