//! Two engines between two hosts: what an operator would see.

#[path = "tunnels/keys.rs"]
mod keys;
mod lab;

use std::{
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use lab::{DEVICE, Engine, Host, PORT, echoes, lab, transfer};
use serde_json::{Value, json};
use tempest::{Tempest, Timing};

const SOON: Duration = Duration::from_secs(5);

/// Not a test: the engine that `Host::quick_engine` starts, in which a minute takes half a second.
#[test]
#[ignore]
fn engine_process() {
    let Some(path) = std::env::var_os("TEMPEST_TEST_CONTROL") else { return };
    let timing = Timing {
        rekey_after_ms: 1000,
        reject_after_ms: 2500,
        rekey_attempt_ms: 3000,
        rekey_timeout_ms: 400,
        keepalive_timeout_ms: 600,
        ..Timing::WIREGUARD
    };
    let server = control::Server::bind(path.as_ref()).unwrap();
    let engine = Tempest::start(2, timing, server.events()).unwrap();
    server.run(engine).unwrap();
}

#[test]
fn packets_of_every_kind_pass() {
    let Some(lab) = lab() else { return };
    let (mut a, _b) = lab.engines();
    assert!(lab.a.pings("-c3 -i0.2 10.77.0.2"), "v4, from the first packet on");
    assert!(lab.b.pings("-c3 -i0.2 fd77::1"), "v6");
    assert!(lab.a.pings("-c2 -i0.2 -M do -s 1392 10.77.0.2"), "a full packet of v4");
    assert!(lab.a.pings("-c2 -i0.2 -M do -s 1372 fd77::2"), "a full packet of v6");
    assert!(lab.a.pings("-c2 -i0.2 -s 6000 10.77.0.2"), "fragments of v4");
    assert!(lab.a.pings("-c2 -i0.2 -s 6000 fd77::2"), "fragments of v6");
    transfer(&lab.a, &lab.b, "10.77.0.2", 20_000_000);
    transfer(&lab.b, &lab.a, "10.77.0.1", 5_000_000);
    transfer(&lab.a, &lab.b, "fd77::2", 5_000_000);
    let sizes: Vec<usize> = (1..60).map(|at| at * 24).chain([1392, 1393, 9000, 60_000]).collect();
    for address in ["10.77.0.2", "fd77::2"] {
        assert_eq!(echoes(&lab.a, &lab.b, address, sizes.clone(), Duration::ZERO), sizes.len(), "UDP {address}");
    }
    let tunnel = a.stats()["tunnels"][0].clone();
    assert!(tunnel["bytes_out"].as_u64() > Some(25_000_000) && tunnel["packets_in"].as_u64() > Some(100), "{tunnel}");
    assert_eq!((&tunnel["dropped"], &tunnel["device"]), (&json!(0), &json!(DEVICE)));
    assert!(a.events.iter().any(|event| event["event"] == "tunnel" && event["state"] == "up"));
}

#[test]
fn a_packet_that_runs_out_of_hops_is_told_so_through_the_tunnel() {
    let Some(lab) = lab() else { return };
    let (_a, _b) = lab.engines();
    lab::run(&format!("ip netns exec {} sysctl -qw net.ipv4.ip_forward=1", lab.b.namespace));
    lab.b.ip("route add 10.2.0.0/24 via 10.9.0.1");
    lab.a.ip(&format!("route add 10.2.0.0/24 dev {DEVICE}"));
    lab.a.reaches("10.77.0.2", SOON);
    let said = lab.a.ping("-c1 -W2 -t1 10.2.0.9");
    assert!(said.contains("From 10.77.0.2") && said.contains("Time to live exceeded"), "{said}");
}

#[test]
fn a_wire_smaller_than_our_packets_carries_them_in_pieces() {
    let Some(lab) = lab() else { return };
    for host in [&lab.a, &lab.b] {
        host.ip("link set wire mtu 1400");
    }
    let (_a, _b) = lab.engines();
    assert!(lab.a.pings("-c2 -i0.2 -M do -s 1392 10.77.0.2"));
    transfer(&lab.a, &lab.b, "10.77.0.2", 3_000_000);
}

#[test]
fn an_idle_tunnel_forgets_its_keys_and_wakes_up_again() {
    let Some(lab) = lab() else { return };
    let (mut a, mut b) = lab.quick_engines();
    lab.a.reaches("10.77.0.2", SOON);
    thread::sleep(Duration::from_secs(4));
    let before = a.stats()["tunnels"][0]["handshake_at_ms"].clone();
    assert!(lab.b.pings("-c1 -W2 10.77.0.1"), "the first packet is kept until there is a session");
    assert_ne!(b.stats()["tunnels"][0]["handshake_at_ms"], before);
}

#[test]
fn a_killed_engine_carries_on_when_it_is_started_again() {
    let Some(lab) = lab() else { return };
    let (a, mut b) = (lab.a.engine(), lab.b.engine());
    let keepalive = |mut tunnel: Value| {
        tunnel["keepalive_s"] = json!(5);
        tunnel
    };
    let mut a = a;
    a.apply(&lab.a, &[keepalive(lab.a.to(&lab.b))]);
    b.apply(&lab.b, &[keepalive(lab.b.to(&lab.a))]);
    lab.a.reaches("10.77.0.2", SOON);

    // Two initiations of one peer this close together are taken for a flood, and the second one's retry takes seconds.
    thread::sleep(Duration::from_millis(100));
    b.kill();
    let mut b = lab.b.engine();
    b.apply(&lab.b, &[keepalive(lab.b.to(&lab.a))]);
    let other_side = lab.a.reaches("10.77.0.2", SOON);
    thread::sleep(Duration::from_millis(100));
    a.kill();
    let mut a = lab.a.engine();
    a.apply(&lab.a, &[keepalive(lab.a.to(&lab.b))]);
    let own_side = lab.a.reaches("10.77.0.2", SOON);
    assert!(other_side.max(own_side) < Duration::from_secs(2), "{other_side:?} {own_side:?}");
}

#[test]
fn a_device_that_was_deleted_and_made_again_is_served_again() {
    let Some(lab) = lab() else { return };
    let (mut a, _b) = lab.engines();
    lab.a.reaches("10.77.0.2", SOON);
    lab.a.delete_device();
    thread::sleep(Duration::from_millis(600));
    let answer = a.apply(&lab.a, &[lab.a.to(&lab.b)]);
    assert_eq!(answer["errors"][0]["code"], "DeviceMissing", "{answer}");
    assert_eq!(answer["errors"][0]["object"], format!("peer:{}", lab.b.namespace));
    let listed = lab.a.command("ip").args(["link", "show", DEVICE]).output().unwrap();
    assert!(!listed.status.success(), "the engine makes no device");
    lab.a.make_device();
    lab.a.reaches("10.77.0.2", Duration::from_secs(2));
}

#[test]
fn a_peer_that_moves_is_answered_where_it_is() {
    let Some(lab) = lab() else { return };
    let (_a, mut b) = lab.engines();
    lab.a.reaches("10.77.0.2", SOON);
    lab.a.ip("addr add 10.9.0.11/24 dev wire");
    lab.a.ip("addr del 10.9.0.1/24 dev wire");
    lab.a.ip("addr replace 10.9.0.11/24 dev wire");
    lab.a.reaches("10.77.0.2", SOON);
    assert_eq!(b.stats()["tunnels"][0]["endpoint"], format!("10.9.0.11:{PORT}"));
    assert!(lab.b.pings("-c2 -i0.2 10.77.0.1"));
}

#[test]
fn endpoints_are_tried_in_turn_v6_among_them() {
    let Some(lab) = lab() else { return };
    let (mut a, mut b) = (lab.a.engine(), lab.b.engine());
    let mut tunnel = lab.a.to(&lab.b);
    tunnel["endpoints"] = json!(["10.9.0.77:7947", "[fd09::2]:7947"]);
    a.apply(&lab.a, &[tunnel]);
    b.apply(&lab.b, &[lab.b.to(&lab.a)]);
    lab.a.reaches("10.77.0.2", SOON);
    assert_eq!(a.stats()["tunnels"][0]["endpoint"], "[fd09::2]:7947");
    transfer(&lab.a, &lab.b, "10.77.0.2", 3_000_000);
}

#[test]
fn the_same_key_keeps_its_session_and_a_new_one_or_none_ends_it() {
    let Some(lab) = lab() else { return };
    let (mut a, mut b) = lab.engines();
    lab.a.reaches("10.77.0.2", SOON);
    let handshake = |engine: &mut Engine| engine.stats()["tunnels"][0]["handshake_at_ms"].clone();
    let before = handshake(&mut a);
    a.apply(&lab.a, &[lab.a.to(&lab.b)]);
    assert!(lab.a.pings("-c2 -i0.2 10.77.0.2"));
    assert_eq!(handshake(&mut a), before);

    let mut stranger = lab.a.to(&lab.b);
    stranger["public_key"] = json!(lab.a.to(&lab.a)["public_key"].as_str().unwrap().replace('A', "B"));
    a.apply(&lab.a, &[stranger]);
    assert!(!lab.a.pings("-c1 -W1 10.77.0.2"), "the peer does not have this key");
    assert_eq!(handshake(&mut a), Value::Null);

    b.apply(&lab.b, &[]);
    a.apply(&lab.a, &[lab.a.to(&lab.b)]);
    assert!(!lab.a.pings("-c1 -W1 10.77.0.2"), "the peer's tunnel was removed");
    b.apply(&lab.b, &[lab.b.to(&lab.a)]);
    lab.a.reaches("10.77.0.2", SOON);
}

#[test]
fn nothing_leaves_in_clear_with_a_session_or_without() {
    let Some(lab) = lab() else { return };
    let seen = sniff(&lab.b, Duration::from_secs(4));
    let (mut a, mut b) = (lab.a.engine(), lab.b.engine());
    a.apply(&lab.a, &[lab.a.to(&lab.b)]);
    let say = || {
        lab.a
            .inside(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                for _ in 0..20 {
                    let _ = socket.send_to(&b"open sesame ".repeat(80), "10.77.0.2:9");
                    thread::sleep(Duration::from_millis(20));
                }
            })
            .join()
            .unwrap();
    };
    say();
    b.apply(&lab.b, &[lab.b.to(&lab.a)]);
    lab.a.reaches("10.77.0.2", SOON);
    say();
    let seen = seen.join().unwrap();
    assert!(seen.len() > 20, "only {} packets were seen", seen.len());
    assert!(!seen.iter().any(|packet| packet.windows(11).any(|part| part == b"open sesame")));
}

