//! A member that has shown its keys and then speaks wrongly, at either end: it loses its carrier, and nobody else notices.

mod lab;

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use lab::{
    Lab, PATIENCE, SERVICE, private_key, source_state,
    stream::{Dice, connect, echo, echoes, is_reset},
    v4,
};
use pegasus::{
    frame::{HEADER_BYTES, Header, Kind, OVERHEAD_BYTES, Open, Reset},
    handshake::{ANSWER_BYTES, Hello, Initiator, Keys, public_key, respond},
    limits::FRAME_PAYLOAD_BYTES_MAX,
    reason::Reason,
};

/// One end of a carrier by hand.
struct Member {
    stream: TcpStream,
    keys: Keys,
    flows: u32,
}

impl Member {
    /// A carrier to edge-b, as edge-a makes it.
    fn new(lab: &Lab) -> Self {
        let address: SocketAddr = "10.9.0.2:7947".parse().unwrap();
        let mut stream = lab.on("edge-a", || TcpStream::connect(address).unwrap());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let theirs = public_key(&private_key("edge-b")).unwrap();
        let (initiator, hello) = Initiator::start(&private_key("edge-a"), "edge-a", "edge-b", &theirs, true).unwrap();
        stream.write_all(&hello).unwrap();
        let mut answer = [0; ANSWER_BYTES];
        stream.read_exact(&mut answer).unwrap();
        let mut member = Self { stream, keys: initiator.finish(&answer).unwrap(), flows: 0 };
        member.say(Kind::Ready, &[]);
        member
    }

    fn frame(&mut self, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; payload.len() + OVERHEAD_BYTES];
        frame[HEADER_BYTES..][..payload.len()].copy_from_slice(payload);
        self.keys.seal.seal(Header { kind, length: payload.len() }, &mut frame).unwrap();
        frame
    }

    fn send(&mut self, bytes: &[u8]) {
        // It may have been closed for what was said before.
        let _ = self.stream.write_all(bytes);
    }

    fn say(&mut self, kind: Kind, payload: &[u8]) {
        let frame = self.frame(kind, payload);
        self.send(&frame);
    }

    fn open(&mut self, service: &str) {
        self.flows += 1;
        let opening = opening(self.flows, service);
        self.say(Kind::Open, &opening);
    }

    /// What the other side says next; None once it has closed the carrier.
    fn hear(&mut self) -> Option<Kind> {
        let mut head = [0; HEADER_BYTES];
        match self.stream.read_exact(&mut head) {
            Ok(()) => (),
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return None,
            Err(error) => panic!("neither a word nor an end: {error}"),
        }
        let header = Header::decode(head).unwrap();
        let mut frame = vec![0; header.frame_bytes()];
        frame[..HEADER_BYTES].copy_from_slice(&head);
        self.stream.read_exact(&mut frame[HEADER_BYTES..]).unwrap();
        self.keys.open.open(&mut frame).unwrap();
        Some(header.kind)
    }

    fn is_thrown_out(&mut self) -> bool {
        while let Some(kind) = self.hear() {
            assert!(matches!(kind, Kind::Data | Kind::Reset | Kind::Fin), "{kind:?}");
        }
        true
    }
}

fn opening(number: u32, service: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    let client = "10.1.0.2:40000".parse().unwrap();
    Open { number, service_id: service, client, destination: v4(7), hops: 60 }.encode(&mut payload);
    payload
}

type Wrong = fn(&mut Member, &mut Dice);

