//! How flows over TCP end when they do not end well: what each side sees, and what both engines write. See `manners` for
//! what is the same over KCP.

mod lab;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use lab::{
    Lab, peer, source_state,
    stream::{connect, echo, echoes, ends_in_reset, is_reset, serve},
    target_state, v4,
};
use serde_json::json;

/// A flow that has echoed once.
fn flowing(lab: &Lab) -> TcpStream {
    let mut client = connect(lab, v4(7));
    assert!(echoes(&mut client, b"hello"));
    client
}

#[test]
fn a_peer_with_another_key_than_recorded_gets_nowhere() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = (lab.engine("edge-a", 1), lab.engine("edge-b", 1));
    let mut suspicious = target_state();
    suspicious["peers"] =
        json!([{"peer_id": "edge-a", "public_key": peer("edge-x", &[])["public_key"], "addresses": []}]);
    b.apply_ok(1, suspicious);
    let port = a.apply_ok(1, source_state())["listeners"][0]["port"].as_u64().unwrap();
    lab.intercept(port as u16);
    assert_eq!(a.event("peer")["state"], "down");
    assert_eq!(b.event("refused")["reason"], "wrong_key");
    // In its first seconds a target may not know this engine yet, and flows wait for it.
    std::thread::sleep(Duration::from_secs(3));
    let start = Instant::now();
    assert!(is_reset(&lab, "client", v4(80)));
    assert!(start.elapsed() < Duration::from_secs(1), "a peer that is down resets at once");
    assert_eq!(a.flow()["reason"], "peer_down");
    // Once the record is right, it heals by itself.
    echo(&lab, v4(7));
    b.apply_ok(2, target_state());
    assert_eq!(a.event("peer")["state"], "up");
    flowing(&lab);
}

#[test]
fn flows_that_have_said_nothing_yet_outlive_a_restart_of_the_target() {
    let Some(lab) = lab::lab() else { return };
    let (a, mut b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut silent = connect(&lab, v4(7));
    b.until("the flow", |stats| stats["services"][0]["flows"] == 1);
    b.kill();
    assert_eq!(a.event("peer")["state"], "up");
    assert_eq!(a.event("peer")["state"], "down");
    let mut new = connect(&lab, v4(7));
    std::thread::sleep(Duration::from_millis(300));
    let b = lab.engine("edge-b", 2);
    b.apply_ok(1, target_state());
    assert!(echoes(&mut new, b"waited") && echoes(&mut silent, b"begun again"));
    // Not for ever.
    drop(b);
    let mut hopeless = connect(&lab, v4(7));
    let start = Instant::now();
    assert!(ends_in_reset(&mut hopeless));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    let start = Instant::now();
    assert!(is_reset(&lab, "client", v4(7)));
    assert!(start.elapsed() < Duration::from_secs(1), "a peer that stays down resets at once");
}

#[test]
fn an_engine_that_dies_resets_both_ends_and_comes_back() {
    let Some(lab) = lab::lab() else { return };
    let (a, mut b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut client = flowing(&lab);
    b.kill();
    assert!(ends_in_reset(&mut client), "no clean end for half a stream");
    assert_eq!(a.flow()["reason"], "carrier_lost");
    a.event("peer");
    assert_eq!(a.event("peer")["state"], "down");
    drop(b);
    let b = lab.engine("edge-b", 2);
    b.apply_ok(1, target_state());
    let start = Instant::now();
    assert_eq!(a.event("peer")["state"], "up");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    flowing(&lab);
    // And the other way round: the server must not take the end of engine a for the end of the stream.
    let server = serve(&lab, v4(8001), |mut stream| {
        stream.write_all(b"!").unwrap();
        ends_in_reset(&mut stream)
    });
    let mut client = connect(&lab, v4(8001));
    client.write_all(b"half of it").unwrap();
    client.read_exact(&mut [0]).unwrap();
    let mut a = a;
    a.kill();
    assert!(server.join().unwrap(), "a truncation is an RST");
}

#[test]
fn a_peer_that_vanishes_is_noticed_while_its_window_is_shut() {
    let Some(lab) = lab::lab() else { return };
    let (a, _b) = lab.pair(1);
    let _server =
        serve(&lab, v4(8001), |stream| thread::sleep(Duration::from_secs(25 + u64::from(stream.peer_addr().is_err()))));
    let client = connect(&lab, v4(8001));
    client.set_write_timeout(Some(Duration::from_millis(1000))).unwrap();
    let chunk = vec![1; 1 << 20];
    while (&client).write_all(&chunk).is_ok() {}
    lab.exec("edge-a", "ip link set w9l down");
    let start = Instant::now();
    client.set_write_timeout(Some(lab::PATIENCE)).unwrap();
    while (&client).write_all(&chunk).is_ok() {}
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(a.flow()["reason"], "carrier_lost");
}

#[test]
fn what_was_on_its_way_to_a_reader_that_reset_does_not_cost_the_next_flow() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(1);
    echo(&lab, v4(7));
    let (close, closing) = mpsc::channel::<()>();
    // Closed with bytes unread, which is an RST.
    let server = serve(&lab, v4(8001), move |stream| {
        closing.recv().unwrap();
        drop(stream);
    });
    let client = connect(&lab, v4(8001));
    client.set_write_timeout(Some(Duration::from_millis(1000))).unwrap();
    let chunk = vec![1; 1 << 20];
    while (&client).write_all(&chunk).is_ok() {}
    close.send(()).unwrap();
    server.join().unwrap();
    assert_eq!(b.flow()["reason"], "destination_reset");
    assert_eq!(a.flow()["reason"], "destination_reset");
    // On the same carrier, which became free last.
    let start = Instant::now();
    let mut next = flowing(&lab);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    thread::sleep(Duration::from_secs(4));
    assert!(echoes(&mut next, b"still there"));
    assert_eq!(a.unheard("flow") + b.unheard("flow"), 0);
}

#[test]
fn a_peer_is_reached_by_whichever_of_its_addresses_answers() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = (lab.engine("edge-a", 1), lab.engine("edge-b", 1));
    echo(&lab, v4(7));
    b.apply_ok(1, target_state());
    let mut source = source_state();
    // Nobody there; nobody listening there; the right one, over IPv6.
    source["peers"] = json!([peer("edge-b", &["10.9.0.77:7947", "10.9.0.2:7", "[fd09::2]:7947"])]);
    let start = Instant::now();
    let port = a.apply_ok(1, source)["listeners"][0]["port"].as_u64().unwrap();
    lab.intercept(port as u16);
    let up = a.event("peer");
    assert_eq!((&up["state"], &up["address"]), (&"up".into(), &"[fd09::2]:7947".into()));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    flowing(&lab);
}

#[test]
fn a_flow_to_the_engine_itself_is_refused() {
    let Some(lab) = lab::lab() else { return };
    let (a, _b) = lab.pair(1);
    let port = a.apply_ok(2, source_state())["listeners"][0]["port"].as_u64().unwrap() as u16;
    assert!(is_reset(&lab, "edge-a", ([127, 0, 0, 1], port).into()));
    assert_eq!(a.event("refused")["reason"], "loop");
}
