//! What a carrier promises, whatever it goes over: each promise is held to TCP and to KCP. What only one of them can do or
//! suffer is in `flows`, `endings` and `kcp`.

mod lab;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use lab::{
    Engine, Lab, over, source_state,
    stream::{connect, drink, echo, echoes, ends_in_reset, is_reset, pour, reset, serve},
    target_state, v4, v6,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use socket2::SockRef;

/// Every promise, once over each.
macro_rules! promises {
    ($($name:ident,)*) => {
        mod tcp { $(#[test] fn $name() { super::$name("tcp") })* }
        mod kcp { $(#[test] fn $name() { super::$name("kcp") })* }
    };
}

promises! {
    each_side_may_end_its_half_and_go_on_listening,
    a_server_may_speak_first,
    an_urgent_byte_arrives_in_its_place_both_ways,
    bytes_arrive_as_they_were_sent_whatever_their_sizes_and_pauses,
    a_reset_is_passed_on_both_ways_and_the_carrier_is_used_again,
    a_reset_behind_bytes_that_nobody_reads_still_arrives,
    a_destination_that_does_not_take_the_flow_resets_the_client,
    what_no_service_covers_is_refused_by_the_target,
    a_service_that_is_removed_resets_its_flows_at_once_on_either_side,
    a_service_that_is_removed_with_its_peer_is_why_the_flow_ended_on_both_sides,
    a_peer_that_is_removed_takes_its_flows_along,
    a_peer_that_vanishes_is_noticed_whether_flows_speak_or_not,
    a_reader_that_pauses_for_long_holds_little_and_finds_everything,
    a_burst_of_flows_is_carried_by_carriers_that_are_used_again,
    last_words_arrive_before_a_drained_engine_ends,
}

fn reasons(a: &Engine, b: &Engine) -> (String, String) {
    let word = |engine: &Engine| engine.flow()["reason"].as_str().unwrap().to_owned();
    (word(a), word(b))
}

fn both(reason: &str) -> (String, String) {
    (reason.to_owned(), reason.to_owned())
}

/// A flow that has echoed once.
fn flowing(lab: &Lab) -> TcpStream {
    let mut client = connect(lab, v4(7));
    assert!(echoes(&mut client, b"hello"));
    client
}

/// Carriers by this transport that are idle, and that are busy.
fn carriers(stats: &Value, transport: &str) -> (u64, u64) {
    let peers = stats["peers"].as_array().unwrap().iter().filter(|peer| peer["transport"] == transport);
    let count = |peer: &Value, which: &str| peer[which].as_u64().unwrap();
    peers.fold((0, 0), |(idle, busy), peer| (idle + count(peer, "carriers_idle"), busy + count(peer, "carriers_busy")))
}

fn each_side_may_end_its_half_and_go_on_listening(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 1);
    for address in [v4(8001), v6(8001)] {
        // The client ends first, the server answers what it has got.
        let server = serve(&lab, address, |mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        });
        let mut client = connect(&lab, address);
        client.write_all(b"all of it").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"all of it");
        server.join().unwrap();
        assert_eq!(reasons(&a, &b), both("closed"));
        // The server ends first, the client goes on sending.
        let server = serve(&lab, address, |mut stream| {
            stream.write_all(b"that was all").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all
        });
        let mut client = connect(&lab, address);
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"that was all");
        client.write_all(b"but not for me").unwrap();
        drop(client);
        assert_eq!(server.join().unwrap(), b"but not for me");
        assert_eq!(reasons(&a, &b), both("closed"));
    }
    let other = if transport == "tcp" { "kcp" } else { "tcp" };
    assert_eq!((carriers(&a.stats(), other), carriers(&b.stats(), other)), ((0, 0), (0, 0)));
}

fn a_server_may_speak_first(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let _engines = lab.pair_over(transport, 1);
    let server = serve(&lab, v4(25), |mut stream| {
        stream.write_all(b"220 ready").unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        word
    });
    let mut client = connect(&lab, v4(25));
    let mut greeting = [0; 9];
    client.read_exact(&mut greeting).unwrap();
    client.write_all(b"quit").unwrap();
    assert_eq!((&greeting, &server.join().unwrap()), (b"220 ready", b"quit"));
}

fn an_urgent_byte_arrives_in_its_place_both_ways(transport: &str) {
    fn say(stream: &mut TcpStream) {
        stream.write_all(b"ab").unwrap();
        SockRef::from(&*stream).send_out_of_band(b"!").unwrap();
        stream.write_all(b"cd").unwrap();
    }
    fn hear(stream: &mut TcpStream) -> [u8; 5] {
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).unwrap();
        heard
    }
    let Some(lab) = lab::lab() else { return };
    let (a, _b) = lab.pair_over(transport, 1);
    let server = serve(&lab, v4(8005), |mut stream| {
        say(&mut stream);
        hear(&mut stream)
    });
    // All of it is there before the engine reads, so what is behind the urgent byte may come with no event of its own.
    a.signal(Signal::STOP);
    let mut client = connect(&lab, v4(8005));
    say(&mut client);
    a.signal(Signal::CONT);
    assert_eq!(&hear(&mut client), b"ab!cd");
    assert_eq!(&server.join().unwrap(), b"ab!cd");
}

