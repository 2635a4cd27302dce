//! An engine's life as its agent sees it: states, ports, drains, limits, memory.

mod lab;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use lab::{
    SERVICE, outbound, source_state,
    stream::{connect, echo, echoes, ends_in_reset, serve},
    target_state, v4,
};
use serde_json::{Value, json};

#[test]
fn a_listener_keeps_its_port_and_flows_do_not_notice_a_new_state() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut client = connect(&lab, v4(7));
    assert!(echoes(&mut client, b"before"));
    let ports = a.apply_ok(2, source_state())["listeners"].clone();
    let mut more = source_state();
    more["listeners"].as_array_mut().unwrap().push(json!({"name": "own", "port": 0, "service_id": SERVICE}));
    more["outbound"][0]["bandwidth_mbps"] = json!(100);
    let listeners = a.apply_ok(3, more)["listeners"].clone();
    b.apply_ok(2, target_state());
    assert_eq!((listeners.as_array().unwrap().len(), &listeners[0]), (2, &ports[0]));
    assert!(echoes(&mut client, b"after"));
    let own = listeners[1]["port"].as_u64().unwrap() as u16;
    // A wish is kept when it can be, and said when it cannot.
    let blocker = lab.on("edge-a", || TcpListener::bind(("127.0.0.1", own + 1)).unwrap());
    let mut wishes = source_state();
    wishes["listeners"].as_array_mut().unwrap().extend([
        json!({"name": "taken", "port": own + 1, "service_id": SERVICE}),
        json!({"name": "wished", "port": own, "service_id": SERVICE}),
    ]);
    a.apply_ok(4, source_state());
    let listeners = a.apply_ok(5, wishes)["listeners"].clone();
    assert_eq!(listeners[2], json!({"name": "wished", "port": own}));
    assert_ne!(listeners[1]["port"], own + 1);
    drop(blocker);
    assert_eq!(a.service()["flows_total"], 1, "counters survive while the service stays");
}

#[test]
fn a_drain_takes_nothing_new_lets_flows_end_and_cuts_them_at_the_timeout() {
    let Some(lab) = lab::lab() else { return };
    let (mut a, b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut staying = connect(&lab, v4(7));
    let mut ending = connect(&lab, v4(7));
    assert!(echoes(&mut staying, b"1") && echoes(&mut ending, b"2"));
    let start = Instant::now();
    a.say(&json!({"type": "drain", "timeout_ms": 1500}));
    a.hear("draining", |message| message["type"] == "draining");
    assert!(echoes(&mut ending, b"still"));
    drop(ending);
    assert_eq!(a.flow()["reason"], "closed");
    assert!(ends_in_reset(&mut staying));
    assert!(start.elapsed() >= Duration::from_millis(1400), "{:?}", start.elapsed());
    assert_eq!(a.wait().code(), Some(0));
    assert_eq!((a.flow()["reason"].clone(), a.has_socket()), (json!("drained"), false));
    b.until("no flow", |stats| stats["services"][0]["flows"] == 0);
}

#[test]
fn sigterm_ends_at_once_and_cleanly() {
    let Some(lab) = lab::lab() else { return };
    let (mut a, mut b) = lab.pair(1);
    echo(&lab, v4(7));
    let mut client = connect(&lab, v4(7));
    assert!(echoes(&mut client, b"1"));
    assert_eq!(b.terminate().code(), Some(0));
    assert!(ends_in_reset(&mut client));
    assert_eq!(a.flow()["reason"], "drained");
    assert_eq!(a.terminate().code(), Some(0));
    assert!(!a.has_socket());
}

/// How exactly is for the bucket's own tests, whose clock is virtual, and for the bench. Here: that both directions go
/// through it, however slow this machine is.
#[test]
fn a_bandwidth_limit_holds_each_way_and_is_shared() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(2);
    let mbps = 80.0;
    let mut source = source_state();
    source["outbound"] = json!([outbound(SERVICE, mbps)]);
    a.apply_ok(2, source);
    let mut target = target_state();
    target["inbound"][0]["bandwidth_mbps"] = json!(mbps);
    b.apply_ok(2, target);
    const FLOWS: u16 = 6;
    const TOTAL: u64 = 12 << 20;
    let pour = |mut stream: TcpStream| while stream.write_all(&[7; 65536]).is_ok() {};
    for (direction, first_port) in [("up", 8001), ("down", 8101)] {
        let got: Arc<[AtomicU64; FLOWS as usize]> = Arc::default();
        let count = |number: u16| {
            let got = got.clone();
            move |mut stream: TcpStream| {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    got[usize::from(number)].fetch_add(length as u64, Relaxed);
                }
            }
        };
        let began = Instant::now();
        let mut ends = Vec::new();
        for number in 0..FLOWS {
            let address = v4(first_port + number);
            if direction == "up" {
                serve(&lab, address, count(number));
            } else {
                serve(&lab, address, pour);
            }
            let client = connect(&lab, address);
            ends.push(client.try_clone().unwrap());
            if direction == "up" {
                thread::spawn(move || pour(client));
            } else {
                let count = count(number);
                thread::spawn(move || count(client));
            }
        }
        let all = || got.iter().map(|bytes| bytes.load(Relaxed)).collect::<Vec<_>>();
        while all().iter().sum::<u64>() < TOTAL {
            thread::sleep(Duration::from_millis(10));
        }
        let (got, time) = (all(), began.elapsed().as_secs_f64());
        // Nothing gets by the bucket: no more than its rate gave in all this time, and what it keeps for a late worker.
        let (total, most) = (got.iter().sum::<u64>() as f64, mbps * 125_000.0 * (time + 0.1));
        assert!(total <= most, "{direction}: {total} bytes in {time:.2} s, {most:.0} at most");
        let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
        assert!(least * 3 > *most, "{direction}: {got:?}");
        ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
    }
}

