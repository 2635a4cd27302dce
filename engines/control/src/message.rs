//! The messages of `PROTOCOL.md`, typed. What to do with them is the server's business.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{ObjectError, Secrets};

/// Version of the protocol that `hello` names.
pub const PROTOCOL: u32 = 1;

/// Version of `change` messages that `hello` names where the engine takes them.
pub const CHANGES: u32 = 1;

/// What an agent asks.
#[derive(Debug)]
pub enum Request<S, C> {
    Apply(Apply<S>),
    Change(Change<C>),
    Stats { id: u64 },
    Flows { id: u64, query: FlowsQuery },
    Drain { timeout_ms: u64 },
    HandOver { version: u32 },
    StandAside,
    Ping { id: u64 },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply<S> {
    #[serde(rename = "type")]
    _type: Type,
    pub generation: u64,
    pub secrets: Secrets,
    /// What the agent calls this state, to tell changes of it.
    #[serde(default)]
    pub name: Option<String>,
    pub state: S,
}

/// From the state called `base` to the one called `name`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change<C> {
    #[serde(rename = "type")]
    _type: Type,
    pub generation: u64,
    pub secrets: Secrets,
    pub base: String,
    pub name: String,
    pub change: C,
}

/// Which open flows of one service to tell, and in which order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FlowsQuery {
    pub service_id: String,
    pub sort: FlowsSort,
    /// At most so many; see [`crate::limits::FLOWS_MAX`].
    pub limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowsSort {
    /// Most bytes, both ways together, first.
    Bytes,
    /// Oldest first.
    Age,
}

#[derive(Debug, Deserialize)]
struct Type(#[allow(dead_code, reason = "read by peek; here only so that no field is unknown")] String);

#[derive(Deserialize)]
struct Peek {
    r#type: String,
}

#[derive(Deserialize)]
struct WithId {
    id: u64,
}

#[derive(Deserialize)]
struct Drain {
    timeout_ms: u64,
}

#[derive(Deserialize)]
struct HandOver {
    version: u32,
}

/// Why a line was not understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Misunderstood {
    pub code: &'static str,
    pub message: String,
    /// The stream itself cannot be trusted any more: close it.
    pub fatal: bool,
}

/// Reads one line. Not JSON at all is fatal; JSON that is no message of ours is not.
pub fn parse<S: DeserializeOwned, C: DeserializeOwned>(line: &[u8]) -> Result<Request<S, C>, Misunderstood> {
    let peek: Peek = serde_json::from_slice(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => misunderstood("InvalidMessage", &error),
        _ => Misunderstood { fatal: true, ..misunderstood("InvalidJson", &error) },
    })?;
    let invalid = |error: serde_json::Error| misunderstood("InvalidMessage", &error);
    let not_a_state = |error: serde_json::Error| misunderstood("InvalidState", &error);
    Ok(match peek.r#type.as_str() {
        "apply" => Request::Apply(serde_json::from_slice(line).map_err(not_a_state)?),
        "change" => Request::Change(serde_json::from_slice(line).map_err(not_a_state)?),
        "stats" => Request::Stats { id: serde_json::from_slice::<WithId>(line).map_err(invalid)?.id },
        "ping" => Request::Ping { id: serde_json::from_slice::<WithId>(line).map_err(invalid)?.id },
        "flows" => Request::Flows {
            id: serde_json::from_slice::<WithId>(line).map_err(invalid)?.id,
            query: serde_json::from_slice(line).map_err(invalid)?,
        },
        "drain" => Request::Drain { timeout_ms: serde_json::from_slice::<Drain>(line).map_err(invalid)?.timeout_ms },
        "hand_over" => {
            Request::HandOver { version: serde_json::from_slice::<HandOver>(line).map_err(invalid)?.version }
        }
        "stand_aside" => Request::StandAside,
        other => {
            let message =
                format!("there is no message of type {other:?}; agent and engine may be of different versions");
            return Err(Misunderstood { code: "UnknownType", message, fatal: false });
        }
    })
}

fn misunderstood(code: &'static str, error: &serde_json::Error) -> Misunderstood {
    Misunderstood { code, message: error.to_string(), fatal: false }
}

