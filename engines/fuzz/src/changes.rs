//! The law of changes, against a second telling of it: a state is lists here, as the agent keeps them, and a change does with
//! them what PROTOCOL.md says. The engine's own is in maps and ranks, and must come to the same.

use control::Secrets;
use pegasus::{
    state::{Entries, RouteState, RoutesChange, State, StateChange},
    told::{Told, first_address},
};

/// Enough to tell tables apart; each pair of them is looked up.
const ADDRESSES_MAX: usize = 10;

/// A state, as the lists that were told and as an engine has it in force.
pub struct Follower {
    state: State,
    told: Told,
    secrets: Secrets,
}

impl Follower {
    pub fn new(state: State) -> Self {
        let secrets = Secrets::new([1; 32], None);
        Self { told: Told::whole(&state, &secrets), state, secrets }
    }

    /// Takes the change, or refuses it. Panics where the engine does something else than is written.
    pub fn take(&mut self, change: &StateChange) {
        let after = after(&self.state, change);
        let mut addresses = Vec::new();
        routes_of(after.as_ref().unwrap_or(&self.state), change, |network| {
            addresses.extend(network.as_deref().and_then(first_address));
        });
        addresses.sort();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        let taken = self.told.change(change, &self.secrets);
        match (after, &taken) {
            (Some(after), Ok(())) => self.state = after,
            (None, Err(why)) => assert!(!why.is_empty()),
            (after, _) => panic!("it fits: {}; {taken:?}", after.is_some()),
        }
        // Also after a refusal: what was must still be.
        let whole = Told::whole(&self.state, &self.secrets);
        assert_eq!(self.told.seen(&addresses), whole.seen(&addresses));
    }
}

/// None: the change does not fit.
fn after(state: &State, change: &StateChange) -> Option<State> {
    let mut after = state.clone();
    entries(&mut after.peers, &change.peers, |peer| &peer.peer_id)?;
    entries(&mut after.listeners, &change.listeners, |listener| &listener.name)?;
    entries(&mut after.outbound, &change.outbound, |service| &service.service_id)?;
    entries(&mut after.inbound, &change.inbound, |service| &service.service_id)?;
    for routes in &change.routes {
        let is_told = change.listeners.set.iter().any(|listener| listener.name == routes.listener);
        splice(&mut after, routes).filter(|()| !is_told)?;
    }
    Some(after)
}

fn entries<T: Clone>(list: &mut Vec<T>, entries: &Entries<T>, name: impl Fn(&T) -> &String) -> Option<()> {
    for gone in &entries.remove {
        let before = list.len();
        list.retain(|entry| name(entry) != gone);
        (list.len() < before).then_some(())?;
    }
    for new in &entries.set {
        list.retain(|entry| name(entry) != name(new));
        list.push(new.clone());
    }
    Some(())
}

fn splice(state: &mut State, RoutesChange { listener, splices }: &RoutesChange) -> Option<()> {
    // Of two with one name the last one counts, here as everywhere.
    let listener = state.listeners.iter_mut().rfind(|other| other.name == *listener)?;
    let table = listener.table.as_mut().filter(|_| listener.service_id.is_none())?;
    for splice in splices {
        let end = splice.at.checked_add(splice.remove).filter(|end| *end <= table.routes.len())?;
        table.routes.splice(splice.at..end, splice.insert.iter().cloned());
    }
    Some(())
}

/// Every network that a state or a change of it names.
fn routes_of(state: &State, change: &StateChange, mut each: impl FnMut(&Option<String>)) {
    let mut both = |route: &RouteState| {
        each(&route.source);
        each(&route.dest);
    };
    let splices = change.routes.iter().flat_map(|routes| &routes.splices);
    splices.flat_map(|splice| &splice.insert).for_each(&mut both);
    let tables = state.listeners.iter().filter_map(|listener| listener.table.as_ref());
    tables.flat_map(|table| &table.routes).for_each(&mut both);
    for cover in state.inbound.iter().flat_map(|service| &service.routes) {
        each(&cover.source);
        each(&cover.dest);
    }
}
