//! The IP data plane: everything that is not TCP, in tunnels that speak the WireGuard protocol, one TUN device per peer
//! and one UDP port for all. Driven over the control socket (`engines/PROTOCOL.md`).
//!
//! ```text
//!               outbound: split, seal
//!   TUN device ────────────────────────▶ outbox ──▶ UDP       worker threads: bytes
//!              ◀──────────────────────── inbox ◀───
//!               inbound: open, coalesce    │ handshake messages
//!                                          ▼
//!   agent ── control socket ── engine ── keeper               one thread: state, handshakes, timers, devices
//! ```
#![deny(clippy::all)]

mod clock;
mod cookie;
mod desk;
mod devices;
mod engine;
mod inbound;
mod inbox;
mod keeper;
pub mod limits;
mod listener;
mod noise;
mod outbound;
mod outbox;
mod peer;
mod receive_keys;
mod refusals;
mod session;
mod shared;
mod state;
mod table;
mod timing;
mod tun;
mod tunnel;
mod udp;
mod worker;

// Pure functions over bytes, open to fuzzers.
pub mod checksum;
pub mod coalesce;
pub mod message;
pub mod packet;
pub mod replay;
pub mod split;
pub mod vnet;

pub use engine::Tempest;
pub use timing::Timing;
