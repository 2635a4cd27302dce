//! States and changes made of bytes, so that a fuzzer need not find out JSON first: each byte chooses from a short menu of names,
//! networks and numbers, so that they meet often; some are wrong.

use pegasus::state::{
    CoverState, InboundState, ListenerState, OutboundState, PeerState, RouteState, RoutesChange, Splice, State,
    StateChange, TableState, Transport,
};

const NETWORKS: &[Option<&str>] = &[
    None,
    Some("10.0.0.0/8"),
    Some("10.1.0.0/16"),
    Some("10.1.1.0/24"),
    Some("10.1.1.1/32"),
    Some("0.0.0.0/0"),
    Some("fd00::/16"),
    Some("fd00:1::/64"),
    Some("::/0"),
    Some("10.0.0.1/8"),
];
const KEYS: &[&str] =
    &["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "short"];
const ADDRESSES: &[&str] = &["10.9.0.1:7947", "[fd00::1]:65535", "nowhere"];
const PEERS: &[&str] = &["p1", "p2", "p3", ""];
const SERVICES: &[&str] = &["s1", "s2", "s3", "s4", ""];
const LISTENERS: &[&str] = &["l1", "l2", ""];

/// Reads bytes one by one; behind their end come zeros, which choose the shortest of everything.
pub struct Menu<'a>(&'a [u8]);

impl<'a> Menu<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    fn some<T>(&mut self, end: u8, mut each: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(end)).map(|_| each(self)).collect()
    }

    fn maybe<T>(&mut self, each: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| each(self))
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn name(&mut self, of: &[&str]) -> String {
        self.one(of).to_owned()
    }

    fn network(&mut self) -> Option<String> {
        self.one(NETWORKS).map(str::to_owned)
    }

    pub fn state(&mut self) -> State {
        State {
            data_listen: "127.0.0.1:0".into(),
            self_id: self.name(&["a", ""]),
            bypass_mark: 1,
            peers: self.some(4, Self::peer),
            listeners: self.some(4, Self::listener),
            outbound: self.some(5, Self::outbound),
            inbound: self.some(5, Self::inbound),
            kcp_congestion_control: self.flag(),
        }
    }

    pub fn change(&mut self) -> StateChange {
        let mut change = StateChange::default();
        // Mostly one thing at a time: whole changes rarely fit by chance.
        for _ in 0..=self.below(4) {
            match self.below(8) {
                0 => change.peers.set.push(self.peer()),
                1 => change.listeners.set.push(self.listener()),
                2 => change.outbound.set.push(self.outbound()),
                3 => change.inbound.set.push(self.inbound()),
                4 => self.remove(&mut change),
                _ => change.routes.push(self.routes()),
            }
        }
        change
    }

    fn remove(&mut self, change: &mut StateChange) {
        match self.below(4) {
            0 => change.peers.remove.push(self.name(PEERS)),
            1 => change.listeners.remove.push(self.name(LISTENERS)),
            2 => change.outbound.remove.push(self.name(SERVICES)),
            _ => change.inbound.remove.push(self.name(SERVICES)),
        }
    }

    fn peer(&mut self) -> PeerState {
        PeerState {
            peer_id: self.name(PEERS),
            public_key: self.name(KEYS),
            public_key_before: self.maybe(|menu| menu.name(KEYS)),
            use_key_before: self.flag(),
            addresses: self.some(3, |menu| menu.name(ADDRESSES)),
        }
    }

    fn listener(&mut self) -> ListenerState {
        let kind = self.below(8);
        let table = |menu: &mut Self| TableState {
            attached: menu.some(3, |menu| menu.network().unwrap_or_default()),
            routes: menu.some(8, Self::route),
        };
        ListenerState {
            name: self.name(LISTENERS),
            port: self.one(&[0, 1, 41_001]),
            table: (kind > 1).then(|| table(self)),
            service_id: (kind < 3).then(|| self.name(SERVICES)),
        }
    }

    fn route(&mut self) -> RouteState {
        RouteState {
            service_id: self.name(SERVICES),
            route_id: "r".into(),
            source: self.network(),
            dest: self.network(),
        }
    }

    fn routes(&mut self) -> RoutesChange {
        let splice = |menu: &mut Self| Splice {
            at: usize::from(menu.below(12)),
            remove: if menu.byte() == 255 { usize::MAX } else { usize::from(menu.below(4)) },
            insert: menu.some(5, Self::route),
        };
        RoutesChange { listener: self.name(LISTENERS), splices: self.some(5, splice) }
    }

    fn outbound(&mut self) -> OutboundState {
        OutboundState {
            service_id: self.name(SERVICES),
            peer_id: self.name(PEERS),
            transport: self.one(&[Transport::Tcp, Transport::Kcp]),
            bandwidth_mbps: self.rate(),
            transparent: self.flag(),
        }
    }

    fn inbound(&mut self) -> InboundState {
        InboundState {
            service_id: self.name(SERVICES),
            peer_id: self.name(PEERS),
            transport: self.one(&[Transport::Tcp, Transport::Kcp]),
            bandwidth_mbps: self.rate(),
            transparent: self.flag(),
            routes: self.some(4, |menu| CoverState { source: menu.network(), dest: menu.network() }),
            any: self.flag(),
        }
    }

    fn rate(&mut self) -> f64 {
        self.one(&[0.0, 0.000_001, 8.0, -1.0, 1e30])
    }
}