/// Each is against the rules in its own way, and ends the carrier.
const WRONGS: &[(&str, Wrong)] = &[
    ("garbage", |member, dice| {
        let garbage: Vec<u8> = (0..4096).map(|_| dice.roll(256) as u8).collect();
        member.send(&garbage);
    }),
    ("a kind that there is not", |member, _| member.send(&[0, 0, 0, 99])),
    ("a header over its kind's limit", |member, _| member.send(&[255, 255, 255, 0])),
    ("a length that is not the sealed one", |member, _| {
        let mut frame = member.frame(Kind::Data, b"seven b");
        frame[0] -= 1;
        member.send(&frame);
    }),
    ("a flipped bit", |member, dice| {
        member.open(SERVICE);
        let mut frame = member.frame(Kind::Data, &[7; 1000]);
        let at = HEADER_BYTES + dice.roll(1016) as usize;
        frame[at] ^= 1 << dice.roll(8);
        member.send(&frame);
    }),
    ("a record twice", |member, _| {
        member.open(SERVICE);
        let frame = member.frame(Kind::Data, b"once");
        member.send(&frame);
        member.send(&frame);
    }),
    ("records in another order", |member, _| {
        member.open(SERVICE);
        let (first, second) = (member.frame(Kind::Data, b"first"), member.frame(Kind::Data, b"second"));
        member.send(&second);
        member.send(&first);
    }),
    ("DATA before OPEN", |member, _| member.say(Kind::Data, b"nobody asked")),
    ("FIN before OPEN", |member, _| member.say(Kind::Fin, &[])),
    ("OPEN in an open flow", |member, _| {
        member.open(SERVICE);
        member.open(SERVICE);
    }),
    ("DATA after FIN", |member, _| {
        member.open(SERVICE);
        member.say(Kind::Fin, &[]);
        member.say(Kind::Data, b"more");
    }),
    ("FIN twice", |member, _| {
        member.open(SERVICE);
        member.say(Kind::Fin, &[]);
        member.say(Kind::Fin, &[]);
    }),
    ("an OPEN that is cut", |member, _| {
        let payload = opening(1, SERVICE);
        member.say(Kind::Open, &payload[..payload.len() - 1]);
    }),
    ("a key changed by one side alone", |member, _| {
        member.say(Kind::Rekey, &[]);
        member.open(SERVICE);
    }),
    ("a frame that never ends", |member, _| {
        member.open(SERVICE);
        let frame = member.frame(Kind::Data, &[1; FRAME_PAYLOAD_BYTES_MAX]);
        member.send(&frame[..FRAME_PAYLOAD_BYTES_MAX]);
        member.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }),
];