#[test]
fn an_idle_flow_costs_little_memory() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(2);
    echo(&lab, v4(7));
    const FLOWS: u64 = 1000;
    let mut warm: Vec<_> = (0..50).map(|_| connect(&lab, v4(7))).collect();
    warm.iter_mut().for_each(|client| assert!(echoes(client, b"x")));
    let before = (a.rss_kib(), b.rss_kib());
    let mut clients: Vec<_> = (0..FLOWS).map(|_| connect(&lab, v4(7))).collect();
    clients.iter_mut().for_each(|client| assert!(echoes(client, b"x")));
    // How many carriers are kept warm beside those in use goes by how fast the flows came.
    let warm_carriers = a.stats()["peers"][0]["carriers_idle"].as_u64().unwrap();
    for (engine, before) in [(&a, before.0), (&b, before.1)] {
        let each = (engine.rss_kib() - before) as f64 / (FLOWS + warm_carriers) as f64;
        eprintln!(
            "{}: {each:.2} KiB per idle flow, {warm_carriers} warm carriers among them, {before} KiB with 50",
            engine.name
        );
        assert!(each < 3.0, "{} takes {each} KiB for each", engine.name);
    }
}

#[test]
fn a_large_state_is_taken_in_a_moment() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut state = source_state();
    let routes: Vec<Value> = (0..10_000)
        .map(|number| {
            let dest = format!("10.{}.{}.0/24", 100 + number / 256, number % 256);
            json!({"service_id": SERVICE, "route_id": format!("r{number}"), "source": null, "dest": dest})
        })
        .collect();
    state["listeners"][0]["table"]["routes"].as_array_mut().unwrap().extend(routes);
    let start = Instant::now();
    a.apply_ok(2, state);
    let took = start.elapsed();
    eprintln!("10,000 routes applied in {took:?}");
    // A debug build on a busy machine; the bench has the real figure.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(echoes(&mut connect(&lab, v4(7)), b"still there"));
    drop(b);
}
