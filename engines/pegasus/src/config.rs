//! What the workers look things up in, compiled from a state, or from the one before and what has changed. Pure: what cannot
//! be in force comes back as an error with the object it belongs to, and everything else is in force without it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use control::{ObjectError, Secrets};
use rustc_hash::FxHashMap;

use crate::{
    kept::{Kept, Kind},
    keyring::Keyring,
    limits::NAME_BYTES_MAX,
    peer::{Peer, Road},
    prefix::Prefix,
    service::{Service, Side},
    shards::Shards,
    state::{InboundState, ListenerState, OutboundState, PeerState, RouteState, State, StateChange, Transport},
    table::{Rule, Table},
};

pub type Map<V> = FxHashMap<Arc<str>, Arc<V>>;

/// One generation, never changed once made. A copy shares its services and tables.
#[derive(Debug, Clone)]
pub struct Config {
    pub self_id: Arc<str>,
    pub keys: Arc<Keyring>,
    pub bypass_mark: u32,
    pub data_listen: Arc<str>,
    pub peers: Map<Peer>,
    /// The same peers by KCP: on the port above.
    pub kcp_peers: Map<Peer>,
    pub kcp_congestion_control: bool,
    pub listeners: Map<Steering>,
    /// The ports that listeners should have, by their names.
    pub wishes: FxHashMap<Arc<str>, u16>,
    pub outbound: Shards<Arc<str>, Arc<Outbound>>,
    pub inbound: Shards<Arc<str>, Arc<Inbound>>,
    /// The ways that outbound services take, and how many of them each.
    pub roads: FxHashMap<Road, usize>,
}

/// How a listener finds the service of a flow.
#[derive(Debug, Clone)]
pub enum Steering {
    Service(Arc<str>),
    Table(Table<Arc<str>>),
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
    pub transport: Transport,
    pub transparent: bool,
    any: bool,
    covered: Table<()>,
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
            keys: Arc::new(Keyring::new(&Secrets::new([0; 32], None))),
            bypass_mark: 0,
            data_listen: "".into(),
            peers: Map::default(),
            kcp_peers: Map::default(),
            kcp_congestion_control: true,
            listeners: Map::default(),
            wishes: FxHashMap::default(),
            outbound: Shards::default(),
            inbound: Shards::default(),
            roads: FxHashMap::default(),
        }
    }

    /// Services and peers that stay keep their counters and health from `before`.
    pub fn compile(state: &State, secrets: &Secrets, before: &Config) -> (Self, Kept) {
        let config = Self {
            self_id: state.self_id.as_str().into(),
            keys: Arc::new(Keyring::new(secrets)),
            bypass_mark: state.bypass_mark,
            data_listen: state.data_listen.as_str().into(),
            kcp_congestion_control: state.kcp_congestion_control,
            ..Self::empty()
        };
        let mut compiler = Compiler { before, config, kept: Kept::default() };
        if state.self_id.is_empty() || state.self_id.len() > NAME_BYTES_MAX {
            let error = ObjectError::new("engine", "InvalidPeerId", "self is not a peer id");
            compiler.kept.refuse(Kind::Engine, "", error);
        }
        state.peers.iter().for_each(|peer| compiler.set_peer(peer));
        state.outbound.iter().for_each(|service| compiler.set_outbound(service));
        state.listeners.iter().for_each(|listener| compiler.set_listener(listener));
        state.inbound.iter().for_each(|service| compiler.set_inbound(service));
        (compiler.config, compiler.kept)
    }

    /// The same as [`Config::compile`] of the state with this change, at the cost of the change. Err: why the change does not
    /// fit; then `kept` is as it was.
    pub fn changed(&self, change: &StateChange, secrets: &Secrets, kept: &mut Kept) -> Result<Self, String> {
        kept.check(change, self)?;
        let config = Self { keys: Arc::new(Keyring::new(secrets)), ..self.clone() };
        let mut compiler = Compiler { before: self, config, kept: std::mem::take(kept) };
        change.peers.remove.iter().for_each(|id| compiler.remove_peer(id));
        change.listeners.remove.iter().for_each(|name| compiler.remove_listener(name));
        change.outbound.remove.iter().for_each(|id| compiler.remove_outbound(id));
        change.inbound.remove.iter().for_each(|id| compiler.remove_inbound(id));
        change.peers.set.iter().for_each(|peer| compiler.set_peer(peer));
        change.outbound.set.iter().for_each(|service| compiler.set_outbound(service));
        change.listeners.set.iter().for_each(|listener| compiler.set_listener(listener));
        change.inbound.set.iter().for_each(|service| compiler.set_inbound(service));
        for routes in &change.routes {
            for splice in &routes.splices {
                let insert: Vec<_> = splice.insert.iter().map(|route| compiler.route(route)).collect();
                let Some(steering) = compiler.config.listeners.get_mut(routes.listener.as_str()) else { continue };
                if let Steering::Table(table) = Arc::make_mut(steering) {
                    compiler.kept.splice(&routes.listener, table, splice.at, splice.remove, insert);
                }
            }
        }
        *kept = compiler.kept;
        Ok(compiler.config)
    }
}

