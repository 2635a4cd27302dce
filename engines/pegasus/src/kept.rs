//! What of the state in force is remembered beside what the workers have of it, so that it can be told by what changes: the
//! routes of each table in their order, and what was wrong with which object.

use std::{collections::BTreeMap, sync::Arc};

use control::ObjectError;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    config::{Config, Steering},
    state::{Entries, StateChange},
    table::{Rank, Rule, Table},
};

/// In the order in which errors are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Peer,
    Listener,
    Outbound,
    Inbound,
    Engine,
}

#[derive(Debug, Default)]
pub struct Kept {
    wrong: BTreeMap<(Kind, Arc<str>), Vec<ObjectError>>,
    /// By the listener's name.
    routes: BTreeMap<Arc<str>, Routes>,
}

/// Ordered, best first.
#[derive(Debug, Default)]
struct Routes {
    list: Vec<Route>,
    wrong: BTreeMap<Rank, ObjectError>,
}

#[derive(Debug)]
struct Route {
    rank: Rank,
    service_id: Arc<str>,
    /// None where it can match nothing.
    rule: Option<Rule>,
}

/// Between the ranks of neighbours at first: so that others find room there.
const GAP: Rank = 1 << 32;

impl Kept {
    pub fn errors(&self) -> impl Iterator<Item = &ObjectError> {
        let of = |is_later: bool| self.wrong.iter().filter(move |((kind, _), _)| (*kind > Kind::Listener) == is_later);
        let routes = self.routes.values().flat_map(|routes| routes.wrong.values());
        of(false).flat_map(|(_, errors)| errors).chain(routes).chain(of(true).flat_map(|(_, errors)| errors))
    }

    pub fn refuse(&mut self, kind: Kind, name: &str, error: ObjectError) {
        self.wrong.entry((kind, name.into())).or_default().push(error);
    }

    /// What was wrong with an object that goes or is told anew.
    pub fn forget(&mut self, kind: Kind, name: &str) {
        if !self.wrong.is_empty() {
            self.wrong.remove(&(kind, name.into()));
        }
    }

    pub fn forget_routes(&mut self, listener: &str) {
        self.routes.remove(listener);
    }

    /// Whether a change is one of this state: what goes is there, and so are the places in lists.
    pub fn check(&self, change: &StateChange, config: &Config) -> Result<(), String> {
        let StateChange { peers, listeners, outbound, inbound, routes } = change;
        self.check_entries(Kind::Peer, peers, |id| config.peers.contains_key(id))?;
        self.check_entries(Kind::Listener, listeners, |name| config.listeners.contains_key(name))?;
        self.check_entries(Kind::Outbound, outbound, |id| config.outbound.get(id).is_some())?;
        self.check_entries(Kind::Inbound, inbound, |id| config.inbound.get(id).is_some())?;
        let mut lengths: FxHashMap<&str, usize> = FxHashMap::default();
        for change in routes {
            let name = change.listener.as_str();
            let told = listeners.set.iter().any(|listener| listener.name == name);
            let steering =
                config.listeners.get(name).filter(|_| !told && !listeners.remove.iter().any(|it| it == name));
            let Some(Steering::Table(_)) = steering.map(|steering| &**steering) else {
                return Err(format!("there is no table {name:?} that stays"));
            };
            let length = lengths.entry(name).or_insert_with(|| self.routes.get(name).map_or(0, |it| it.list.len()));
            for splice in &change.splices {
                let end = splice.at.checked_add(splice.remove).filter(|end| end <= length);
                if end.is_none() {
                    return Err(format!("{name:?} has {length} routes, not {} from {} on", splice.remove, splice.at));
                }
                *length = *length - splice.remove + splice.insert.len();
            }
        }
        Ok(())
    }

    fn check_entries<T>(
        &self,
        kind: Kind,
        entries: &Entries<T>,
        is_in_force: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let mut gone: FxHashSet<&str> = FxHashSet::default();
        for name in &entries.remove {
            let is_there = is_in_force(name) || self.wrong.contains_key(&(kind, name.as_str().into()));
            if !is_there || !gone.insert(name) {
                return Err(format!("{name:?} goes and is not there"));
            }
        }
        Ok(())
    }

