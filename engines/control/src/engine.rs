//! What an engine is to the control socket.

use std::{os::fd::OwnedFd, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{FlowsQuery, Secrets};

/// The calls come from one thread, one at a time. None may wait: each answers within milliseconds.
pub trait Engine {
    const NAME: &'static str;
    const VERSION: &'static str;
    /// `state` of an `apply`. Give every struct of it `#[serde(deny_unknown_fields)]`.
    type State: DeserializeOwned;
    /// `change` of a `change`: what differs between two states. Strict as well.
    type Change: DeserializeOwned;
    /// Whether it takes changes at all; `hello` says so.
    const TAKES_CHANGES: bool = false;
    /// Fields that `hello` and `applied` carry beside the common ones, e.g. `{"listeners": […]}`. A JSON object.
    type Status: Serialize;
    /// Fields that `stats` carries beside `events_dropped` and `rss_bytes`. A JSON object.
    type Stats: Serialize;

    fn status(&self) -> Self::Status;
    /// Brings the whole engine to `state`. What is not in the returned errors is in force on return. Err: nothing of it is,
    /// and what was before goes on.
    fn apply(
        &mut self,
        generation: u64,
        secrets: &Secrets,
        state: Self::State,
    ) -> Result<Vec<ObjectError>, ObjectError>;
    /// Brings it to the state that it has with this change, as [`Engine::apply`] of that whole state would; the errors are
    /// those of the whole state too. Err: why the change does not fit the state, which has stayed as it was.
    fn change(
        &mut self,
        _generation: u64,
        _secrets: &Secrets,
        _change: Self::Change,
    ) -> Result<Vec<ObjectError>, String> {
        Err("this engine takes no changes".into())
    }
    fn stats(&mut self) -> Self::Stats;
    /// Open flows of a service as `{"total": N, "flows": […]}`; None: this engine knows no flows.
    fn flows(&mut self, _query: &FlowsQuery) -> Option<serde_json::Value> {
        None
    }
    /// A successor asks for what lets it take this engine's place: a socket on which both talk from then on, without the
    /// server. Err: what to tell it instead.
    fn hand_over(&mut self, _version: u32) -> Result<OwnedFd, &'static str> {
        Err("this engine hands nothing over")
    }
    /// Another engine is at work in this one's place, and no successor says so: as with one that does. Err: why not.
    fn stand_aside(&mut self) -> Result<(), &'static str> {
        Err("this engine stands aside for nobody")
    }
    /// A successor is at work: this engine ends by itself once [`Engine::drained`] says so.
    fn has_successor(&self) -> bool {
        false
    }
    /// Takes nothing new from now on and ends what is left at the timeout. A second call may only shorten it.
    fn drain(&mut self, timeout: Duration);
    /// True once nothing is left, and then it ends: asked every few milliseconds after [`Engine::drain`], and now and then
    /// while it has a successor.
    fn drained(&mut self) -> bool;
}

/// Why one object of a state is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectError {
    /// `service:ID`, `peer:ID` or `engine`.
    pub object: String,
    /// CamelCase, for conditions.
    pub code: &'static str,
    /// What happened; what to do.
    pub message: String,
}

impl ObjectError {
    pub fn new(object: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { object: object.into(), code, message: message.into() }
    }
}
