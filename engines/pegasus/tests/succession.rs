//! An engine takes the place of another while flows run through it: at the source, at the target, at both, over both
//! transports; and every way in which that can go wrong in the middle.

mod lab;

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lab::{
    Engine, Lab, SERVICE, outbound, over, private_key, source_state,
    stream::{connect, drink, echo, echoes, ends_in_reset, pour_until, serve},
    target_state, v4,
};
use pegasus::{
    frame::{self, Kind, OVERHEAD_BYTES},
    handshake::{ANSWER_BYTES, Initiator, Keys, public_key},
};
use serde_json::{Value, json};

fn state_of(engine: &Engine) -> Value {
    if engine.name == "edge-a" { source_state() } else { target_state() }
}

/// Starts a successor and has it take over.
fn upgrade(lab: &Lab, before: &Engine, transport: &str) -> Engine {
    let after = lab.successor(before, 2);
    after.apply_ok(2, over(transport, state_of(before)));
    after
}

/// A flow that pours both ways, every byte checked at the other end, until it is told to stop.
struct Pouring {
    stop: Arc<AtomicBool>,
    ends: Vec<JoinHandle<(u64, u64)>>,
}

impl Pouring {
    fn start(lab: &Lab, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let both = |stop: Arc<AtomicBool>, out: u64, back: u64| {
            move |mut stream: TcpStream| {
                let sending = stream.try_clone().unwrap();
                let sent = thread::spawn(move || pour_until(sending, out, &stop));
                let came = drink(&mut stream, back);
                (sent.join().unwrap(), came)
            }
        };
        let server = serve(lab, v4(port), both(stop.clone(), 3, 5));
        let client = connect(lab, v4(port));
        let work = both(stop.clone(), 5, 3);
        Self { stop, ends: vec![thread::spawn(move || work(client)), server] }
    }

    /// Ends it; every byte that was sent has come.
    fn end(self) -> u64 {
        self.stop.store(true, Relaxed);
        let [client, server] = <[_; 2]>::try_from(self.ends).unwrap_or_else(|_| panic!("two ends"));
        let ((up, down), (sent_down, came_up)) = (client.join().unwrap(), server.join().unwrap());
        assert_eq!((up, down), (came_up, sent_down));
        up + down
    }
}

