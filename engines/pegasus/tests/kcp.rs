//! Carriers over KCP: the same promises as over TCP, on wires that lose and double datagrams, among strangers.

mod lab;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use lab::{
    Engine, Lab, private_key, source_state,
    stream::{Dice, connect, drink, echo, echoes, ends_in_reset, is_reset, pour, reset, serve},
    target_state, v4, v6,
};
use pegasus::{
    handshake::{Initiator, public_key},
    kcp::greeting,
};
use serde_json::{Value, json};

fn by_kcp(mut state: Value) -> Value {
    for side in ["outbound", "inbound"] {
        for service in state[side].as_array_mut().unwrap() {
            service["transport"] = json!("kcp");
        }
    }
    state
}

/// Both engines joined by a service over KCP; TCP between them is impossible.
fn pair(lab: &Lab, workers: usize) -> (Engine, Engine) {
    rule(lab, "edge-b", "tcp dport 7947 reject with tcp reset");
    let (a, b) = (lab.engine("edge-a", workers), lab.engine("edge-b", workers));
    b.apply_ok(1, by_kcp(target_state()));
    let applied = a.apply_ok(1, by_kcp(source_state()));
    lab.intercept(applied["listeners"][0]["port"].as_u64().unwrap() as u16);
    (a, b)
}

/// A rule for what comes in at a host.
fn rule(lab: &Lab, host: &str, rule: &str) {
    lab.exec(host, "nft add table inet wire");
    lab.exec(host, "nft add chain inet wire in { type filter hook input priority 0 ; }");
    lab.exec(host, &format!("nft add rule inet wire in {rule}"));
}

fn reasons(a: &Engine, b: &Engine) -> (String, String) {
    let word = |engine: &Engine| engine.flow()["reason"].as_str().unwrap().to_owned();
    (word(a), word(b))
}

fn carriers(engine: &Engine, transport: &str) -> u64 {
    let stats = engine.stats();
    let peers = stats["peers"].as_array().unwrap().iter().filter(|peer| peer["transport"] == transport);
    peers.map(|peer| peer["carriers_idle"].as_u64().unwrap() + peer["carriers_busy"].as_u64().unwrap()).sum()
}

#[test]
fn flows_begin_speak_and_end_over_kcp_as_they_do_over_tcp() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = pair(&lab, 2);
    let up = a.event("peer");
    assert_eq!(
        (&up["state"], &up["transport"], &up["address"]),
        (&"up".into(), &"kcp".into(), &"10.9.0.2:7948".into())
    );
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
        assert_eq!(reasons(&a, &b), ("closed".into(), "closed".into()));
        // A reset, either way.
        let server = serve(&lab, address, |mut stream| ends_in_reset(&mut stream));
        let mut client = connect(&lab, address);
        client.write_all(b"hello").unwrap();
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
    assert!(is_reset(&lab, "client", v4(9)));
    assert_eq!(reasons(&a, &b), ("destination_refused".into(), "destination_refused".into()));
    assert!(is_reset(&lab, "client", "10.2.1.5:80".parse().unwrap()));
    assert_eq!(a.flow()["reason"], "refused_not_covered");
    assert!(carriers(&a, "kcp") >= 2);
    assert_eq!((carriers(&a, "tcp"), carriers(&b, "tcp")), (0, 0));
}

#[test]
fn every_byte_arrives_both_ways_on_a_wire_that_loses_and_doubles() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = pair(&lab, 2);
    for host in ["edge-a", "edge-b"] {
        rule(&lab, host, "meta l4proto udp numgen random mod 1000 < 30 drop");
    }
    const TOTAL: u64 = 3_000_000;
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
    let flows: Vec<_> = (0..4u16)
        .map(|number| {
            let address = if number % 2 == 1 { v6(8100 + number) } else { v4(8100 + number) };
            let (up, down) = (u64::from(number) * 2 + 1, u64::from(number) * 2 + 2);
            let server = serve(&lab, address, move |stream| both(stream, down, up));
            let stream = connect(&lab, address);
            (server, thread::spawn(move || both(stream, up, down)))
        })
        .collect();
    for (server, client) in flows {
        assert_eq!((client.join().unwrap(), server.join().unwrap()), (TOTAL, TOTAL));
    }
    for engine in [&a, &b] {
        for _ in 0..4 {
            let line = engine.flow();
            assert_eq!((&line["bytes_in"], &line["reason"]), (&TOTAL.into(), &"closed".into()));
        }
    }
}

