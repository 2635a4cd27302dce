//! The control socket as an agent meets it: a real server on a real socket, with an engine that only remembers.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use control::{Engine, Events, Failure, NotHandedOver, ObjectError, Secrets, Server, ask_for_hand_over};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    level: u8,
}

#[derive(Serialize)]
struct Level {
    level: u8,
}

struct Remembering {
    level: u8,
    events: Events,
    ends_at: Option<Instant>,
    succeeded_at: Option<Instant>,
}

impl Engine for Remembering {
    const NAME: &'static str = "remembering";
    const VERSION: &'static str = "1.2.3";
    type State = State;
    type Status = Level;
    type Stats = Level;

    fn status(&self) -> Level {
        Level { level: self.level }
    }

    fn apply(&mut self, _: u64, _: &Secrets, state: State) -> Vec<ObjectError> {
        self.level = state.level;
        self.events.send("level", Level { level: state.level });
        if state.level > 9 { vec![ObjectError::new("engine", "TooHigh", "choose at most 9")] } else { vec![] }
    }

    fn stats(&mut self) -> Level {
        self.status()
    }

    fn hand_over(&mut self, version: u32) -> Result<OwnedFd, &'static str> {
        if version != 1 {
            return Err("not like this");
        }
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(b"all yours").unwrap();
        self.succeeded_at = Some(Instant::now());
        Ok(there.into())
    }

    fn has_successor(&self) -> bool {
        self.succeeded_at.is_some()
    }

    fn drain(&mut self, timeout: Duration) {
        self.ends_at = Some(Instant::now() + timeout);
    }

    fn drained(&mut self) -> bool {
        let left = |since: Instant| since.elapsed() > Duration::from_millis(100);
        self.succeeded_at.is_some_and(left) || self.ends_at.is_some_and(|end| Instant::now() >= end)
    }
}

fn serve(path: &Path) -> (Events, JoinHandle<Result<(), Failure>>) {
    let server = Server::bind(path).unwrap_or_else(|failure| panic!("{}", failure.message));
    let events = server.events();
    let engine = Remembering { level: 0, events: events.clone(), ends_at: None, succeeded_at: None };
    (events, thread::spawn(move || server.run(engine)))
}

struct Agent {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Agent {
    fn connect(path: &Path) -> (Self, Value) {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut agent = Self { lines: BufReader::new(stream.try_clone().unwrap()), stream };
        let hello = agent.hear();
        (agent, hello)
    }

    fn say(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, line: &str) -> Value {
        self.say(line);
        self.hear()
    }

    fn apply(&mut self, level: u8) -> Value {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        self.ask(
            &json!({"type":"apply","generation":level,"secrets":{"private_key":key},"state":{"level":level}})
                .to_string(),
        )
    }
}

#[test]
fn an_agent_applies_asks_and_ends_an_engine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.sock");
    let (_, ended) = serve(&path);

    let (mut agent, hello) = Agent::connect(&path);
    let pid = std::process::id();
    assert_eq!(
        hello,
        json!({"type":"hello","engine":"remembering","version":"1.2.3","protocol":1,"pid":pid,"generation":null,"level":0})
    );
    assert_eq!(agent.apply(7), json!({"type":"applied","generation":7,"errors":[],"level":7}));
    assert_eq!(agent.hear(), json!({"type":"event","event":"level","level":7}));
    let errors = agent.apply(12)["errors"].clone();
    assert_eq!(errors, json!([{"object":"engine","code":"TooHigh","message":"choose at most 9"}]));
    agent.hear();
    assert_eq!(agent.ask(r#"{"type":"ping","id":5}"#), json!({"type":"pong","id":5}));
    let stats = agent.ask(r#"{"type":"stats","id":6}"#);
    assert_eq!((&stats["id"], &stats["level"], &stats["events_dropped"]), (&json!(6), &json!(12), &json!(0)));
    assert!(stats["rss_bytes"].as_u64().unwrap() > 100_000);
    assert_eq!(agent.ask(r#"{"type":"sing"}"#)["code"], "UnknownType");

    let (_, hello) = Agent::connect(&path);
    assert_eq!(hello["generation"], 12, "a second client sees what is in force");

    assert_eq!(agent.ask(r#"{"type":"drain","timeout_ms":50}"#), json!({"type":"draining"}));
    ended.join().unwrap().unwrap();
    assert!(!path.exists(), "the socket file is gone");
}

#[test]
fn events_wait_for_an_agent_and_go_to_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.sock");
    let (events, ended) = serve(&path);
    events.send("early", Level { level: 1 });
    let (mut first, _) = Agent::connect(&path);
    assert_eq!(first.hear()["event"], "early");
    let (mut second, _) = Agent::connect(&path);
    events.send("late", Level { level: 2 });
    assert_eq!(first.hear()["event"], "late");
    assert_eq!(second.hear()["event"], "late");
    first.say(r#"{"type":"drain","timeout_ms":0}"#);
    ended.join().unwrap().unwrap();
}

#[test]
fn a_successor_gets_a_socket_and_the_engine_ends_when_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.sock");
    assert!(matches!(ask_for_hand_over(&path, 1), Err(NotHandedOver::NobodyThere)));
    let (_, ended) = serve(&path);
    let refused = ask_for_hand_over(&path, 2).unwrap_err();
    assert!(matches!(&refused, NotHandedOver::Refused(why) if why == "not like this"), "{refused:?}");
    let mut given = UnixStream::from(ask_for_hand_over(&path, 1).unwrap());
    let mut word = String::new();
    given.read_to_string(&mut word).unwrap();
    assert_eq!(word, "all yours");
    ended.join().unwrap().unwrap();
    assert!(matches!(ask_for_hand_over(&path, 1), Err(NotHandedOver::NobodyThere)));
}

#[test]
fn an_engine_with_a_successor_waits_for_an_agent_to_hear_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.sock");
    let (events, ended) = serve(&path);
    drop(ask_for_hand_over(&path, 1).unwrap());
    thread::sleep(Duration::from_millis(50));
    events.send("last words", Level { level: 2 });
    thread::sleep(Duration::from_millis(500));
    let mut told = String::new();
    UnixStream::connect(&path).unwrap().read_to_string(&mut told).unwrap();
    ended.join().unwrap().unwrap();
    assert!(told.contains("last words"), "{told:?}");
}

#[test]
fn what_is_not_json_ends_that_client_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.sock");
    let (_, ended) = serve(&path);
    let (mut good, _) = Agent::connect(&path);
    let (mut bad, _) = Agent::connect(&path);
    assert_eq!(bad.ask("GET / HTTP/1.1")["code"], "InvalidJson");
    assert_eq!(bad.lines.read(&mut [0; 1]).unwrap(), 0, "closed");
    assert_eq!(good.ask(r#"{"type":"ping","id":1}"#)["id"], 1);
    good.say(r#"{"type":"drain","timeout_ms":0}"#);
    ended.join().unwrap().unwrap();
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_the_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.sock");
    let (events, ended) = serve(&path);
    let (mut deaf, _) = Agent::connect(&path);
    let (mut good, _) = Agent::connect(&path);
    #[derive(Serialize, Clone)]
    struct Long {
        text: String,
    }
    let long = Long { text: "x".repeat(1 << 20) };
    for _ in 0..12 {
        events.send("long", long.clone());
        assert_eq!(good.hear()["event"], "long");
    }
    let mut rest = Vec::new();
    deaf.lines.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 12 << 20, "dropped before it got all: {}", rest.len());
    good.say(r#"{"type":"drain","timeout_ms":0}"#);
    ended.join().unwrap().unwrap();
}
