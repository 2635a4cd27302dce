//! A state that was told, whole or by what changes in it, and all that can be seen of what is in force: what the law of changes
//! is about. A change of a state comes to the same as the whole state that it makes, and one that does not fit changes nothing.
//! The engine itself works with the two halves; tests and fuzzing hold them to the law.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use control::Secrets;

use crate::{
    config::{Config, Steering},
    kept::Kept,
    peer::Peer,
    prefix::Prefix,
    state::{State, StateChange},
};

pub struct Told {
    config: Config,
    kept: Kept,
}

impl Told {
    /// The first state of an engine.
    pub fn whole(state: &State, secrets: &Secrets) -> Self {
        let (config, kept) = Config::compile(state, secrets, &Config::empty());
        Self { config, kept }
    }

    /// Err: why it does not fit.
    pub fn change(&mut self, change: &StateChange, secrets: &Secrets) -> Result<(), String> {
        self.config = self.config.changed(change, secrets, &mut self.kept)?;
        Ok(())
    }

    /// Where each flow between these addresses would go, and all the rest.
    pub fn seen(&self, addresses: &[IpAddr]) -> impl PartialEq + std::fmt::Debug + use<> {
        let Self { config, kept } = self;
        let pairs = || addresses.iter().flat_map(|a| addresses.iter().map(|b| (*a, *b)));
        let peer = |peer: &Peer| {
            let keys = (peer.public_key, peer.public_key_before, peer.use_key_before);
            (peer.id.clone(), peer.transport as u8, keys, peer.addresses.clone())
        };
        let peers: BTreeMap<_, _> = config.peers.iter().map(|(id, it)| (id.clone(), peer(it))).collect();
        let kcp: BTreeMap<_, _> = config.kcp_peers.iter().map(|(id, it)| (id.clone(), peer(it))).collect();
        let led = |steering: &Steering| match steering {
            Steering::Service(id) => vec![Some(id.clone())],
            Steering::Table(table) => pairs().map(|(a, b)| table.lookup(a, b).cloned()).collect(),
        };
        let wish = |name| config.wishes.get(name).copied();
        let listeners = config.listeners.iter().map(|(name, it)| (name.clone(), (wish(name), led(it))));
        let listeners: BTreeMap<_, _> = listeners.collect();
        let outbound: BTreeMap<_, _> = config
            .outbound
            .values()
            .map(|it| {
                let way = (it.peer_id.clone(), it.transport as u8);
                (it.service.id.clone(), (way, it.service.bucket.bytes_per_second()))
            })
            .collect();
        let inbound: BTreeMap<_, _> = config
            .inbound
            .values()
            .map(|it| {
                let covers = |(a, b)| it.covers(SocketAddr::new(a, 1), SocketAddr::new(b, 1));
                let way = (it.peer_id.clone(), it.transport as u8, it.transparent);
                (
                    it.service.id.clone(),
                    (way, it.service.bucket.bytes_per_second(), pairs().map(covers).collect::<Vec<_>>()),
                )
            })
            .collect();
        let roads = config.roads.iter().map(|((by, to), services)| ((*by as u8, to.clone()), *services));
        let roads: BTreeMap<_, _> = roads.collect();
        let mut errors: Vec<_> = kept.errors().map(|error| format!("{error:?}")).collect();
        errors.sort();
        let once =
            (config.self_id.clone(), config.data_listen.clone(), config.bypass_mark, config.kcp_congestion_control);
        (peers, kcp, listeners, outbound, inbound, roads, errors, once)
    }
}

/// The first address of a network; none of what is no network.
pub fn first_address(network: &str) -> Option<IpAddr> {
    let prefix: Prefix = network.parse().ok()?;
    Some(prefix.first_address())
}