fn bytes_arrive_as_they_were_sent_whatever_their_sizes_and_pauses(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 2);
    const TOTAL: u64 = 6_000_000;
    let flows: Vec<_> = (0..6u16)
        .map(|number| {
            let address = if number % 3 == 2 { v6(8100 + number) } else { v4(8100 + number) };
            let (up, down) = (u64::from(number) * 2 + 1, u64::from(number) * 2 + 2);
            let both = |mut stream: TcpStream, out: u64, back: u64| {
                let mut sending = stream.try_clone().unwrap();
                let sender = thread::spawn(move || {
                    pour(&mut sending, out, TOTAL);
                    sending.shutdown(Shutdown::Write).unwrap();
                });
                let came = drink(&mut stream, back);
                sender.join().unwrap();
                came
            };
            let server = serve(&lab, address, move |stream| both(stream, down, up));
            let stream = connect(&lab, address);
            (server, thread::spawn(move || both(stream, up, down)))
        })
        .collect();
    for (server, client) in flows {
        assert_eq!((client.join().unwrap(), server.join().unwrap()), (TOTAL, TOTAL));
    }
    for engine in [&a, &b] {
        for _ in 0..6 {
            let line = engine.flow();
            assert_eq!(
                (&line["bytes_in"], &line["bytes_out"], &line["reason"]),
                (&TOTAL.into(), &TOTAL.into(), &"closed".into())
            );
        }
    }
}

fn a_reset_is_passed_on_both_ways_and_the_carrier_is_used_again(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 1);
    for address in [v4(8001), v6(8001)] {
        let server = serve(&lab, address, |mut stream| ends_in_reset(&mut stream));
        let mut client = connect(&lab, address);
        client.write_all(b"hello").unwrap();
        a.until("the bytes", |stats| stats["services"][0]["flows"] == 1);
        b.until("the flow", |stats| stats["services"][0]["flows"] == 1);
        reset(client);
        assert!(server.join().unwrap(), "the server sees RST");
        assert_eq!(reasons(&a, &b), both("client_reset"));
        let server = serve(&lab, address, |mut stream| {
            stream.read_exact(&mut [0; 5]).unwrap();
            reset(stream);
        });
        let mut client = connect(&lab, address);
        client.write_all(b"hello").unwrap();
        assert!(ends_in_reset(&mut client), "the client sees RST");
        server.join().unwrap();
        assert_eq!(reasons(&a, &b), both("destination_reset"));
    }
    let stats = a.until("free carriers", |stats| carriers(stats, transport).1 == 0);
    assert!(carriers(&stats, transport).0 >= 2, "{stats}");
}

fn a_reset_behind_bytes_that_nobody_reads_still_arrives(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 1);
    let server = serve(&lab, v4(8001), |mut stream| {
        thread::sleep(Duration::from_secs(4));
        ends_in_reset(&mut stream)
    });
    let client = connect(&lab, v4(8001));
    client.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let chunk = vec![1; 1 << 20];
    while (&client).write_all(&chunk).is_ok() {}
    reset(client);
    assert_eq!(reasons(&a, &b).0, "client_reset");
    assert!(server.join().unwrap(), "no clean end for half a stream");
}

fn a_destination_that_does_not_take_the_flow_resets_the_client(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 1);
    for address in [v4(9), v6(9)] {
        assert!(is_reset(&lab, "client", address));
        assert_eq!(reasons(&a, &b), both("destination_refused"));
    }
    assert!(is_reset(&lab, "client", "10.2.0.99:80".parse().unwrap()));
    assert_eq!(reasons(&a, &b), both("destination_unreachable"));
}

fn what_no_service_covers_is_refused_by_the_target(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 1);
    for address in ["10.2.1.5:80", "[fd02:0:0:1::5]:80"] {
        assert!(is_reset(&lab, "client", address.parse().unwrap()));
        assert_eq!(a.flow()["reason"], "refused_not_covered");
    }
    let refused = b.event("refused");
    assert_eq!((&refused["reason"], &refused["peer_id"]), (&"refused_not_covered".into(), &"edge-a".into()));
    let mut other = over(transport, target_state());
    other["inbound"][0]["peer_id"] = json!("somebody-else");
    b.apply_ok(2, other);
    assert!(is_reset(&lab, "client", v4(80)));
    assert_eq!(a.flow()["reason"], "refused_unknown_service");
    assert_eq!((b.unheard("flow"), &b.stats()["refused_total"]), (0, &3.into()));
}

fn a_service_that_is_removed_resets_its_flows_at_once_on_either_side(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 2);
    echo(&lab, v4(7));
    let mut client = flowing(&lab);
    let mut without = over(transport, source_state());
    without["outbound"] = json!([]);
    a.apply_ok(2, without);
    assert!(ends_in_reset(&mut client));
    assert_eq!(reasons(&a, &b), both("service_removed"));
    a.apply_ok(3, over(transport, source_state()));
    let mut client = flowing(&lab);
    let mut without = over(transport, target_state());
    without["inbound"] = json!([]);
    b.apply_ok(2, without);
    assert!(ends_in_reset(&mut client));
    assert_eq!(reasons(&a, &b), both("service_removed"));
    assert!(is_reset(&lab, "client", v4(7)));
    assert_eq!(a.flow()["reason"], "refused_unknown_service");
}