/// Short flows, one after the other, as fast as they go.
struct Hammer {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Hammer {
    fn start(lab: &Lab, port: u16) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..4)
            .map(|_| {
                let (stop, count, ns) = (stop.clone(), count.clone(), format!("/run/netns/{}", lab.ns("client")));
                thread::spawn(move || {
                    let ns = std::fs::File::open(ns).unwrap();
                    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                    rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&ns), kind).unwrap();
                    while !stop.load(Relaxed) {
                        let mut stream = TcpStream::connect(v4(port)).expect("a connection");
                        stream.set_read_timeout(Some(lab::PATIENCE)).unwrap();
                        assert!(echoes(&mut stream, b"in and out"), "flow {}", count.load(Relaxed));
                        count.fetch_add(1, Relaxed);
                    }
                })
            })
            .collect();
        Self { stop, count, threads }
    }

    /// Waits for so many more, as long as it takes while there are some.
    fn go_on(&self, more: u64) {
        let until = self.count.load(Relaxed) + more;
        let (mut seen, mut since) = (0, Instant::now());
        while seen < until {
            let count = self.count.load(Relaxed);
            if count > seen {
                (seen, since) = (count, Instant::now());
            }
            assert!(self.threads.iter().all(|thread| !thread.is_finished()), "one has failed after {count}");
            assert!(since.elapsed() < lab::PATIENCE, "nothing after {count}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(self) {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn flows_survive_at(host: &str, transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 2);
    echo(&lab, v4(7));
    let pouring = [Pouring::start(&lab, 8001), Pouring::start(&lab, 8002)];
    let mut idle = connect(&lab, v4(7));
    assert!(echoes(&mut idle, b"before"));
    let hammer = Hammer::start(&lab, 7);
    hammer.go_on(50);

    let mut before = Vec::new();
    let mut after = Vec::new();
    for engine in [a, b] {
        if host == "both" || engine.name == host {
            after.push(upgrade(&lab, &engine, transport));
            before.push(engine);
        } else {
            after.push(engine);
        }
    }
    hammer.go_on(200);
    for (before, after) in before.iter().zip(after.iter().filter(|engine| host == "both" || engine.name == host)) {
        before.until("the flows that stay alone", |stats| stats["services"][0]["flows"] == 3);
        after.until("new flows", |stats| stats["services"][0]["flows_total"].as_u64() >= Some(100));
    }
    hammer.end();
    assert!(echoes(&mut idle, b"after"));
    assert!(before.iter_mut().all(|engine| engine.is_running()), "while it has flows");
    for pouring in pouring {
        assert!(pouring.end() > 0);
    }
    assert!(before.iter_mut().all(|engine| engine.is_running()), "for one idle flow");
    drop(idle);
    for engine in &mut before {
        assert_eq!(engine.wait().code(), Some(0));
    }
    assert!(echoes(&mut connect(&lab, v4(7)), b"alone"));
    // Counters go on where the one before has ended.
    let (a, b) = (after.remove(0), after.remove(0));
    let counted =
        |engine: &Engine| engine.until("no flow", |stats| stats["services"][0]["flows"] == 0)["services"][0].clone();
    let (here, there) = (counted(&a), counted(&b));
    for field in ["flows_total", "bytes_in", "bytes_out"] {
        assert_eq!(here[field], there[field], "{field}: {here} {there}");
    }
}

#[test]
fn no_flow_ends_when_the_source_is_replaced() {
    flows_survive_at("edge-a", "tcp");
}

#[test]
fn no_flow_ends_when_the_target_is_replaced() {
    flows_survive_at("edge-b", "tcp");
}

#[test]
fn no_flow_ends_when_both_are_replaced() {
    flows_survive_at("both", "tcp");
}

#[test]
fn no_flow_over_kcp_ends_when_the_source_is_replaced() {
    flows_survive_at("edge-a", "kcp");
}

#[test]
fn no_flow_over_kcp_ends_when_the_target_is_replaced() {
    flows_survive_at("edge-b", "kcp");
}

#[test]
fn no_flow_over_kcp_ends_when_both_are_replaced() {
    flows_survive_at("both", "kcp");
}

fn a_successor_dies_at(host: &str, transport: &str) {
    let Some(lab) = lab::lab() else { return };
    let (a, b) = lab.pair_over(transport, 2);
    echo(&lab, v4(7));
    let mut idle = connect(&lab, v4(7));
    assert!(echoes(&mut idle, b"before"));
    let (mut before, other) = if host == "edge-a" { (a, b) } else { (b, a) };
    // One that dies before it is told anything, and one that dies at work.
    lab.successor(&before, 2).kill();
    upgrade(&lab, &before, transport).kill();
    assert!(echoes(&mut idle, b"after"));
    // A carrier to the one that died may have been warm. Over KCP that shows when something is said on it: a flow that gets it is
    // reset, and an idle one asks for a sign of life after three seconds.
    let known = Instant::now() + Duration::from_secs(if transport == "kcp" { 5 } else { 0 });
    while Instant::now() < known && (0..5).any(|_| !echoes(&mut connect(&lab, v4(7)), b"who is there")) {}
    for _ in 0..20 {
        assert!(echoes(&mut connect(&lab, v4(7)), b"the one before takes new ones again"));
    }
    let hammer = Hammer::start(&lab, 7);
    hammer.go_on(50);
    let last = upgrade(&lab, &before, transport);
    hammer.go_on(100);
    hammer.end();
    assert!(echoes(&mut idle, b"still"));
    drop(idle);
    assert_eq!(before.wait().code(), Some(0));
    assert!(echoes(&mut connect(&lab, v4(7)), b"alone"));
    drop((last, other));
}

#[test]
fn a_successor_at_the_source_that_dies_leaves_the_one_before_at_work() {
    a_successor_dies_at("edge-a", "tcp");
}

#[test]
fn a_successor_at_the_target_that_dies_leaves_the_one_before_at_work() {
    a_successor_dies_at("edge-b", "tcp");
}

#[test]
fn a_successor_at_the_target_that_dies_leaves_the_one_before_at_work_over_kcp() {
    a_successor_dies_at("edge-b", "kcp");
}

#[test]
fn a_second_successor_comes_while_the_first_one_waits_for_the_one_before() {
    for transport in ["tcp", "kcp"] {
        let Some(lab) = lab::lab() else { return };
        let (a, mut first) = lab.pair_over(transport, 2);
        echo(&lab, v4(7));
        let pouring = Pouring::start(&lab, 8001);
        let mut second = upgrade(&lab, &first, transport);
        let by_transport =
            |stats: &Value| stats["peers"].as_array().unwrap().iter().all(|peer| peer["carriers_idle"] == 0);
        first.until("no warm carrier", by_transport);
        let mut later = connect(&lab, v4(7));
        let on_second = |stats: &Value| stats["services"][0]["flows"] == 1;
        assert!(echoes(&mut later, b"on the second"));
        second.until("the later flow", on_second);
        let third = upgrade(&lab, &second, transport);
        let hammer = Hammer::start(&lab, 7);
        hammer.go_on(50);
        third.until("new flows", |stats| stats["services"][0]["flows_total"].as_u64() > Some(20));
        hammer.end();
        assert!(echoes(&mut later, b"still"));
        drop(later);
        second.until("no flow", |stats| stats["services"][0]["flows"] == 0);
        thread::sleep(Duration::from_millis(500));
        assert!(second.is_running(), "it ends after the one before it, whose datagrams come through it");
        assert!(pouring.end() > 0);
        assert_eq!((first.wait().code(), second.wait().code()), (Some(0), Some(0)));
        assert!(echoes(&mut connect(&lab, v4(7)), b"alone"));
        drop((a, third));
    }
}

#[test]
fn the_middle_one_of_three_is_killed() {
    let Some(lab) = lab::lab() else { return };
    let (a, mut first) = lab.pair(2);
    echo(&lab, v4(7));
    let mut oldest = connect(&lab, v4(7));
    assert!(echoes(&mut oldest, b"on the first"));
    let mut second = upgrade(&lab, &first, "tcp");
    first.until("no warm carrier", |stats| stats["peers"][0]["carriers_idle"] == 0);
    let mut later = connect(&lab, v4(7));
    assert!(echoes(&mut later, b"on the second"));
    second.until("the later flow", |stats| stats["services"][0]["flows"] == 1);
    let third = upgrade(&lab, &second, "tcp");
    second.kill();
    assert!(ends_in_reset(&mut later), "its own flows end with it");
    // The first is at work again and so is the third: whichever takes it, a connection is carried.
    for _ in 0..50 {
        assert!(echoes(&mut connect(&lab, v4(7)), b"by either"));
    }
    assert!(echoes(&mut oldest, b"still"));
    // What the agent does about two.
    first.say(&json!({"type": "stand_aside"}));
    first.hear("its answer", |message| message["type"] == "standing_aside");
    let hammer = Hammer::start(&lab, 7);
    hammer.go_on(200);
    hammer.end();
    first.say(&json!({"type": "stand_aside"}));
    first.hear("a refusal", |message| message["code"] == "NotHandedOver");
    assert!(echoes(&mut oldest, b"to its end"));
    assert!(first.is_running());
    drop(oldest);
    assert_eq!(first.wait().code(), Some(0));
    assert!(echoes(&mut connect(&lab, v4(7)), b"alone"));
    drop((a, third));
}

#[test]
fn a_service_or_peer_that_is_removed_meanwhile_ends_its_flows_at_both() {
    let Some(lab) = lab::lab() else { return };
    let (a, mut before) = lab.pair(2);
    echo(&lab, v4(7));
    let mut old = connect(&lab, v4(7));
    assert!(echoes(&mut old, b"old"));
    let after = upgrade(&lab, &before, "tcp");
    before.until("no warm carrier", |stats| stats["peers"][0]["carriers_idle"] == 0);
    let mut new = connect(&lab, v4(7));
    assert!(echoes(&mut new, b"new"));
    after.until("the new flow", |stats| stats["services"][0]["flows"] == 1);
    let mut revoked = target_state();
    revoked["peers"] = json!([]);
    revoked["inbound"] = json!([]);
    after.apply_ok(3, revoked.clone());
    before.apply_ok(3, revoked);
    assert!(ends_in_reset(&mut old) && ends_in_reset(&mut new));
    assert_eq!(before.wait().code(), Some(0), "nothing is left");
    drop((a, after));
}

#[test]
fn a_drain_and_a_signal_end_the_one_before_as_well() {
    let Some(lab) = lab::lab() else { return };
    let (mut before, b) = lab.pair(2);
    echo(&lab, v4(7));
    let mut old = connect(&lab, v4(7));
    assert!(echoes(&mut old, b"old"));
    let mut after = upgrade(&lab, &before, "tcp");
    let mut new = connect(&lab, v4(7));
    assert!(echoes(&mut new, b"new"));
    after.say(&json!({"type": "drain", "timeout_ms": 300}));
    before.say(&json!({"type": "drain", "timeout_ms": 300}));
    assert!(ends_in_reset(&mut old) && ends_in_reset(&mut new));
    assert_eq!((before.wait().code(), after.wait().code()), (Some(0), Some(0)));
    drop(b);
}

#[test]
fn a_limit_is_kept_by_both_together() {
    let Some(lab) = lab::lab() else { return };
    let (before, b) = lab.pair(2);
    let mbps = 40.0;
    let mut state = source_state();
    state["outbound"] = json!([outbound(SERVICE, mbps)]);
    before.apply_ok(2, state.clone());
    let got = Arc::new(AtomicU64::new(0));
    let count = |got: Arc<AtomicU64>| {
        move |mut stream: TcpStream| {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                got.fetch_add(length as u64, Relaxed);
            }
        }
    };
    let pour = |lab: &Lab, port: u16| {
        serve(lab, v4(port), count(got.clone()));
        let mut client = connect(lab, v4(port));
        let end = client.try_clone().unwrap();
        thread::spawn(move || while client.write_all(&[7; 65536]).is_ok() {});
        end
    };
    let mut ends: Vec<TcpStream> = (0..3).map(|number| pour(&lab, 8001 + number)).collect();
    let after = lab.successor(&before, 2);
    after.apply_ok(3, state);
    before.until("no warm carrier", |stats| stats["peers"][0]["carriers_idle"] == 0);
    ends.extend((0..3).map(|number| pour(&lab, 8101 + number)));
    after.until("its flows", |stats| stats["services"][0]["flows"] == 3);
    // Both have heard of each other by now.
    thread::sleep(Duration::from_millis(300));
    let (from, began) = (got.load(Relaxed), Instant::now());
    let each = |engine: &Engine| engine.service()["bytes_in"].as_u64().unwrap();
    let (before_from, after_from) = (each(&before), each(&after));
    thread::sleep(Duration::from_secs(3));
    let (both, time) = ((got.load(Relaxed) - from) as f64, began.elapsed().as_secs_f64());
    let (by_before, by_after) = (each(&before) - before_from, each(&after) - after_from);
    let most = mbps * 125_000.0 * (time + 0.2);
    // What is on its way when the clock starts arrives as well.
    assert!(both <= most + 4e6, "{both} bytes in {time:.2} s, {most:.0} at most");
    assert!((by_before + by_after) as f64 <= most, "{by_before} + {by_after} in {time:.2} s, {most:.0} at most");
    assert!(by_before * 3 > by_after && by_after * 3 > by_before, "{by_before} and {by_after}: three flows each");
    ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
    drop(b);
}

/// A carrier as a peer makes it that says READY so often.
fn carrier(lab: &Lab, readies: usize) -> (TcpStream, Keys) {
    let address: SocketAddr = "10.9.0.2:7947".parse().unwrap();
    let mut stream = lab.on("edge-a", || TcpStream::connect(address).unwrap());
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let theirs = public_key(&private_key("edge-b")).unwrap();
    let (initiator, hello) = Initiator::start(&private_key("edge-a"), "edge-a", "edge-b", &theirs, true).unwrap();
    stream.write_all(&hello).unwrap();
    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer).unwrap();
    let mut keys = initiator.finish(&answer).unwrap();
    for _ in 0..readies {
        let mut ready = [0; OVERHEAD_BYTES];
        keys.seal.seal(frame::Header { kind: Kind::Ready, length: 0 }, &mut ready).unwrap();
        stream.write_all(&ready).unwrap();
    }
    (stream, keys)
}