    /// In the list and in the table that is made of it. Within the list, as [`Kept::check`] makes sure.
    pub fn splice(
        &mut self,
        listener: &str,
        table: &mut Table<Arc<str>>,
        at: usize,
        remove: usize,
        insert: Vec<(Arc<str>, Result<Rule, ObjectError>)>,
    ) {
        let routes = self.routes.entry(listener.into()).or_default();
        for gone in routes.list.drain(at..at + remove) {
            routes.wrong.remove(&gone.rank);
            if let Some(rule) = gone.rule {
                table.remove(gone.rank, &rule);
            }
        }
        let ranks = routes.ranks_between(at, insert.len() as Rank).or_else(|| {
            routes.spread(table);
            routes.ranks_between(at, insert.len() as Rank)
        });
        let Some(ranks) = ranks else { return };
        let new: Vec<Route> = ranks
            .zip(insert)
            .map(|(rank, (service_id, rule))| {
                let rule = rule.map_err(|error| routes.wrong.insert(rank, error)).ok();
                if let Some(rule) = &rule {
                    table.insert(rank, rule, service_id.clone());
                }
                Route { rank, service_id, rule }
            })
            .collect();
        routes.list.splice(at..at, new);
    }
}

impl Routes {
    /// So many ranks for routes that come before the one at `at`. None: there is no room.
    fn ranks_between(&self, at: usize, count: Rank) -> Option<impl Iterator<Item = Rank> + use<>> {
        let before = at.checked_sub(1).map_or(0, |at| self.list[at].rank);
        let step = match self.list.get(at) {
            Some(after) => (after.rank - before) / (count + 1),
            None => GAP,
        };
        (step > 0).then(|| (1..=count).map(move |number| before + number * step))
    }