fn a_service_that_is_removed_with_its_peer_is_why_the_flow_ended_on_both_sides(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 2);
    echo(&lab, v4(7));
    for generation in [2, 4, 6, 8, 10] {
        let mut client = flowing(&lab);
        let mut without = over(transport, source_state());
        without["outbound"] = json!([]);
        without["peers"] = json!([]);
        a.apply_ok(generation, without);
        assert!(ends_in_reset(&mut client));
        assert_eq!(reasons(&a, &b), both("service_removed"));
        a.apply_ok(generation + 1, over(transport, source_state()));
    }
}

fn a_peer_that_is_removed_takes_its_flows_along(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 2);
    echo(&lab, v4(7));
    let mut client = flowing(&lab);
    let mut without = over(transport, target_state());
    without["peers"] = json!([]);
    b.apply_ok(2, without);
    assert!(ends_in_reset(&mut client));
    assert_eq!(reasons(&a, &b), both("carrier_lost"));
    a.event("peer");
    assert_eq!(a.event("peer")["state"], "down");
}

fn a_peer_that_vanishes_is_noticed_whether_flows_speak_or_not(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 1);
    echo(&lab, v4(7));
    let (mut quiet, mut speaking) = (flowing(&lab), flowing(&lab));
    lab.rule("edge-a", "ip saddr 10.9.0.2 drop");
    let start = Instant::now();
    speaking.write_all(b"anybody there?").unwrap();
    assert!(ends_in_reset(&mut speaking));
    assert!(ends_in_reset(&mut quiet));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    let lost: Vec<Value> = [&a, &a, &b, &b].iter().map(|engine| engine.flow()["reason"].clone()).collect();
    assert_eq!(lost, ["carrier_lost"; 4]);
    assert!(start.elapsed() < Duration::from_secs(16), "{:?}", start.elapsed());
}

fn a_reader_that_pauses_for_long_holds_little_and_finds_everything(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 1);
    const TOTAL: usize = 24 << 20;
    let server = serve(&lab, v4(8001), |mut stream| {
        thread::sleep(Duration::from_secs(15));
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.len()
    });
    // The kernel holds TCP's window, and we hold KCP's.
    let most = if transport == "tcp" { 2 << 10 } else { 12 << 10 };
    let before = (a.rss_kib(), b.rss_kib());
    let mut client = connect(&lab, v4(8001));
    let sender = thread::spawn(move || client.write_all(&vec![5; TOTAL]).unwrap());
    thread::sleep(Duration::from_secs(10));
    for (engine, before) in [(&a, before.0), (&b, before.1)] {
        let grown = engine.rss_kib().saturating_sub(before);
        assert!(grown < most, "{} holds {grown} KiB for one stalled flow", engine.name);
    }
    sender.join().unwrap();
    assert_eq!(server.join().unwrap(), TOTAL);
    assert_eq!(reasons(&a, &b), both("closed"));
}

fn a_burst_of_flows_is_carried_by_carriers_that_are_used_again(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 2);
    echo(&lab, v4(7));
    drop(flowing(&lab));
    let at_rest = |stats: &Value| stats["services"][0]["flows"] == 0 && carriers(stats, transport).1 == 0;
    for _ in 0..2 {
        let mut clients: Vec<_> = (0..200).map(|_| connect(&lab, v4(7))).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            assert!(echoes(client, format!("word {number}").as_bytes()), "{number}: {:?}", client.local_addr());
        }
        drop(clients);
        a.until("no flow", at_rest);
        b.until("no flow", at_rest);
    }
    let stats = a.stats();
    assert_eq!(stats["services"][0]["flows_total"], 401);
    // One descriptor per carrier and a few of the engine's own; no client, no destination.
    let most = carriers(&stats, transport).0;
    for engine in [&a, &b] {
        let files = engine.open_files();
        assert!(files < most as usize + 40, "{} has {files} files open with {most} carriers", engine.name);
    }
    // The surplus is closed here, and with it there.
    let here = a.until("fewer carriers", |stats| carriers(stats, transport).0 < most);
    b.until("as many", |stats| carriers(stats, transport).0 <= carriers(&here, transport).0);
}

fn last_words_arrive_before_a_drained_engine_ends(transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (mut a, b) = lab.pair_over(transport, 2);
    echo(&lab, v4(7));
    let (mut staying, ending) = (flowing(&lab), flowing(&lab));
    a.say(&json!({"type": "drain", "timeout_ms": 1000}));
    drop(ending);
    assert!(ends_in_reset(&mut staying));
    assert_eq!(a.wait().code(), Some(0));
    let mut ends = [b.flow()["reason"].clone(), b.flow()["reason"].clone()];
    ends.sort_by_key(|end| end.to_string());
    assert_eq!(ends, ["closed", "drained"]);
    b.until("no carrier", |stats| carriers(stats, transport) == (0, 0));
}
