//! Compiles a state into what the workers look things up in. Pure: what cannot be in force comes back as an error with
//! the object it belongs to, and everything else is in force without it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use control::{ObjectError, Secrets};
use rustc_hash::FxHashMap;

use crate::{
    keyring::Keyring,
    limits::NAME_BYTES_MAX,
    peer::Peer,
    prefix::Prefix,
    service::{Service, Side},
    state::{InboundState, ListenerState, OutboundState, PeerState, State, Transport},
    table::{Rule, Table},
};

pub type Map<V> = FxHashMap<Arc<str>, Arc<V>>;

/// One generation, never changed once made.
#[derive(Debug)]
pub struct Config {
    pub self_id: Arc<str>,
    pub keys: Keyring,
    pub bypass_mark: u32,
    pub peers: Map<Peer>,
    /// The same peers by KCP: on the port above.
    pub kcp_peers: Map<Peer>,
    pub kcp_congestion_control: bool,
    pub listeners: Map<Steering>,
    pub outbound: Map<Outbound>,
    pub inbound: Map<Inbound>,
}

/// How a listener finds the service of a flow.
#[derive(Debug)]
pub enum Steering {
    Service(Arc<str>),
    Table { table: Table, services: Vec<Arc<str>> },
}

#[derive(Debug)]
pub struct Outbound {
    pub service: Arc<Service>,
    pub peer_id: Arc<str>,
    pub transport: Transport,
}

#[derive(Debug)]
pub struct Inbound {
    pub service: Arc<Service>,
    pub peer_id: Arc<str>,
    pub transparent: bool,
    any: bool,
    covered: Table,
}

impl Inbound {
    pub fn covers(&self, client: SocketAddr, destination: SocketAddr) -> bool {
        self.any || self.covered.lookup(client.ip(), destination.ip()).is_some()
    }
}

impl Config {
    pub fn peer(&self, transport: Transport, id: &str) -> Option<&Arc<Peer>> {
        match transport {
            Transport::Tcp => self.peers.get(id),
            Transport::Kcp => self.kcp_peers.get(id),
        }
    }

    pub fn is_peer_address(&self, ip: IpAddr) -> bool {
        self.peers.values().any(|peer| peer.addresses.iter().any(|address| address.ip() == ip))
    }

    /// The configuration before the first `apply`: nobody is known and nothing is carried.
    pub fn empty() -> Self {
        Self {
            self_id: "".into(),
            keys: Keyring::new(&Secrets::new([0; 32], None)),
            bypass_mark: 0,
            peers: Map::default(),
            kcp_peers: Map::default(),
            kcp_congestion_control: true,
            listeners: Map::default(),
            outbound: Map::default(),
            inbound: Map::default(),
        }
    }

    /// Services and peers that stay keep their counters and health from `before`.
    pub fn compile(state: &State, secrets: &Secrets, before: &Config) -> (Self, Vec<ObjectError>) {
        let mut compiler = Compiler { before, errors: Vec::new() };
        let peers: Map<Peer> = state.peers.iter().filter_map(|peer| compiler.peer(peer)).collect();
        let config = Self {
            self_id: state.self_id.as_str().into(),
            keys: Keyring::new(secrets),
            bypass_mark: state.bypass_mark,
            kcp_peers: peers.values().map(|peer| compiler.kcp_peer(peer)).collect(),
            peers,
            kcp_congestion_control: state.kcp_congestion_control,
            listeners: state.listeners.iter().filter_map(|listener| compiler.listener(listener)).collect(),
            outbound: state.outbound.iter().filter_map(|service| compiler.outbound(service)).collect(),
            inbound: state.inbound.iter().filter_map(|service| compiler.inbound(service)).collect(),
        };
        if state.self_id.is_empty() || state.self_id.len() > NAME_BYTES_MAX {
            compiler.errors.push(ObjectError::new("engine", "InvalidPeerId", "self is not a peer id"));
        }
        (config, compiler.errors)
    }
}

fn key(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

struct Compiler<'a> {
    before: &'a Config,
    errors: Vec<ObjectError>,
}