#[test]
fn strangers_cost_little_and_are_told_of_once() {
    let Some(lab) = lab() else { return };
    let (mut a, mut b) = (lab.a.engine(), lab.b.engine());
    b.apply(&lab.b, &[lab.b.to(&lab.a)]);
    let key = lab.b.public_bytes();
    let flood = lab.a.inside(move || {
        let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let (mut cookies, mut buffer) = (0, [0; 2000]);
        let end = Instant::now() + Duration::from_secs(3);
        for number in 0u64.. {
            let mut message = vec![number as u8; [148, 92, 64, 600, 1, 31][number as usize % 6]];
            if message.len() > 4 {
                message[..4].copy_from_slice(&[[1, 2, 3, 4, 0, 9][number as usize % 6], 0, 0, 0]);
            }
            if message.len() == 148 {
                put_mac1(&mut message, &key);
            }
            let _ = socket.send_to(&message, format!("10.9.0.2:{PORT}"));
            while let Ok(length) = socket.recv(&mut buffer) {
                cookies += usize::from(length == 64 && buffer[0] == 3);
            }
            if number % 64 == 0 {
                if Instant::now() > end {
                    break;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        cookies
    });
    thread::sleep(Duration::from_millis(1000));
    a.apply(&lab.a, &[lab.a.to(&lab.b)]);
    lab.a.reaches("10.77.0.2", Duration::from_secs(8));
    assert!(flood.join().unwrap() > 0, "under load, cookies are sent");
    thread::sleep(Duration::from_millis(300));
    let stats = b.stats();
    assert!(stats["refused_total"].as_u64() > Some(1000), "{stats}");
    assert!(stats["rss_bytes"].as_u64() < Some(40 << 20), "{stats}");
    let refused: Vec<_> = b.events.iter().filter(|event| event["event"] == "refused").collect();
    let mut reasons: Vec<_> = refused.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    let all = reasons.len();
    reasons.sort();
    reasons.dedup();
    assert_eq!(reasons.len(), all, "one line per reason: {refused:?}");
    assert!(reasons.contains(&"garbage") && reasons.contains(&"unknown_session"), "{reasons:?}");
}

/// Knowledge of the public key is all that mac1 proves (WireGuard paper, 5.4.4).
fn put_mac1(message: &mut [u8], key: &[u8; 32]) {
    use blake2::digest::{FixedOutput, KeyInit, Update, consts::U16};
    use blake2::{Blake2s256, Blake2sMac, Digest};
    let hashed = Digest::finalize(Digest::chain_update(Digest::chain_update(Blake2s256::new(), b"mac1----"), key));
    let mut mac = <Blake2sMac<U16> as KeyInit>::new_from_slice(&hashed).unwrap();
    mac.update(&message[..116]);
    message[116..132].copy_from_slice(&mac.finalize_fixed());
}

/// Every frame on the host's wire.
fn sniff(host: &Host, time: Duration) -> thread::JoinHandle<Vec<Vec<u8>>> {
    use std::io::Read;
    let protocol = socket2::Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
    let mut socket = host
        .inside(move || socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, Some(protocol)).unwrap())
        .join()
        .unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    thread::spawn(move || {
        let (mut seen, end) = (Vec::new(), Instant::now() + time);
        let mut buffer = vec![0; 70_000];
        while Instant::now() < end {
            if let Ok(length) = socket.read(&mut buffer) {
                // The tunnel's device, where all is clear, has no Ethernet header; the wire's frames have ours behind it.
                if buffer[12..14] == [8, 0] && buffer[14] == 0x45 {
                    seen.push(buffer[..length].to_vec());
                }
            }
        }
        seen
    })
}

#[test]
fn a_drain_lets_running_traffic_end_and_sigterm_does_not_wait() {
    let Some(lab) = lab() else { return };
    let (mut a, mut b) = lab.engines();
    lab.a.reaches("10.77.0.2", SOON);
    let start = Instant::now();
    a.drain(Duration::from_secs(10));
    assert!(lab.a.pings("-c3 -i0.2 10.77.0.2"), "what runs goes on");
    assert_eq!(a.exit_code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "silence ends a drain before its time");
    let start = Instant::now();
    b.terminate();
    assert_eq!(b.exit_code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_port_that_is_taken_is_said_and_taken_over_when_free() {
    let Some(lab) = lab() else { return };
    let squatter = lab.a.inside(|| UdpSocket::bind(("0.0.0.0", PORT)).unwrap()).join().unwrap();
    let (mut a, mut b) = (lab.a.engine(), lab.b.engine());
    let answer = a.apply(&lab.a, &[lab.a.to(&lab.b)]);
    assert_eq!(
        (&answer["errors"][0]["object"], &answer["errors"][0]["code"]),
        (&json!("engine"), &json!("ListenFailed"))
    );
    b.apply(&lab.b, &[lab.b.to(&lab.a)]);
    drop(squatter);
    lab.a.reaches("10.77.0.2", SOON);
}

#[test]
fn two_that_begin_at_once_agree() {
    let Some(lab) = lab() else { return };
    let (mut a, mut b) = (lab.a.quick_engine(), lab.b.quick_engine());
    for round in 0..5 {
        a.apply(&lab.a, &[]);
        b.apply(&lab.b, &[]);
        let (mut to_b, mut to_a) = (lab.a.to(&lab.b), lab.b.to(&lab.a));
        to_b["keepalive_s"] = json!(1);
        to_a["keepalive_s"] = json!(1);
        thread::scope(|both| {
            both.spawn(|| a.apply(&lab.a, &[to_b]));
            both.spawn(|| b.apply(&lab.b, &[to_a]));
        });
        lab.a.reaches("10.77.0.2", Duration::from_secs(3));
        assert!(lab.b.pings("-c5 -i0.2 10.77.0.1"), "round {round}");
    }
}