#[test]
fn a_member_that_speaks_wrongly_loses_its_carrier_and_nobody_else_notices() {
    let Some(lab) = lab::lab() else { return };
    let (a, mut b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut client = connect(&lab, v4(7));
    assert!(echoes(&mut client, b"before"));
    let (files, memory) = (b.open_files(), b.rss_kib());
    let mut dice = Dice(4);
    for round in 0..20 {
        for (what, wrong) in WRONGS {
            let mut member = Member::new(&lab);
            wrong(&mut member, &mut dice);
            assert!(member.is_thrown_out(), "{what}");
            assert!(round > 0 || echoes(&mut client, what.as_bytes()), "{what}");
        }
    }
    // What is refused or means nothing costs a member no carrier: it may be a moment behind.
    let mut member = Member::new(&lab);
    member.open("01JANOTHER");
    assert_eq!(member.hear(), Some(Kind::Reset));
    member.say(Kind::Reset, &Reset { number: 1, reason: Reason::ClientReset }.encode());
    member.say(Kind::Reset, &Reset { number: 77, reason: Reason::ClientReset }.encode());
    member.open(SERVICE);
    member.say(Kind::Data, b"still welcome");
    assert_eq!(member.hear(), Some(Kind::Data));

    // Beginnings without an end, a byte at a time, and members that never read what they asked for.
    let mut slow: Vec<Member> = (0..200).map(|_| Member::new(&lab)).collect();
    for member in &mut slow {
        let frame = member.frame(Kind::Open, &opening(1, SERVICE));
        for byte in &frame[..20] {
            member.send(&[*byte]);
        }
    }
    let mut deaf = Member::new(&lab);
    deaf.open(SERVICE);
    deaf.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut asked = 0;
    while asked < 64 << 20 {
        let frame = deaf.frame(Kind::Data, &[3; FRAME_PAYLOAD_BYTES_MAX]);
        if deaf.stream.write_all(&frame).is_err() {
            break;
        }
        asked += FRAME_PAYLOAD_BYTES_MAX;
    }
    assert!(asked < 64 << 20, "who reads nothing back is not read for ever");
    let began = Instant::now();
    assert!(echoes(&mut client, b"beside them"));
    assert!(echoes(&mut connect(&lab, v4(7)), b"and a new one"));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let grown = b.rss_kib().saturating_sub(memory);
    assert!(grown < 6 << 10, "{grown} KiB for them");
    drop((slow, deaf, member));

    b.until("no flow but the client's", |stats| stats["services"][0]["flows"] == 1);
    let deadline = Instant::now() + PATIENCE;
    while b.open_files() > files + 8 {
        assert!(Instant::now() < deadline, "{} descriptors are left of {files}", b.open_files());
        thread::sleep(Duration::from_millis(50));
    }
    let lines = b.unheard("refused");
    assert!((1..12).contains(&lines), "{lines} lines for all of them");
    assert!(b.stats()["refused_total"].as_u64().unwrap() >= 200);
    assert!(echoes(&mut client, b"after") && b.is_running());
    drop(a);
}

/// The other end of a carrier, which the engine at edge-a has made, with the flow's OPEN still to come.
fn answer(mut stream: TcpStream) -> Option<Member> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut hello = Vec::new();
    let theirs = public_key(&private_key("edge-a")).unwrap();
    loop {
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).ok()?;
        hello.push(byte[0]);
        if let Some(hello) = Hello::decode(&hello).unwrap() {
            let (keys, answer) = respond(&hello, &private_key("edge-b"), "edge-b", &theirs, true).unwrap();
            stream.write_all(&answer).ok()?;
            return Some(Member { stream, keys, flows: 0 });
        }
    }
}

#[test]
fn a_target_that_speaks_wrongly_resets_its_clients_and_is_tried_again() {
    let Some(lab) = lab::lab() else { return };
    let address: SocketAddr = "10.9.0.2:7947".parse().unwrap();
    let fake = lab.on("edge-b", || TcpListener::bind(address).unwrap());
    let wrongs: &[Wrong] = &[
        |member, dice| {
            let garbage: Vec<u8> = (0..4096).map(|_| dice.roll(256) as u8).collect();
            member.send(&garbage);
        },
        |member, _| member.send(&[255, 255, 255, 0]),
        |member, _| member.open(SERVICE),
        |member, _| member.say(Kind::Fin, &[1]),
        |member, _| {
            let frame = member.frame(Kind::Data, b"once");
            member.send(&frame);
            member.send(&frame);
        },
    ];
    let served = thread::spawn(move || {
        let mut dice = Dice(9);
        let mut turn = 0;
        while let Ok((stream, _)) = fake.accept() {
            let wrong = wrongs[turn % wrongs.len()];
            turn += 1;
            let seed = dice.roll(u64::MAX);
            thread::spawn(move || {
                let Some(mut member) = answer(stream) else { return };
                while let Some(kind) = member.hear() {
                    if kind == Kind::Open {
                        wrong(&mut member, &mut Dice(seed | 1));
                    }
                }
            });
        }
    });
    let mut a = lab.engine("edge-a", 1);
    let applied = a.apply_ok(1, source_state());
    lab.intercept(applied["listeners"][0]["port"].as_u64().unwrap() as u16);
    a.until("a carrier", |stats| stats["peers"][0]["carriers_idle"].as_u64() > Some(0));
    let memory = a.rss_kib();
    for _ in 0..60 {
        assert!(is_reset(&lab, "client", v4(7)));
    }
    let grown = a.rss_kib().saturating_sub(memory);
    assert!(grown < 4 << 10, "{grown} KiB for them");
    a.until("no flow", |stats| stats["services"][0]["flows"] == 0);
    assert!(a.is_running() && !served.is_finished());
}
