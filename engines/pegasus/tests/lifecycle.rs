//! An engine's life as its agent sees it: states, ports, drains, limits, memory.

mod lab;

use std::{
    io::{Read, Write},
    net::TcpListener,
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

#[test]
fn a_bandwidth_limit_holds_each_way_and_is_shared_evenly() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(2);
    let mbps = 80.0;
    let mut source = source_state();
    source["outbound"] = json!([outbound(SERVICE, mbps)]);
    a.apply_ok(2, source);
    let mut target = target_state();
    target["inbound"][0]["bandwidth_mbps"] = json!(mbps);
    b.apply_ok(2, target);
    let time = Duration::from_secs(2);
    let rates = |got: Vec<u64>| {
        let total: u64 = got.iter().sum();
        let squares: f64 = got.iter().map(|&bytes| (bytes as f64).powi(2)).sum();
        ((total * 8) as f64 / time.as_secs_f64() / 1e6, (total as f64).powi(2) / (got.len() as f64 * squares))
    };
    // All count over the same two seconds, after what the buffers held before the limit was felt.
    let count = move |start: Instant| {
        move |mut stream: std::net::TcpStream| {
            let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
            while start.elapsed() < time {
                let length = stream.read(&mut buffer).unwrap() as u64;
                bytes += if Instant::now() > start { length } else { 0 };
            }
            (bytes, stream)
        }
    };
    let measured = |direction: &str, flows: Vec<thread::JoinHandle<(u64, std::net::TcpStream)>>| {
        let ended: Vec<_> = flows.into_iter().map(|flow| flow.join().unwrap()).collect();
        let (rate, jain) = rates(ended.iter().map(|(bytes, _)| *bytes).collect());
        eprintln!("{direction}: {rate:.1} of {mbps} Mbit/s, Jain {jain:.4}");
        assert!((mbps * 0.85..mbps * 1.1).contains(&rate) && jain > 0.97, "{direction} {rate} Mbit/s, Jain {jain}");
    };
    let start = Instant::now() + Duration::from_millis(2000);
    // Up: the clients write as fast as they may.
    let flows = (0..6).map(|number| {
        let server = serve(&lab, v4(8001 + number), count(start));
        let mut client = connect(&lab, v4(8001 + number));
        thread::spawn(move || while client.write_all(&[7; 65536]).is_ok() {});
        server
    });
    measured("up", flows.collect());
    let start = Instant::now() + Duration::from_millis(2000);
    // Down: the servers do.
    let flows = (0..6).map(|number| {
        serve(&lab, v4(8101 + number), |mut stream| while stream.write_all(&[7; 65536]).is_ok() {});
        let client = connect(&lab, v4(8101 + number));
        let counting = count(start);
        thread::spawn(move || counting(client))
    });
    measured("down", flows.collect());
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
    for (engine, before) in [(&a, before.0), (&b, before.1)] {
        let each = (engine.rss_kib() - before) as f64 / FLOWS as f64;
        eprintln!("{}: {each:.2} KiB per idle flow, {before} KiB with 50", engine.name);
        assert!(each < 4.0, "{} takes {each} KiB per idle flow", engine.name);
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
