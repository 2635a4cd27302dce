//! How flows end when they do not end well: what each side sees, and what both engines write.

mod lab;

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use lab::{
    Engine, Lab, peer, source_state,
    stream::{connect, echo, echoes, ends_in_reset, is_reset, reset, serve},
    target_state, v4, v6,
};
use serde_json::json;

fn reasons(a: &Engine, b: &Engine) -> (String, String) {
    let word = |engine: &Engine| engine.flow()["reason"].as_str().unwrap().to_owned();
    (word(a), word(b))
}

/// A flow that has echoed once.
fn flowing(lab: &Lab) -> TcpStream {
    let mut client = connect(lab, v4(7));
    assert!(echoes(&mut client, b"hello"));
    client
}

#[test]
fn a_reset_is_passed_on_both_ways_and_the_carrier_is_used_again() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(1);
    for address in [v4(8001), v6(8001)] {
        let server = serve(&lab, address, |mut stream| ends_in_reset(&mut stream));
        let mut client = connect(&lab, address);
        client.write_all(b"hello").unwrap();
        a.until("the bytes", |stats| stats["services"][0]["flows"] == 1);
        b.until("the flow", |stats| stats["services"][0]["flows"] == 1);
        reset(client);
        assert!(server.join().unwrap(), "the server sees RST");
        assert_eq!(reasons(&a, &b), ("client_reset".into(), "client_reset".into()));
        let server = serve(&lab, address, |mut stream| {
            stream.read_exact(&mut [0; 5]).unwrap();
            reset(stream);
        });
        let mut client = connect(&lab, address);
        client.write_all(b"hello").unwrap();
        assert!(ends_in_reset(&mut client), "the client sees RST");
        server.join().unwrap();
        assert_eq!(reasons(&a, &b), ("destination_reset".into(), "destination_reset".into()));
    }
    let stats = a.until("free carriers", |stats| stats["peers"][0]["carriers_busy"] == 0);
    assert!(stats["peers"][0]["carriers_idle"].as_u64().unwrap() >= 2);
}

#[test]
fn a_reset_behind_bytes_that_nobody_reads_still_arrives() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(1);
    let server = serve(&lab, v4(8001), |mut stream| {
        thread::sleep(Duration::from_secs(4));
        let start = Instant::now();
        (ends_in_reset(&mut stream), start.elapsed())
    });
    let client = connect(&lab, v4(8001));
    client.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let chunk = vec![1; 1 << 20];
    while (&client).write_all(&chunk).is_ok() {}
    reset(client);
    assert_eq!(reasons(&a, &b).0, "client_reset");
    let (was_reset, _) = server.join().unwrap();
    assert!(was_reset, "no clean end for half a stream");
}

#[test]
fn a_destination_that_does_not_take_the_flow_resets_the_client() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(1);
    for address in [v4(9), v6(9)] {
        assert!(is_reset(&lab, "client", address));
        assert_eq!(reasons(&a, &b), ("destination_refused".into(), "destination_refused".into()));
    }
    let nobody = "10.2.0.99:80".parse().unwrap();
    assert!(is_reset(&lab, "client", nobody));
    assert_eq!(reasons(&a, &b), ("destination_unreachable".into(), "destination_unreachable".into()));
}

