//! The source's FIN, when it is the second one, waits a moment for the next flow on its carrier. Nobody can tell but by counting
//! segments.

mod lab;

use std::{
    io::{Read, Write},
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use lab::{
    Lab,
    stream::{connect, ends_in_reset, serve},
    v4,
};
use serde_json::json;

/// A destination that ends first and then waits for the client's end: whether that was an RST, and when it came.
fn ends_first(lab: &Lab, port: u16) -> thread::JoinHandle<(bool, Instant)> {
    serve(lab, v4(port), |mut stream| {
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        (ends_in_reset(&mut stream), Instant::now())
    })
}

/// A client that has heard all of it.
fn heard(lab: &Lab, port: u16) -> std::net::TcpStream {
    let mut client = connect(lab, v4(port));
    let mut words = Vec::new();
    client.read_to_end(&mut words).unwrap();
    assert_eq!(words, b"bye");
    client
}

#[test]
fn it_arrives_though_no_other_flow_comes() {
    let Some(lab) = lab::lab() else { return };
    let (a, _b) = lab.pair(1);
    assert_eq!(a.event("peer")["state"], "up");
    let server = ends_first(&lab, 8000);
    let client = heard(&lab, 8000);
    let closed = Instant::now();
    drop(client);
    let (was_reset, ended) = server.join().unwrap();
    assert!(!was_reset);
    assert!(ended - closed < Duration::from_millis(500), "{:?}", ended - closed);
}

#[test]
fn it_is_said_before_its_carrier_is_closed() {
    let Some(lab) = lab::lab() else { return };
    let (a, _b) = lab.pair(1);
    assert_eq!(a.event("peer")["state"], "up");
    let ports = 8000..8020;
    let servers: Vec<_> = ports.clone().map(|port| ends_first(&lab, port)).collect();
    let clients: Vec<_> = ports.map(|port| heard(&lab, port)).collect();
    drop(clients);
    // Closes all carriers that have no flow, also those whose last flow's end still waits.
    a.say(&json!({"type": "drain", "timeout_ms": 1000}));
    for server in servers {
        assert!(!server.join().unwrap().0, "an end that was clean arrives as one");
    }
}

#[test]
fn flows_that_follow_each_other_at_once_end_cleanly() {
    let Some(lab) = lab::lab() else { return };
    let (a, _b) = lab.pair(1);
    assert_eq!(a.event("peer")["state"], "up");
    let ports = 8000..8040;
    let servers: Vec<_> = ports.clone().map(|port| ends_first(&lab, port)).collect();
    for port in ports {
        drop(heard(&lab, port));
    }
    for server in servers {
        assert!(!server.join().unwrap().0);
        assert_eq!(a.flow()["reason"], "closed");
    }
    a.until("a carrier for the next flow", |stats| stats["peers"][0]["carriers_busy"] == 0);
}
