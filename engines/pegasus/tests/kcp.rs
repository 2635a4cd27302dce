//! Carriers over KCP where it differs from TCP: on wires that lose, after crashes, among strangers. What it promises as
//! TCP does is in `manners`.

mod lab;

use std::{
    io::{ErrorKind, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use lab::{
    over, private_key, source_state,
    stream::{Dice, connect, drink, echo, echoes, ends_in_reset, pour, serve},
    target_state, v4, v6,
};
use pegasus::{
    handshake::{Initiator, public_key},
    kcp::greeting,
};

#[test]
fn every_byte_arrives_both_ways_on_a_wire_that_loses_and_doubles() {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over("kcp", 2);
    for host in ["edge-a", "edge-b"] {
        lab.rule(host, "meta l4proto udp numgen random mod 1000 < 30 drop");
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
fn an_engine_that_dies_resets_the_client_at_once_and_comes_back() {
    let Some(lab) = lab::lab() else { return };
    let (a, mut b) = lab.pair_over("kcp", 2);
    echo(&lab, v4(7));
    let mut client = connect(&lab, v4(7));
    assert!(echoes(&mut client, b"1"));
    a.event("peer");
    b.kill();
    drop(b);
    // Up again before anybody has noticed: what it has forgotten, it says.
    let b = lab.engine("edge-b", 2);
    b.apply_ok(1, over("kcp", target_state()));
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
    a.apply_ok(2, over("kcp", source_state()));
    let mut new = connect(&lab, v4(7));
    assert!(echoes(&mut new, b"over kcp"));
    b.apply_ok(2, over("kcp", target_state()));
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
    let (a, mut b) = lab.pair_over("kcp", 2);
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