    /// Gives all of them room again.
    fn spread(&mut self, table: &mut Table<Arc<str>>) {
        let mut wrong = std::mem::take(&mut self.wrong);
        // All go before the first comes back: ranks before and after this may be the same ones.
        for route in &self.list {
            if let Some(rule) = &route.rule {
                table.remove(route.rank, rule);
            }
        }
        for (rank, route) in (1..).map(|number: Rank| number * GAP).zip(&mut self.list) {
            let before = std::mem::replace(&mut route.rank, rank);
            if let Some(error) = wrong.remove(&before) {
                self.wrong.insert(rank, error);
            }
            if let Some(rule) = &route.rule {
                table.insert(rank, rule, route.service_id.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        state::{
            CoverState, InboundState, ListenerState, OutboundState, PeerState, RouteState, RoutesChange, Splice, State,
            TableState, Transport,
        },
        told::Told,
    };
    use control::Secrets;
    use proptest::{prelude::*, sample::Index};

    const GOOD_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    /// Few names and networks, so that they meet often; some are wrong.
    fn cidr() -> impl Strategy<Value = Option<String>> {
        const TEXTS: [&str; 7] =
            ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.1/32", "0.0.0.0/0", "fd00::/16", "10.0.0.1/8"];
        proptest::option::weighted(0.8, proptest::sample::select(&TEXTS).prop_map(str::to_owned))
    }

    fn service_id() -> impl Strategy<Value = String> {
        proptest::sample::select(&["s1", "s2", "s3", "s4", ""]).prop_map(str::to_owned)
    }

    fn peer() -> impl Strategy<Value = PeerState> {
        let id = proptest::sample::select(&["p1", "p2", "p3"]);
        let key = prop_oneof![4 => Just(GOOD_KEY), 1 => Just("short")];
        let address = prop_oneof![4 => Just("10.9.0.1:7947"), 1 => Just("nowhere")];
        (id, key, address).prop_map(|(id, key, address)| PeerState {
            peer_id: id.into(),
            public_key: key.into(),
            public_key_before: None,
            use_key_before: false,
            addresses: vec![address.into()],
        })
    }

    fn transport() -> impl Strategy<Value = Transport> {
        prop_oneof![Just(Transport::Tcp), Just(Transport::Kcp)]
    }

    fn outbound() -> impl Strategy<Value = OutboundState> {
        (service_id(), proptest::sample::select(&["p1", "p2"]), transport(), 0u8..3).prop_map(
            |(service_id, peer, transport, limit)| OutboundState {
                service_id,
                peer_id: peer.into(),
                transport,
                bandwidth_mbps: f64::from(limit),
                transparent: false,
            },
        )
    }

    fn inbound() -> impl Strategy<Value = InboundState> {
        let cover = (cidr(), cidr()).prop_map(|(source, dest)| CoverState { source, dest });
        (service_id(), transport(), proptest::collection::vec(cover, 0..3), any::<bool>()).prop_map(
            |(service_id, transport, routes, any)| InboundState {
                service_id,
                peer_id: "p1".into(),
                transport,
                bandwidth_mbps: 0.0,
                transparent: false,
                routes,
                any,
            },
        )
    }

    fn route() -> impl Strategy<Value = RouteState> {
        (service_id(), cidr(), cidr()).prop_map(|(service_id, source, dest)| RouteState {
            service_id,
            route_id: "r".into(),
            source,
            dest,
        })
    }

    fn listener() -> impl Strategy<Value = ListenerState> {
        let attached = proptest::collection::vec(
            proptest::sample::select(&["10.1.1.0/24", "10.1.0.0/16", "wrong"]).prop_map(str::to_owned),
            0..2,
        );
        let table = (attached, proptest::collection::vec(route(), 0..6))
            .prop_map(|(attached, routes)| TableState { attached, routes });
        let name = proptest::sample::select(&["l1", "l2"]);
        (name, proptest::option::weighted(0.8, table), proptest::option::weighted(0.2, service_id()))
            .prop_map(|(name, table, service_id)| ListenerState { name: name.into(), port: 0, table, service_id })
    }

    #[derive(Debug, Clone)]
    enum Step {
        Peer(PeerState, bool),
        Listener(ListenerState, bool),
        Outbound(OutboundState, bool),
        Inbound(InboundState, bool),
        /// Within the list where it fits, or beyond its end.
        Routes(&'static str, Index, Index, Vec<RouteState>, bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        let routes = (
            proptest::sample::select(&["l1", "l2"]),
            any::<Index>(),
            any::<Index>(),
            proptest::collection::vec(route(), 0..4),
            proptest::bool::weighted(0.1),
        );
        prop_oneof![
            1 => (peer(), any::<bool>()).prop_map(|(peer, goes)| Step::Peer(peer, goes)),
            1 => (listener(), proptest::bool::weighted(0.2)).prop_map(|(listener, goes)| Step::Listener(listener, goes)),
            1 => (outbound(), any::<bool>()).prop_map(|(service, goes)| Step::Outbound(service, goes)),
            1 => (inbound(), any::<bool>()).prop_map(|(service, goes)| Step::Inbound(service, goes)),
            4 => routes.prop_map(|(name, at, remove, insert, beyond)| Step::Routes(name, at, remove, insert, beyond)),
        ]
    }

    /// The state as the agent keeps it: lists, in which names are found by looking.
    fn place<T>(list: &mut Vec<T>, entry: T, goes: bool, name: impl Fn(&T) -> String) -> (Entries<T>, bool)
    where
        T: Clone,
    {
        let wanted = name(&entry);
        let fits = !goes || list.iter().any(|other| name(other) == wanted);
        list.retain(|other| name(other) != wanted);
        let (remove, set) = if goes {
            (vec![wanted], vec![])
        } else {
            list.push(entry.clone());
            (vec![], vec![entry])
        };
        (Entries { remove, set }, fits)
    }

    fn take(state: &mut State, step: Step) -> (StateChange, bool) {
        let mut change = StateChange::default();
        let fits;
        match step {
            Step::Peer(peer, goes) => {
                (change.peers, fits) = place(&mut state.peers, peer, goes, |peer| peer.peer_id.clone());
            }
            Step::Listener(listener, goes) => {
                (change.listeners, fits) =
                    place(&mut state.listeners, listener, goes, |listener| listener.name.clone());
            }
            Step::Outbound(service, goes) => {
                (change.outbound, fits) =
                    place(&mut state.outbound, service, goes, |service| service.service_id.clone());
            }
            Step::Inbound(service, goes) => {
                (change.inbound, fits) = place(&mut state.inbound, service, goes, |service| service.service_id.clone());
            }
            Step::Routes(name, at, remove, insert, beyond) => {
                let listener = state.listeners.iter_mut().find(|listener| listener.name == name);
                let is_table = |listener: &&mut ListenerState| listener.service_id.is_none();
                let table = listener.filter(is_table).and_then(|listener| listener.table.as_mut());
                let length = table.as_ref().map_or(0, |table| table.routes.len());
                let at = at.index(length + 1);
                let remove = if beyond { length - at + 1 } else { remove.index(length - at + 1) };
                fits = table.is_some() && !beyond;
                if let Some(table) = table.filter(|_| fits) {
                    table.routes.splice(at..at + remove, insert.iter().cloned());
                }
                let splices = vec![Splice { at, remove, insert }];
                change.routes = vec![RoutesChange { listener: name.into(), splices }];
            }
        }
        (change, fits)
    }

    fn seen(told: &Told) -> impl PartialEq + std::fmt::Debug + use<> {
        let ips = ["10.1.1.1", "10.1.1.2", "10.1.2.1", "10.2.0.1", "fd00::1", "fd01::1"];
        told.seen(&ips.map(|ip| ip.parse().unwrap()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn changes_come_to_the_same_as_the_whole_state(steps in proptest::collection::vec(step(), 0..50)) {
            let secrets = Secrets::new([1; 32], None);
            let json = r#"{"data_listen":"127.0.0.1:0","self":"a","bypass_mark":1,"peers":[],"listeners":[],"outbound":[],"inbound":[]}"#;
            let mut state: State = serde_json::from_str(json).unwrap();
            let mut told = Told::whole(&state, &secrets);
            for step in steps {
                let mut next = state.clone();
                let (change, fits) = take(&mut next, step);
                let before = seen(&told);
                match told.change(&change, &secrets) {
                    Ok(()) => {
                        prop_assert!(fits, "{:?}", change);
                        state = next;
                    }
                    Err(why) => {
                        prop_assert!(!fits, "{}: {:?}", why, change);
                        prop_assert!(before == seen(&told));
                    }
                }
                prop_assert_eq!(seen(&told), seen(&Told::whole(&state, &secrets)));
            }
        }
    }

    #[test]
    fn routes_find_room_between_neighbours_for_ever() {
        let secrets = Secrets::new([1; 32], None);
        let json = r#"{"data_listen":"127.0.0.1:0","self":"a","bypass_mark":1,"peers":[],"outbound":[],"inbound":[],
            "listeners":[{"name":"general","port":0,"table":{"attached":[],"routes":[
                {"service_id":"first","route_id":"r","source":null,"dest":"10.0.0.0/8"},
                {"service_id":"last","route_id":"r","source":null,"dest":"10.0.0.0/8"}]}}]}"#;
        let state: State = serde_json::from_str(json).unwrap();
        let (mut config, mut kept) = Config::compile(&state, &secrets, &Config::empty());
        for number in 0..100 {
            let route = RouteState {
                service_id: format!("s{number}"),
                route_id: "r".into(),
                source: None,
                dest: Some("10.0.0.0/8".into()),
            };
            // Always right behind the first one; then the first one goes, and comes back.
            let splices =
                vec![Splice { at: 1, remove: 0, insert: vec![route] }, Splice { at: 0, remove: 1, insert: vec![] }];
            let change = StateChange {
                routes: vec![RoutesChange { listener: "general".into(), splices }],
                ..StateChange::default()
            };
            config = config.changed(&change, &secrets, &mut kept).unwrap();
            let Steering::Table(table) = &*config.listeners["general"] else { panic!("a table") };
            let led = table.lookup("10.1.1.1".parse().unwrap(), "10.1.1.1".parse().unwrap()).cloned();
            assert_eq!(led.as_deref(), Some(format!("s{number}").as_str()));
            let first = RouteState {
                service_id: "first".into(),
                route_id: "r".into(),
                source: None,
                dest: Some("10.0.0.0/8".into()),
            };
            let splices = vec![Splice { at: 0, remove: 0, insert: vec![first] }];
            let change = StateChange {
                routes: vec![RoutesChange { listener: "general".into(), splices }],
                ..StateChange::default()
            };
            config = config.changed(&change, &secrets, &mut kept).unwrap();
        }
        assert_eq!(kept.routes["general"].list.len(), 102);
    }
}
