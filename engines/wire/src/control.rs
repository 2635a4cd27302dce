//! How a wire is changed while it runs, and asked what it did: one JSON object per line over a unix socket.
//!
//! ```text
//! {"set":{"loss":0.01,"delay_ms":4},"way":"both"|"a-to-b"|"b-to-a"}   everything that is not named is as on a good wire
//! {"counters":true}
//! ```
//! Each is answered by `{"a-to-b":{…},"b-to-a":{…}}`, the counters, or by `{"error":"…"}`.

use std::{
    convert::Infallible,
    io::{self, BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::Arc,
    thread,
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{conditions::Conditions, pump::Direction};

type Directions = [Arc<Direction>; 2];

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Message {
    Set { set: Conditions, way: WhichWay },
    Counters { counters: bool },
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WhichWay {
    Both,
    AToB,
    BToA,
}

pub fn serve(path: &Path, directions: &Directions) -> io::Result<Infallible> {
    let listener = UnixListener::bind(path)?;
    loop {
        let (stream, _) = listener.accept()?;
        let directions = directions.clone();
        thread::spawn(move || talk(&stream, &directions));
    }
}

/// Until the other side hangs up.
fn talk(stream: &UnixStream, directions: &Directions) {
    let mut out = stream;
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        if writeln!(out, "{}", answer(&line, directions)).is_err() {
            return;
        }
    }
}

fn answer(line: &str, directions: &Directions) -> Value {
    let done = serde_json::from_str(line).map_err(|error| error.to_string()).and_then(|message| match message {
        Message::Set { set, way } => {
            set.check()?;
            for (direction, other) in directions.iter().zip([WhichWay::BToA, WhichWay::AToB]) {
                if way != other {
                    direction.set(set);
                }
            }
            Ok(())
        }
        Message::Counters { counters } => counters.then_some(()).ok_or_else(|| "counters are true".into()),
    });
    match done {
        Ok(()) => json!({ "a-to-b": directions[0].counted(), "b-to-a": directions[1].counted() }),
        Err(error) => json!({ "error": error }),
    }
}