#[test]
fn what_no_service_covers_is_refused_by_the_target() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(1);
    for address in ["10.2.1.5:80", "[fd02:0:0:1::5]:80"] {
        assert!(is_reset(&lab, "client", address.parse().unwrap()));
        assert_eq!(a.flow()["reason"], "refused_not_covered");
    }
    let refused = b.event("refused");
    assert_eq!((&refused["reason"], &refused["peer_id"]), (&"refused_not_covered".into(), &"edge-a".into()));
    let mut other = target_state();
    other["inbound"][0]["peer_id"] = json!("somebody-else");
    b.apply_ok(2, other);
    assert!(is_reset(&lab, "client", v4(80)));
    assert_eq!(a.flow()["reason"], "refused_unknown_service");
    assert_eq!((b.unheard("flow"), &b.stats()["refused_total"]), (0, &3.into()));
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
fn a_service_that_is_removed_resets_its_flows_at_once_on_either_side() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut client = flowing(&lab);
    let mut without = source_state();
    without["outbound"] = json!([]);
    a.apply_ok(2, without);
    assert!(ends_in_reset(&mut client));
    assert_eq!(reasons(&a, &b), ("service_removed".into(), "service_removed".into()));
    a.apply_ok(3, source_state());
    let mut client = flowing(&lab);
    let mut without = target_state();
    without["inbound"] = json!([]);
    b.apply_ok(2, without);
    assert!(ends_in_reset(&mut client));
    assert_eq!(reasons(&a, &b), ("service_removed".into(), "service_removed".into()));
    assert!(is_reset(&lab, "client", v4(7)));
    assert_eq!(a.flow()["reason"], "refused_unknown_service");
}

#[test]
fn a_peer_that_is_removed_takes_its_flows_along() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut client = flowing(&lab);
    let mut without = target_state();
    without["peers"] = json!([]);
    b.apply_ok(2, without);
    assert!(ends_in_reset(&mut client));
    assert_eq!(reasons(&a, &b), ("carrier_lost".into(), "carrier_lost".into()));
    a.event("peer");
    assert_eq!(a.event("peer")["state"], "down");
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
fn a_peer_that_vanishes_without_a_word_is_noticed_whether_flows_speak_or_not() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(1);
    echo(&lab, v4(7));
    let (mut quiet, mut speaking) = (flowing(&lab), flowing(&lab));
    lab.exec("edge-a", "nft add table ip void");
    lab.exec("edge-a", "nft add chain ip void in { type filter hook input priority 0 ; }");
    lab.exec("edge-a", "nft add rule ip void in ip saddr 10.9.0.2 drop");
    let start = Instant::now();
    speaking.write_all(b"anybody there?").unwrap();
    assert!(ends_in_reset(&mut speaking));
    assert!(ends_in_reset(&mut quiet));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(
        (a.flow()["reason"].clone(), a.flow()["reason"].clone()),
        (json!("carrier_lost"), json!("carrier_lost"))
    );
    assert_eq!(
        (b.flow()["reason"].clone(), b.flow()["reason"].clone()),
        (json!("carrier_lost"), json!("carrier_lost"))
    );
    assert!(start.elapsed() < Duration::from_secs(16), "{:?}", start.elapsed());
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
fn a_reader_that_pauses_for_long_is_not_taken_for_gone() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(1);
    const TOTAL: usize = 24 << 20;
    let server = serve(&lab, v4(8001), |mut stream| {
        thread::sleep(Duration::from_secs(15));
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.len()
    });
    let before = (a.rss_kib(), b.rss_kib());
    let mut client = connect(&lab, v4(8001));
    let sender = thread::spawn(move || client.write_all(&vec![5; TOTAL]).unwrap());
    thread::sleep(Duration::from_secs(10));
    for (engine, before) in [(&a, before.0), (&b, before.1)] {
        let grown = engine.rss_kib().saturating_sub(before);
        assert!(grown < 2048, "{} holds {grown} KiB for one stalled flow", engine.name);
    }
    sender.join().unwrap();
    assert_eq!(server.join().unwrap(), TOTAL);
    assert_eq!(reasons(&a, &b), ("closed".into(), "closed".into()));
}

#[test]
fn a_flow_to_the_engine_itself_is_refused() {
    let Some(lab) = lab::lab() else { return };
    let (a, _b) = lab.pair(1);
    let port = a.apply_ok(2, source_state())["listeners"][0]["port"].as_u64().unwrap() as u16;
    assert!(is_reset(&lab, "edge-a", ([127, 0, 0, 1], port).into()));
    assert_eq!(a.event("refused")["reason"], "loop");
}
