//! Whoever knocks at the data port without being a peer: garbage, slowness, crowds.

mod lab;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use lab::{
    Lab, PATIENCE,
    stream::{Dice, connect, echo, echoes},
    v4,
};

/// A connection to the data port of edge-b, from the host that is a peer.
fn knock(lab: &Lab) -> Option<TcpStream> {
    let address: SocketAddr = "10.9.0.2:7947".parse().unwrap();
    // It may be refused so quickly that not even connecting succeeds.
    let stream = lab.on("edge-a", || TcpStream::connect(address).ok())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Some(stream)
}

/// Whether the other side has ended it, with or without a word.
fn is_ended(mut stream: &TcpStream) -> bool {
    matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_))
}

#[test]
fn strangers_get_nothing_and_cost_nothing() {
    let Some(lab) = lab::lab() else { return };
    let (a, mut b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut client = connect(&lab, v4(7));
    assert!(echoes(&mut client, b"before"));
    let before = b.rss_kib();

    // Garbage of all sorts, and real beginnings.
    let mut dice = Dice(42);
    for round in 0..200u64 {
        let mut garbage: Vec<u8> = (0..dice.roll(2000)).map(|_| dice.roll(256) as u8).collect();
        if round % 3 == 0 {
            garbage.splice(..0, *b"ARCP\x01\x06edge-a");
        }
        let Some(mut stranger) = knock(&lab) else { continue };
        let _ = stranger.write_all(&garbage);
        if round % 3 != 0 && garbage.len() > 4 {
            assert!(is_ended(&stranger));
        }
    }
    // A crowd that says nothing: more than may stand there.
    let start = Instant::now();
    let crowd: Vec<_> = (0..1200).filter_map(|_| knock(&lab)).collect();
    assert!(echoes(&mut client, b"in the crowd"), "a flow goes on");
    let grown = b.rss_kib().saturating_sub(before);
    assert!(grown < 1500, "{grown} KiB for a crowd");
    // One that says a byte a second; it does not get longer for that.
    let mut slow = knock(&lab).unwrap();
    let slow_end = thread::spawn(move || {
        for byte in b"ARCP\x01\x06edge-a..................." {
            if slow.write_all(&[*byte]).is_err()
                || (slow.set_read_timeout(Some(Duration::from_millis(700))).is_ok()
                    && matches!(slow.read(&mut [0; 1]), Ok(0)))
            {
                break;
            }
        }
        start.elapsed()
    });
    assert!(crowd.iter().all(is_ended));
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    assert!(slow_end.join().unwrap() < Duration::from_secs(12));
    drop(crowd);

    assert!(echoes(&mut client, b"after"));
    let mut next = connect(&lab, v4(7));
    assert!(echoes(&mut next, b"and the next"));
    let stats = b.stats();
    assert!(stats["refused_total"].as_u64().unwrap() > 1000, "{stats}");
    let lines = b.unheard("refused");
    assert!((1..8).contains(&lines), "{lines} lines for all of them");
    assert!(b.is_running());
    drop(a);
}