fn key(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

struct Compiler<'a> {
    before: &'a Config,
    config: Config,
    kept: Kept,
}

impl Compiler<'_> {
    fn remove_peer(&mut self, id: &str) {
        self.config.peers.remove(id);
        self.config.kcp_peers.remove(id);
        self.kept.forget(Kind::Peer, id);
    }

    fn set_peer(&mut self, state: &PeerState) {
        self.remove_peer(&state.peer_id);
        let object = || format!("peer:{}", state.peer_id);
        let (kept, id) = (&mut self.kept, state.peer_id.as_str());
        let mut refuse = |code, message: String| kept.refuse(Kind::Peer, id, ObjectError::new(object(), code, message));
        if id.is_empty() || id.len() > NAME_BYTES_MAX {
            return refuse("InvalidPeerId", "a peer id has 1 to 128 bytes".into());
        }
        let Some(public_key) = key(&state.public_key) else {
            return refuse("InvalidKey", format!("{:?} is not Base64 of 32 bytes", state.public_key));
        };
        let public_key_before = state.public_key_before.as_deref().and_then(key);
        if let (Some(text), None) = (&state.public_key_before, public_key_before) {
            refuse("InvalidKey", format!("{text:?} is not Base64 of 32 bytes; the newest key is used"));
        }
        let mut addresses = Vec::new();
        for address in &state.addresses {
            match address.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => {
                    refuse("InvalidAddress", format!("{address:?} is not IP:PORT; the other addresses are used"));
                }
            }
        }
        let id: Arc<str> = id.into();
        let health = self.before.peers.get(&id).map(|peer| peer.health.clone()).unwrap_or_default();
        let use_key_before = state.use_key_before;
        let transport = Transport::Tcp;
        let peer = Peer { id: id.clone(), transport, public_key, public_key_before, use_key_before, addresses, health };
        self.config.kcp_peers.insert(id.clone(), Arc::new(self.kcp_peer(&peer)));
        self.config.peers.insert(id, Arc::new(peer));
    }

    fn kcp_peer(&self, peer: &Peer) -> Peer {
        let above = |address: &SocketAddr| Some(SocketAddr::new(address.ip(), address.port().checked_add(1)?));
        let health = self.before.kcp_peers.get(&peer.id).map(|peer| peer.health.clone()).unwrap_or_default();
        Peer {
            id: peer.id.clone(),
            transport: Transport::Kcp,
            public_key: peer.public_key,
            public_key_before: peer.public_key_before,
            use_key_before: peer.use_key_before,
            addresses: peer.addresses.iter().filter_map(above).collect(),
            health,
        }
    }

    fn remove_listener(&mut self, name: &str) {
        self.config.listeners.remove(name);
        self.config.wishes.remove(name);
        self.kept.forget(Kind::Listener, name);
        self.kept.forget_routes(name);
    }

    fn set_listener(&mut self, state: &ListenerState) {
        self.remove_listener(&state.name);
        let name: Arc<str> = state.name.as_str().into();
        let engine = |code, message: String| ObjectError::new("engine", code, message);
        let steering = match (&state.table, &state.service_id) {
            (None, Some(service_id)) => Steering::Service(service_id.as_str().into()),
            (Some(wanted), None) => {
                let mut attached: Vec<Prefix> = Vec::new();
                for text in &wanted.attached {
                    match text.parse() {
                        Ok(prefix) => attached.push(prefix),
                        Err(_) => {
                            let error = engine("InvalidCidr", format!("attached {text:?} is not a CIDR"));
                            self.kept.refuse(Kind::Listener, &name, error);
                        }
                    }
                }
                let mut table = Table::new(&attached);
                let routes = wanted.routes.iter().map(|route| self.route(route)).collect();
                self.kept.splice(&name, &mut table, 0, 0, routes);
                Steering::Table(table)
            }
            _ => {
                let message = format!("listener {name:?} needs a table or a service_id, and not both");
                return self.kept.refuse(Kind::Listener, &name, engine("InvalidListener", message));
            }
        };
        self.config.wishes.insert(name.clone(), state.port);
        self.config.listeners.insert(name, Arc::new(steering));
    }

    fn remove_outbound(&mut self, id: &str) {
        self.kept.forget(Kind::Outbound, id);
        let Some(gone) = self.config.outbound.remove(id) else { return };
        let road = (gone.transport, gone.peer_id.clone());
        if let Some(services) = self.config.roads.get_mut(&road) {
            *services -= 1;
            if *services == 0 {
                self.config.roads.remove(&road);
            }
        }
    }

    fn set_outbound(&mut self, state: &OutboundState) {
        self.remove_outbound(&state.service_id);
        let before = self.before.outbound.get(state.service_id.as_str()).map(|outbound| outbound.service.clone());
        let service = service(&state.service_id, Side::Source, before, state.bandwidth_mbps);
        let service = match service {
            Ok(service) => service,
            Err(error) => return self.kept.refuse(Kind::Outbound, &state.service_id, error),
        };
        let peer_id = self.peer_id(&state.peer_id);
        let id = service.id.clone();
        *self.config.roads.entry((state.transport, peer_id.clone())).or_default() += 1;
        self.config.outbound.insert(id, Arc::new(Outbound { service, peer_id, transport: state.transport }));
    }

    fn remove_inbound(&mut self, id: &str) {
        self.kept.forget(Kind::Inbound, id);
        self.config.inbound.remove(id);
    }

    fn set_inbound(&mut self, state: &InboundState) {
        self.remove_inbound(&state.service_id);
        let id = state.service_id.as_str();
        let before = self.before.inbound.get(id).map(|inbound| inbound.service.clone());
        let service = match service(id, Side::Target, before, state.bandwidth_mbps) {
            Ok(service) => service,
            Err(error) => return self.kept.refuse(Kind::Inbound, id, error),
        };
        if !state.transparent {
            service.return_path.forget();
        }
        let mut covered = Table::new(&[]);
        for (rank, route) in state.routes.iter().enumerate() {
            match rule(id, &route.source, &route.dest) {
                Ok(rule) => covered.insert(rank as u64, &rule, ()),
                Err(error) => self.kept.refuse(Kind::Inbound, id, error),
            }
        }
        let inbound = Inbound {
            peer_id: self.peer_id(&state.peer_id),
            transport: state.transport,
            transparent: state.transparent,
            any: state.any,
            covered,
            service: service.clone(),
        };
        self.config.inbound.insert(service.id.clone(), Arc::new(inbound));
    }

    /// One text for all services of a peer.
    fn peer_id(&self, id: &str) -> Arc<str> {
        self.config.peers.get_key_value(id).map_or_else(|| id.into(), |(id, _)| id.clone())
    }

    fn route(&self, route: &RouteState) -> (Arc<str>, Result<Rule, ObjectError>) {
        // The text of the service that stands there already, mostly.
        let known = self.config.outbound.get(route.service_id.as_str()).map(|known| known.service.id.clone());
        let service_id = known.unwrap_or_else(|| route.service_id.as_str().into());
        (service_id, rule(&route.service_id, &route.source, &route.dest))
    }
}

