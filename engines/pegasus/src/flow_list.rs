//! The open flows of a service, as somebody asks to see them: each worker picks its own, the control thread joins them.

use std::{cmp::Reverse, net::SocketAddr, sync::Arc, time::Instant};

use control::{FlowsQuery, FlowsSort};
use serde::Serialize;

use crate::{
    flow::Flow,
    service::{Service, Side},
    worker::Worker,
};

#[derive(Debug, Serialize)]
pub struct FlowRow {
    side: Side,
    peer_id: Arc<str>,
    client: SocketAddr,
    destination: SocketAddr,
    dialled_from: Option<SocketAddr>,
    state: State,
    bytes_in: u64,
    bytes_out: u64,
    age_ms: u64,
    connect_ms: Option<u32>,
    first_byte_ms: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// For a carrier to the target.
    Waiting,
    Dialling,
    Open,
    /// One direction has ended, or both and the last bytes are on their way.
    Ending,
}

/// The first `limit` rows in the order asked for, and how many there are altogether.
#[derive(Debug, Default, Serialize)]
pub struct FlowList {
    pub total: usize,
    pub flows: Vec<FlowRow>,
}

impl FlowList {
    pub fn join(&mut self, other: FlowList, query: &FlowsQuery) {
        self.total += other.total;
        self.flows.extend(other.flows);
        self.flows.sort_by_key(|row| row.rank(query.sort));
        self.flows.truncate(query.limit);
    }
}

impl FlowRow {
    fn of(flow: &Flow, now: Instant) -> Self {
        let (bytes_in, bytes_out) = flow.bytes();
        Self {
            side: flow.service.side,
            peer_id: flow.peer.id.clone(),
            client: flow.client,
            destination: flow.destination,
            dialled_from: flow.dialled_from,
            state: if flow.dialling {
                State::Dialling
            } else if flow.up_ended || flow.down_ended {
                State::Ending
            } else if flow.carrier.is_none() {
                State::Waiting
            } else {
                State::Open
            },
            bytes_in,
            bytes_out,
            age_ms: now.duration_since(flow.started).as_millis() as u64,
            connect_ms: flow.connect_ms,
            first_byte_ms: flow.first_byte_ms(),
        }
    }

    fn rank(&self, sort: FlowsSort) -> Reverse<u64> {
        Reverse(match sort {
            FlowsSort::Bytes => self.bytes_in + self.bytes_out,
            FlowsSort::Age => self.age_ms,
        })
    }
}

impl Worker {
    pub fn list_flows(&self, services: &[Arc<Service>], query: &FlowsQuery) -> FlowList {
        let is_asked_for = |flow: &&Flow| services.iter().any(|service| Arc::ptr_eq(service, &flow.service));
        let flows = self.flows.iter().map(|(_, flow)| flow).filter(is_asked_for);
        let mut rows: Vec<FlowRow> = flows.map(|flow| FlowRow::of(flow, self.now)).collect();
        let total = rows.len();
        if query.limit < total {
            rows.select_nth_unstable_by_key(query.limit, |row| row.rank(query.sort));
            rows.truncate(query.limit);
        }
        FlowList { total, flows: rows }
    }
}
