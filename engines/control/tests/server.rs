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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Up {
    by: u8,
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
    type Change = Up;
    const TAKES_CHANGES: bool = true;
    type Status = Level;
    type Stats = Level;

    fn status(&self) -> Level {
        Level { level: self.level }
    }

    fn apply(&mut self, _: u64, _: &Secrets, state: State) -> Result<Vec<ObjectError>, ObjectError> {
        if state.level == 99 {
            return Err(ObjectError::new("engine", "Impossible", "choose another"));
        }
        self.level = state.level;
        self.events.send("level", Level { level: state.level });
        Ok(if state.level > 9 { vec![ObjectError::new("engine", "TooHigh", "choose at most 9")] } else { vec![] })
    }

    fn change(&mut self, _: u64, _: &Secrets, Up { by }: Up) -> Result<Vec<ObjectError>, String> {
        self.level = self.level.checked_add(by).ok_or("there is nothing above 255")?;
        Ok(vec![])
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
        json!({"type":"hello","engine":"remembering","version":"1.2.3","protocol":1,"pid":pid,"generation":null,"changes":1,"level":0})
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
fn a_change_is_taken_on_top_of_its_own_base_and_of_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.sock");
    let (_, ended) = serve(&path);
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let state = |generation: u64, name: Value, level: u8| {
        json!({"type":"apply","generation":generation,"secrets":{"private_key":key},"name":name,"state":{"level":level}})
            .to_string()
    };
    let up = |generation: u64, base: &str, name: &str, by: u8| {
        json!({"type":"change","generation":generation,"secrets":{"private_key":key},"base":base,"name":name,"change":{"by":by}})
            .to_string()
    };
    let (mut agent, _) = Agent::connect(&path);
    let mut answer = |line: &str| {
        agent.say(line);
        loop {
            let answer = agent.hear();
            if answer["type"] != "event" {
                return answer;
            }
        }
    };
    let not_applied = |answer: Value, generation: u64, code: &str| {
        assert_eq!((&answer["type"], &answer["generation"]), (&json!("not_applied"), &json!(generation)), "{answer}");
        assert_eq!(answer["code"], code);
    };
    not_applied(answer(&up(1, "a.0", "a.1", 1)), 1, "OtherBase");
    assert_eq!(answer(&state(1, json!("a.1"), 3))["level"], 3);
    let applied = json!({"type":"applied","generation":2,"errors":[],"level":5});
    assert_eq!(answer(&up(2, "a.1", "a.2", 2)), applied);
    // Said twice, missed, or of another agent.
    not_applied(answer(&up(2, "a.1", "a.2", 2)), 2, "OtherBase");
    not_applied(answer(&up(4, "a.3", "a.4", 2)), 4, "OtherBase");
    not_applied(answer(&up(4, "b.2", "b.3", 2)), 4, "OtherBase");
    // What does not fit leaves the base as it was.
    not_applied(answer(&up(3, "a.2", "a.3", 255)), 3, "Misfit");
    assert_eq!(answer(&up(3, "a.2", "a.3", 1))["level"], 6);
    assert_eq!(Agent::connect(&path).1["generation"], 3);
    // So does a line that is cut off, and one that says what nobody knows.
    assert_eq!(answer(r#"{"type":"change","generation":4,"base":"a.3","name":"a.4"}"#)["code"], "InvalidState");
    assert_eq!(answer(&up(4, "a.3", "a.4", 1))["level"], 7);
    // A state that is not in force is nothing to build on, and neither is one without a name.
    assert_eq!(answer(&state(5, json!("a.5"), 99))["errors"][0]["code"], "Impossible");
    assert_eq!(Agent::connect(&path).1["generation"], 4);
    not_applied(answer(&up(6, "a.5", "a.6", 1)), 6, "OtherBase");
    assert_eq!(answer(&up(6, "a.4", "a.6", 1))["level"], 8);
    let nameless = json!({"type":"apply","generation":7,"secrets":{"private_key":key},"state":{"level":1}});
    assert_eq!(answer(&nameless.to_string())["level"], 1);
    not_applied(answer(&up(8, "a.6", "a.8", 1)), 8, "OtherBase");
    let long = "x".repeat(129);
    assert_eq!(answer(&state(8, json!(long), 1))["level"], 1);
    not_applied(answer(&up(9, &long, "a.9", 1)), 9, "OtherBase");
    agent.say(r#"{"type":"drain","timeout_ms":0}"#);
    ended.join().unwrap().unwrap();
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