fn service(id: &str, side: Side, before: Option<Arc<Service>>, mbps: f64) -> Result<Arc<Service>, ObjectError> {
    if id.is_empty() || id.len() > NAME_BYTES_MAX {
        let message = "a service id has 1 to 128 bytes";
        return Err(ObjectError::new(format!("service:{id}"), "InvalidServiceId", message));
    }
    let service = before.unwrap_or_else(|| Arc::new(Service::new(id.into(), side)));
    service.bucket.set_mbps(mbps);
    Ok(service)
}

fn rule(service_id: &str, source: &Option<String>, dest: &Option<String>) -> Result<Rule, ObjectError> {
    let wrong = |message: String| ObjectError::new(format!("service:{service_id}"), "InvalidCidr", message);
    let parse = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| wrong(format!("{text:?} is not a CIDR without host bits"))),
    };
    let rule = Rule { source: parse(source)?, dest: parse(dest)? };
    if rule.is_possible() { Ok(rule) } else { Err(wrong("source and destination are of different families".into())) }
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
        let (config, kept) = Config::compile(&state(patch), &Secrets::new([1; 32], None), before);
        (config, kept.errors().map(|error| (error.object.clone(), error.code)).collect())
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
        let Steering::Table(table) = &*config.listeners["table"] else { panic!("a table") };
        let led = |to: &str| table.lookup("10.0.0.1".parse().unwrap(), to.parse().unwrap()).map(|id| &**id);
        assert_eq!((led("10.2.0.1"), led("10.3.0.1")), (Some("s"), None));
        let expected = [
            ("peer:bad", "InvalidKey"),
            ("peer:good", "InvalidAddress"),
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
            compile(json!({ "inbound": [service] }), &Config::empty()).0.inbound.get("s").unwrap().clone()
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
        let service = |config: &Config| config.outbound.get("s").unwrap().service.clone();
        assert!(Arc::ptr_eq(&service(&first), &service(&second)));
        assert!(service(&second).bucket.is_limited());
    }
}
