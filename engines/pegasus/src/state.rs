//! The state that the agent sends, as `PROTOCOL.md` writes it. Nothing here is judged yet: see `config`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub data_listen: String,
    #[serde(rename = "self")]
    pub self_id: String,
    pub bypass_mark: u32,
    pub peers: Vec<PeerState>,
    pub listeners: Vec<ListenerState>,
    pub outbound: Vec<OutboundState>,
    pub inbound: Vec<InboundState>,
    /// Whether what we send over KCP makes room for others' traffic.
    #[serde(default = "yes")]
    pub kcp_congestion_control: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerState {
    pub peer_id: String,
    pub public_key: String,
    /// The one before it, as long as handshakes with it are still good.
    #[serde(default)]
    pub public_key_before: Option<String>,
    /// This peer does not know our newest key yet: handshakes that we begin take the one before.
    #[serde(default)]
    pub use_key_before: bool,
    pub addresses: Vec<String>,
}

/// Has either `table` or `service_id`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerState {
    pub name: String,
    pub port: u16,
    #[serde(default)]
    pub table: Option<TableState>,
    #[serde(default)]
    pub service_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableState {
    pub attached: Vec<String>,
    pub routes: Vec<RouteState>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteState {
    pub service_id: String,
    pub route_id: String,
    pub source: Option<String>,
    pub dest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundState {
    pub service_id: String,
    pub peer_id: String,
    pub transport: Transport,
    pub bandwidth_mbps: f64,
    pub transparent: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundState {
    pub service_id: String,
    pub peer_id: String,
    pub transport: Transport,
    pub bandwidth_mbps: f64,
    pub transparent: bool,
    pub routes: Vec<CoverState>,
    #[serde(default)]
    pub any: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoverState {
    pub source: Option<String>,
    pub dest: Option<String>,
}

/// What differs between two states. What goes goes first; then what is new or another comes; then come the routes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateChange {
    pub peers: Entries<PeerState>,
    pub listeners: Entries<ListenerState>,
    pub outbound: Entries<OutboundState>,
    pub inbound: Entries<InboundState>,
    pub routes: Vec<RoutesChange>,
}

/// Of a list whose entries have names of their own, so that their order says nothing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entries<T> {
    #[serde(default = "Vec::new")]
    pub remove: Vec<String>,
    #[serde(default = "Vec::new")]
    pub set: Vec<T>,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { remove: Vec::new(), set: Vec::new() }
    }
}

/// Of the table of a listener that stays.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutesChange {
    pub listener: String,
    pub splices: Vec<Splice>,
}

/// `at` counts in the list as the splices before this one have left it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Splice {
    pub at: usize,
    pub remove: usize,
    pub insert: Vec<RouteState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Tcp,
    Kcp,
}

/// A listener and the port it has, in `hello` and `applied`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListenerStatus {
    pub name: String,
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_protocol_is_read() {
        let text = include_str!("../../PROTOCOL.md");
        let start = text.find("## Pegasus state\n```json\n").unwrap() + 25;
        let json = text[start..start + text[start..].find("```").unwrap()].replace('…', "");
        let state: State = serde_json::from_str(&json).unwrap();
        assert_eq!((state.bypass_mark, state.listeners.len(), state.inbound.len()), (16_777_216, 2, 1));
        assert!(!state.inbound[0].any && state.kcp_congestion_control);
        let unknown = json.replacen("\"bypass_mark\"", "\"bypass_mask\": 1, \"bypass_mark\"", 1);
        assert!(serde_json::from_str::<State>(&unknown).is_err());
    }
}