impl Compiler<'_> {
    fn peer(&mut self, state: &PeerState) -> Option<(Arc<str>, Arc<Peer>)> {
        let object = format!("peer:{}", state.peer_id);
        if state.peer_id.is_empty() || state.peer_id.len() > NAME_BYTES_MAX {
            return self.refuse(object, "InvalidPeerId", "a peer id has 1 to 128 bytes".into());
        }
        let Some(public_key) = key(&state.public_key) else {
            return self.refuse(object, "InvalidKey", format!("{:?} is not Base64 of 32 bytes", state.public_key));
        };
        let public_key_before = state.public_key_before.as_deref().and_then(key);
        if let (Some(text), None) = (&state.public_key_before, public_key_before) {
            let message = format!("{text:?} is not Base64 of 32 bytes; the newest key is used");
            self.errors.push(ObjectError::new(object.clone(), "InvalidKey", message));
        }
        let mut addresses = Vec::new();
        for address in &state.addresses {
            match address.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => {
                    let message = format!("{address:?} is not IP:PORT; the other addresses are used");
                    self.errors.push(ObjectError::new(object.clone(), "InvalidAddress", message));
                }
            }
        }
        let id: Arc<str> = state.peer_id.as_str().into();
        let health = self.before.peers.get(&id).map(|peer| peer.health.clone()).unwrap_or_default();
        let use_key_before = state.use_key_before;
        let transport = Transport::Tcp;
        let peer = Peer { id: id.clone(), transport, public_key, public_key_before, use_key_before, addresses, health };
        Some((id, Arc::new(peer)))
    }

    fn kcp_peer(&self, peer: &Peer) -> (Arc<str>, Arc<Peer>) {
        let above = |address: &SocketAddr| Some(SocketAddr::new(address.ip(), address.port().checked_add(1)?));
        let health = self.before.kcp_peers.get(&peer.id).map(|peer| peer.health.clone()).unwrap_or_default();
        let kcp = Peer {
            id: peer.id.clone(),
            transport: Transport::Kcp,
            public_key: peer.public_key,
            public_key_before: peer.public_key_before,
            use_key_before: peer.use_key_before,
            addresses: peer.addresses.iter().filter_map(above).collect(),
            health,
        };
        (peer.id.clone(), Arc::new(kcp))
    }

    fn listener(&mut self, state: &ListenerState) -> Option<(Arc<str>, Arc<Steering>)> {
        let steering = match (&state.table, &state.service_id) {
            (None, Some(service_id)) => Steering::Service(service_id.as_str().into()),
            (Some(table), None) => {
                let attached = table.attached.iter().filter_map(|text| {
                    text.parse::<Prefix>().ok().or_else(|| {
                        self.refuse("engine".into(), "InvalidCidr", format!("attached {text:?} is not a CIDR"))
                    })
                });
                let attached: Vec<Prefix> = attached.collect();
                let (mut rules, mut services) = (Vec::new(), Vec::<Arc<str>>::new());
                let mut known: FxHashMap<&str, Arc<str>> = FxHashMap::default();
                for route in &table.routes {
                    let object = || format!("service:{}", route.service_id);
                    let Some(rule) = self.rule(object, &route.source, &route.dest) else { continue };
                    rules.push(rule);
                    services.push(
                        known.entry(&route.service_id).or_insert_with(|| route.service_id.as_str().into()).clone(),
                    );
                }
                Steering::Table { table: Table::new(&rules, &attached), services }
            }
            _ => {
                let message = format!("listener {:?} needs a table or a service_id, and not both", state.name);
                return self.refuse("engine".into(), "InvalidListener", message);
            }
        };
        Some((state.name.as_str().into(), Arc::new(steering)))
    }

    fn outbound(&mut self, state: &OutboundState) -> Option<(Arc<str>, Arc<Outbound>)> {
        let before = self.before.outbound.get(state.service_id.as_str()).map(|outbound| outbound.service.clone());
        let service = self.service(&state.service_id, Side::Source, before, state.bandwidth_mbps)?;
        let outbound =
            Outbound { service: service.clone(), peer_id: state.peer_id.as_str().into(), transport: state.transport };
        Some((service.id.clone(), Arc::new(outbound)))
    }

    fn inbound(&mut self, state: &InboundState) -> Option<(Arc<str>, Arc<Inbound>)> {
        let before = self.before.inbound.get(state.service_id.as_str()).map(|inbound| inbound.service.clone());
        let service = self.service(&state.service_id, Side::Target, before, state.bandwidth_mbps)?;
        if !state.transparent {
            service.return_path.forget();
        }
        let object = || format!("service:{}", state.service_id);
        let rules: Vec<Rule> =
            state.routes.iter().filter_map(|route| self.rule(object, &route.source, &route.dest)).collect();
        let inbound = Inbound {
            service: service.clone(),
            peer_id: state.peer_id.as_str().into(),
            transparent: state.transparent,
            any: state.any,
            covered: Table::new(&rules, &[]),
        };
        Some((service.id.clone(), Arc::new(inbound)))
    }

    fn service(&mut self, id: &str, side: Side, before: Option<Arc<Service>>, mbps: f64) -> Option<Arc<Service>> {
        if id.is_empty() || id.len() > NAME_BYTES_MAX {
            return self.refuse(format!("service:{id}"), "InvalidServiceId", "a service id has 1 to 128 bytes".into());
        }
        let service = before.unwrap_or_else(|| Arc::new(Service::new(id.into(), side)));
        service.bucket.set_mbps(mbps);
        Some(service)
    }

    fn rule(&mut self, object: impl Fn() -> String, source: &Option<String>, dest: &Option<String>) -> Option<Rule> {
        let mut parse = |text: &Option<String>| match text {
            None => Some(None),
            Some(text) => match text.parse::<Prefix>() {
                Ok(prefix) => Some(Some(prefix)),
                Err(_) => self.refuse(object(), "InvalidCidr", format!("{text:?} is not a CIDR without host bits")),
            },
        };
        let rule = Rule { source: parse(source)?, dest: parse(dest)? };
        if rule.is_possible() {
            Some(rule)
        } else {
            self.refuse(object(), "InvalidCidr", "source and destination are of different families".into())
        }
    }

    fn refuse<T>(&mut self, object: String, code: &'static str, message: String) -> Option<T> {
        self.errors.push(ObjectError::new(object, code, message));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(patch: serde_json::Value) -> State {
        let mut whole = json!({
            "data_listen": "127.0.0.1:0", "self": "peer-a", "bypass_mark": 1, "peers": [], "listeners": [], "outbound": [], "inbound": []
        });
        whole.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    fn compile(patch: serde_json::Value, before: &Config) -> (Config, Vec<(String, &'static str)>) {
        let (config, errors) = Config::compile(&state(patch), &Secrets::new([1; 32], None), before);
        (config, errors.into_iter().map(|error| (error.object, error.code)).collect())
    }

    #[test]
    fn what_is_wrong_is_named_and_the_rest_is_in_force() {
        let good = STANDARD.encode([4; 32]);
        let (config, errors) = compile(
            json!({
                "peers": [
                    {"peer_id": "good", "public_key": good, "addresses": ["10.0.0.1:7947", "nonsense", "[fd00::1]:7947"]},
                    {"peer_id": "bad", "public_key": "AAAA", "addresses": []},
                    {"peer_id": "half", "public_key": good, "public_key_before": "AAAA", "addresses": []},
                ],
                "listeners": [
                    {"name": "both", "port": 0, "service_id": "s", "table": {"attached": [], "routes": []}},
                    {"name": "table", "port": 0, "table": {"attached": ["10.1.0.5/24"], "routes": [
                        {"service_id": "s", "route_id": "r", "source": "10.0.0.0/8", "dest": "fd00::/8"},
                        {"service_id": "s", "route_id": "r", "source": null, "dest": "10.2.0.0/24"},
                    ]}},
                ],
                "outbound": [{"service_id": "k", "peer_id": "good", "transport": "kcp", "bandwidth_mbps": 0, "transparent": false}],
            }),
            &Config::empty(),
        );
        assert_eq!(config.peers["good"].addresses.len(), 2);
        let above: Vec<u16> = config.kcp_peers["good"].addresses.iter().map(SocketAddr::port).collect();
        assert_eq!(above, [7948, 7948]);
        assert!(!config.peers.contains_key("bad"));
        assert!(config.peers["half"].public_key_before.is_none());
        assert_eq!(config.listeners.len(), 1);
        let Steering::Table { services, .. } = &*config.listeners["table"] else { panic!("a table") };
        assert_eq!(services.len(), 1);
        let expected = [
            ("peer:good", "InvalidAddress"),
            ("peer:bad", "InvalidKey"),
            ("peer:half", "InvalidKey"),
            ("engine", "InvalidListener"),
            ("engine", "InvalidCidr"),
            ("service:s", "InvalidCidr"),
        ];
        assert_eq!(errors, expected.map(|(object, code)| (object.to_owned(), code)));
    }

    #[test]
    fn only_what_a_route_covers_comes_in() {
        let inbound = |routes: serde_json::Value, any: bool| {
            let service = json!({"service_id": "s", "peer_id": "p", "transport": "tcp", "bandwidth_mbps": 0, "transparent": false, "routes": routes, "any": any});
            compile(json!({ "inbound": [service] }), &Config::empty()).0.inbound["s"].clone()
        };
        let covers = |inbound: &Inbound, client: &str, destination: &str| {
            inbound.covers(client.parse().unwrap(), destination.parse().unwrap())
        };
        let routed = inbound(
            json!([{"source": "10.1.0.0/24", "dest": "10.2.0.0/24"}, {"source": null, "dest": "fd02::/64"}]),
            false,
        );
        assert!(covers(&routed, "10.1.0.2:5", "10.2.0.9:80"));
        assert!(covers(&routed, "[fd01::1]:5", "[fd02::9]:80"));
        assert!(!covers(&routed, "10.3.0.2:5", "10.2.0.9:80"));
        assert!(!covers(&routed, "10.1.0.2:5", "127.0.0.1:80"));
        assert!(!covers(&inbound(json!([]), false), "10.1.0.2:5", "10.2.0.9:80"));
        assert!(covers(&inbound(json!([]), true), "10.1.0.2:5", "10.2.0.9:80"));
    }

    #[test]
    fn a_service_that_stays_keeps_its_counters() {
        let patch = |mbps: f64| json!({"outbound": [{"service_id": "s", "peer_id": "p", "transport": "tcp", "bandwidth_mbps": mbps, "transparent": false}]});
        let (first, _) = compile(patch(0.0), &Config::empty());
        let (second, _) = compile(patch(5.5), &first);
        assert!(Arc::ptr_eq(&first.outbound["s"].service, &second.outbound["s"].service));
        assert!(second.outbound["s"].service.bucket.is_limited());
    }
}