#[test]
fn only_a_peer_that_knows_the_word_is_asked_to_retire_its_carriers() {
    let Some(lab) = lab::lab() else { return };
    let mut before = lab.engine("edge-b", 1);
    before.apply_ok(1, target_state());
    let (old_build, _) = carrier(&lab, 1);
    let (this_build, mut keys) = carrier(&lab, 2);
    before.until("both carriers", |stats| stats["peers"][0]["carriers_idle"] == 2);
    let after = lab.successor(&before, 1);
    after.apply_ok(2, target_state());
    let mut word = [0; OVERHEAD_BYTES];
    (&this_build).read_exact(&mut word).unwrap();
    keys.open.open(&mut word).unwrap();
    assert_eq!(frame::next(&word).unwrap().map(|header| header.kind), Some(Kind::Retire));
    let silence = (&old_build).read(&mut word).unwrap_err();
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock, "no word that it does not know");
    drop(this_build);
    thread::sleep(Duration::from_millis(600));
    assert!(before.is_running(), "for the carrier of the peer that knows nothing of it");
    drop(old_build);
    assert_eq!(before.wait().code(), Some(0));
}

#[test]
fn nobody_takes_the_place_of_an_engine_twice_or_in_another_way() {
    let Some(lab) = lab::lab() else { return };
    let (a, before) = lab.pair(2);
    echo(&lab, v4(7));
    let mut idle = connect(&lab, v4(7));
    assert!(echoes(&mut idle, b"before"));
    let other_count = lab.successor(&before, 1);
    let refused = other_count.apply(2, &target_state());
    assert_eq!(refused["errors"][0]["code"], "HandOverFailed", "{refused}");
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("2 workers"), "{refused}");
    drop(other_count);
    let after = upgrade(&lab, &before, "tcp");
    let late = lab.successor(&before, 2);
    let refused = late.apply(2, &target_state());
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("another engine"), "{refused}");
    assert!(echoes(&mut idle, b"after"));
    drop((late, after, a));
}