/// What the engine says, except events.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Answer<'a, Status, Stats> {
    Hello {
        engine: &'a str,
        version: &'a str,
        protocol: u32,
        pid: u32,
        generation: Option<u64>,
        /// The version of changes that it takes.
        #[serde(skip_serializing_if = "Option::is_none")]
        changes: Option<u32>,
        #[serde(flatten)]
        status: Status,
    },
    Applied {
        generation: u64,
        errors: Vec<ObjectError>,
        #[serde(flatten)]
        status: Status,
    },
    /// A change is of a state that is not in force here: the whole state is needed.
    #[serde(rename = "not_applied")]
    NotApplied {
        generation: u64,
        code: &'a str,
        message: &'a str,
    },
    Stats {
        id: u64,
        #[serde(flatten)]
        stats: Stats,
        events_dropped: u64,
        rss_bytes: u64,
    },
    Flows {
        id: u64,
        #[serde(flatten)]
        flows: serde_json::Value,
    },
    Pong {
        id: u64,
    },
    Draining,
    #[serde(rename = "handed_over")]
    HandedOver,
    #[serde(rename = "standing_aside")]
    StandingAside,
    Error {
        code: &'a str,
        message: &'a str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct State {
        level: u8,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Up {
        by: u8,
    }

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn code(line: &str) -> (&'static str, bool) {
        let error = parse::<State, Up>(line.as_bytes()).unwrap_err();
        (error.code, error.fatal)
    }

    #[test]
    fn an_apply_is_taken_whole_or_not_at_all() {
        let apply = |extra: &str, state: &str| {
            format!(r#"{{"type":"apply","generation":7,"secrets":{{"private_key":"{KEY}"}}{extra},"state":{state}}}"#)
        };
        match parse::<State, Up>(apply("", r#"{"level":3}"#).as_bytes()) {
            Ok(Request::Apply(apply)) => assert_eq!((apply.generation, apply.name, apply.state.level), (7, None, 3)),
            other => panic!("{other:?}"),
        }
        match parse::<State, Up>(apply(r#","name":"x.7""#, r#"{"level":3}"#).as_bytes()) {
            Ok(Request::Apply(apply)) => assert_eq!(apply.name.as_deref(), Some("x.7")),
            other => panic!("{other:?}"),
        }
        assert_eq!(code(&apply(r#","more":1"#, r#"{"level":3}"#)), ("InvalidState", false));
        assert_eq!(code(&apply("", r#"{"level":3,"more":1}"#)), ("InvalidState", false));
        assert_eq!(code(&apply("", r#"{"level":300}"#)), ("InvalidState", false));
    }

    #[test]
    fn a_change_names_both_its_ends() {
        let change = |ends: &str, change: &str| {
            format!(r#"{{"type":"change","generation":8,"secrets":{{"private_key":"{KEY}"}}{ends},"change":{change}}}"#)
        };
        let both = r#","base":"x.7","name":"x.8""#;
        match parse::<State, Up>(change(both, r#"{"by":1}"#).as_bytes()) {
            Ok(Request::Change(change)) => {
                assert_eq!((change.generation, change.change.by), (8, 1));
                assert_eq!((change.base.as_str(), change.name.as_str()), ("x.7", "x.8"));
            }
            other => panic!("{other:?}"),
        }
        for line in [
            change(r#","base":"x.7""#, r#"{"by":1}"#),
            change(r#","name":"x.8""#, r#"{"by":1}"#),
            change(r#","base":7,"name":"x.8""#, r#"{"by":1}"#),
            change(both, "{}"),
            change(both, r#"{"by":1,"more":1}"#),
            change(&format!(r#"{both},"more":1"#), r#"{"by":1}"#),
            change(both, r#"{"by":300}"#),
        ] {
            assert_eq!(code(&line), ("InvalidState", false), "{line}");
        }
    }

    #[test]
    fn what_is_not_json_is_fatal_and_what_is_unknown_is_not() {
        assert_eq!(code("{"), ("InvalidJson", true));
        assert_eq!(code("hello"), ("InvalidJson", true));
        assert_eq!(code(""), ("InvalidJson", true));
        assert_eq!(code("[]"), ("InvalidMessage", false));
        assert_eq!(code("{}"), ("InvalidMessage", false));
        assert_eq!(code(r#"{"type":"frobnicate"}"#), ("UnknownType", false));
        assert_eq!(code(r#"{"type":"ping"}"#), ("InvalidMessage", false));
    }

    #[test]
    fn unknown_fields_are_passed_over_outside_apply() {
        assert!(matches!(parse::<State, Up>(br#"{"type":"ping","id":4,"more":1}"#), Ok(Request::Ping { id: 4 })));
    }
}