#[test]
fn a_crowd_of_flows_is_carried_by_carriers_that_are_used_again() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = pair(&lab, 2);
    echo(&lab, v4(7));
    for _ in 0..2 {
        let mut clients: Vec<_> = (0..150).map(|_| connect(&lab, v4(7))).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            assert!(echoes(client, format!("word {number}").as_bytes()), "{number}");
        }
        drop(clients);
        for engine in [&a, &b] {
            engine.until("no flow", |stats| stats["services"][0]["flows"] == 0);
        }
    }
    // The surplus is closed here, and with it there.
    let most = carriers(&a, "kcp");
    let deadline = Instant::now() + lab::PATIENCE;
    loop {
        let (here, there) = (carriers(&a, "kcp"), carriers(&b, "kcp"));
        if here < most && here == there {
            break;
        }
        assert!(Instant::now() < deadline, "{here} carriers here, {there} there, {most} before");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_peer_that_vanishes_is_noticed_whether_flows_speak_or_not() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = pair(&lab, 1);
    echo(&lab, v4(7));
    let (mut quiet, mut speaking) = (connect(&lab, v4(7)), connect(&lab, v4(7)));
    assert!(echoes(&mut quiet, b"1") && echoes(&mut speaking, b"2"));
    rule(&lab, "edge-a", "meta l4proto udp drop");
    let start = Instant::now();
    speaking.write_all(b"anybody there?").unwrap();
    assert!(ends_in_reset(&mut speaking));
    assert!(ends_in_reset(&mut quiet));
    let lost: Vec<Value> = [&a, &a, &b, &b].iter().map(|engine| engine.flow()["reason"].clone()).collect();
    assert_eq!(lost, ["carrier_lost"; 4]);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn an_engine_that_dies_resets_the_client_at_once_and_comes_back() {
    let Some(lab) = lab::lab() else { return };
    let (a, mut b) = pair(&lab, 2);
    echo(&lab, v4(7));
    let mut client = connect(&lab, v4(7));
    assert!(echoes(&mut client, b"1"));
    a.event("peer");
    b.kill();
    drop(b);
    // Up again before anybody has noticed: what it has forgotten, it says.
    let b = lab.engine("edge-b", 2);
    b.apply_ok(1, by_kcp(target_state()));
    let start = Instant::now();
    client.write_all(b"still there?").unwrap();
    assert!(ends_in_reset(&mut client), "no clean end for half a stream");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(a.flow()["reason"], "carrier_lost");
    let start = Instant::now();
    let again = loop {
        // One that has not heard yet may end in a reset, at once.
        if let Ok(mut client) = lab.on("client", || TcpStream::connect(v4(7))) {
            client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            if echoes(&mut client, b"again") {
                break start.elapsed();
            }
        }
        assert!(start.elapsed() < lab::PATIENCE, "it does not come back");
    };
    assert!(again < Duration::from_secs(8), "{again:?}");
}

#[test]
fn the_transport_changes_for_new_flows_and_not_for_open_ones() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut old = connect(&lab, v4(7));
    assert!(echoes(&mut old, b"over tcp"));
    // One side hears of it first: meanwhile neither refuses what the other does.
    a.apply_ok(2, by_kcp(source_state()));
    let mut new = connect(&lab, v4(7));
    assert!(echoes(&mut new, b"over kcp"));
    b.apply_ok(2, by_kcp(target_state()));
    assert!(echoes(&mut old, b"still over tcp"));
    let stats = a.stats();
    let busy = |transport: &str| {
        let peers = stats["peers"].as_array().unwrap().iter();
        peers
            .filter(|peer| peer["transport"] == transport)
            .map(|peer| peer["carriers_busy"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!((busy("tcp"), busy("kcp")), (1, 1), "{stats}");
    a.apply_ok(3, source_state());
    b.apply_ok(3, target_state());
    assert!(echoes(&mut new, b"still over kcp"));
    assert!(echoes(&mut old, b"and tcp"));
}

#[test]
fn a_reader_that_stops_holds_little_and_finds_everything() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = pair(&lab, 1);
    const TOTAL: usize = 24 << 20;
    let server = serve(&lab, v4(8001), |mut stream| {
        thread::sleep(Duration::from_secs(12));
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.len()
    });
    let before = (a.rss_kib(), b.rss_kib());
    let mut client = connect(&lab, v4(8001));
    let sender = thread::spawn(move || client.write_all(&vec![5; TOTAL]).unwrap());
    thread::sleep(Duration::from_secs(8));
    for (engine, before) in [(&a, before.0), (&b, before.1)] {
        let grown = engine.rss_kib().saturating_sub(before);
        eprintln!("{}: {grown} KiB", engine.name);
        assert!(grown < 12 << 10, "{} holds {grown} KiB for one stalled flow", engine.name);
    }
    sender.join().unwrap();
    assert_eq!(server.join().unwrap(), TOTAL);
    assert_eq!(reasons(&a, &b), ("closed".into(), "closed".into()));
}

#[test]
fn last_words_arrive_before_a_drained_engine_ends() {
    let Some(lab) = lab::lab() else { return };
    let (mut a, b) = pair(&lab, 2);
    echo(&lab, v4(7));
    let (mut staying, mut ending) = (connect(&lab, v4(7)), connect(&lab, v4(7)));
    assert!(echoes(&mut staying, b"1") && echoes(&mut ending, b"2"));
    a.say(&json!({"type": "drain", "timeout_ms": 1000}));
    drop(ending);
    assert!(ends_in_reset(&mut staying));
    assert_eq!(a.wait().code(), Some(0));
    let mut ends = [b.flow()["reason"].clone(), b.flow()["reason"].clone()];
    ends.sort_by_key(|end| end.to_string());
    assert_eq!(ends, ["closed", "drained"]);
    b.until("no carrier", |stats| stats["peers"].as_array().unwrap().len() == 1);
}

/// A hello of this private key as edge-a, made for edge-b.
fn hello(private_key: &[u8; 32], id: u64, cookie: &greeting::Mac) -> [u8; greeting::HELLO_DATAGRAM_BYTES] {
    let edge_b = public_key(&lab::private_key("edge-b")).unwrap();
    let (_, hello) = Initiator::start_on(&greeting::path(id), private_key, "edge-a", "edge-b", &edge_b, true).unwrap();
    greeting::write_hello(id, cookie, &hello, &edge_b)
}

fn answer(socket: &UdpSocket, datagram: &[u8]) -> Option<Vec<u8>> {
    socket.send(datagram).unwrap();
    let mut buffer = [0; 2000];
    match socket.recv(&mut buffer) {
        Ok(length) => Some(buffer[..length].to_vec()),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
            None
        }
    }
}

#[test]
fn strangers_get_nothing_or_less_than_they_sent_and_cost_nothing() {
    let Some(lab) = lab::lab() else { return };
    let (a, mut b) = pair(&lab, 2);
    echo(&lab, v4(7));
    let mut client = connect(&lab, v4(7));
    assert!(echoes(&mut client, b"before"));
    let stranger = lab.on("server", || UdpSocket::bind("10.2.0.2:0").unwrap());
    stranger.connect("10.2.0.1:7948").unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(200))).unwrap();

    // Garbage gets nothing.
    let mut dice = Dice(7);
    assert_eq!(answer(&stranger, &[1; greeting::HELLO_DATAGRAM_BYTES]), None);
    assert_eq!(answer(&stranger, b"\x02short"), None);
    assert_eq!(answer(&stranger, &[3; 60]), None);
    // A datagram of a conversation that nobody knows gets a shorter one.
    assert_eq!(answer(&stranger, &[2; 60]).map(|gone| gone.len()), Some(greeting::GONE_BYTES));
    // A good hello gets a cookie first, and with it, if it is no peer's, nothing.
    let other = private_key("edge-x");
    let retry = answer(&stranger, &hello(&other, 5, &[0; 16])).unwrap();
    assert!(retry.len() * 8 < greeting::HELLO_DATAGRAM_BYTES);
    let cookie: greeting::Mac = greeting::rest_of(&retry, greeting::RETRY, 5).unwrap().try_into().unwrap();
    assert_eq!(answer(&stranger, &hello(&other, 5, &cookie)), None);
    assert_eq!(b.event("refused")["reason"], "not_our_protocol");
    assert_eq!(b.event("refused")["reason"], "wrong_key");
    // Somebody with edge-a's key that never speaks again: counted as a stranger, then forgotten.
    let known = private_key("edge-a");
    let retry = answer(&stranger, &hello(&known, 6, &[0; 16])).unwrap();
    let cookie: greeting::Mac = greeting::rest_of(&retry, greeting::RETRY, 6).unwrap().try_into().unwrap();
    let last = hello(&known, 6, &cookie);
    let first = answer(&stranger, &last).unwrap();
    assert_eq!(first.len(), greeting::ANSWER_DATAGRAM_BYTES);
    assert_eq!(answer(&stranger, &last), Some(first), "the same hello gets the same answer");

    let before = b.rss_kib();
    let start = Instant::now();
    for round in 0..20_000u64 {
        let mut garbage: Vec<u8> = (0..dice.roll(1300)).map(|_| dice.roll(256) as u8).collect();
        match round % 4 {
            0 => garbage.splice(..0, [2]).for_each(drop),
            1 => garbage = hello(&known, round, &[0; 16]).to_vec(),
            _ => (),
        }
        let _ = stranger.send(&garbage);
    }
    eprintln!("20,000 datagrams in {:?}", start.elapsed());
    assert!(echoes(&mut client, b"in the crowd"), "a flow goes on");
    assert!(echoes(&mut connect(&lab, v4(7)), b"and a new one begins"));
    let grown = b.rss_kib().saturating_sub(before);
    assert!(grown < 3000, "{grown} KiB for a crowd");
    assert_eq!(b.event("refused")["reason"], "handshake_not_finished");
    assert!(b.unheard("refused") < 3);
    assert!(b.is_running());
    drop(a);
}
