//! Pegasus, the TCP data plane: clients are intercepted at the source peer, carried encrypted over warm connections,
//! and dialled out at the target peer. See `PROTOCOL.md` for what it is told and what it tells.
//!
//! The way of a flow, file by file: `outbound` (accept, find the service, take a carrier) → `carriage` (read, seal,
//! write) → `inbound` (who may, dial) → `carriage` → `ending`.
#![deny(clippy::all)]
#![warn(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod aead;
mod arena;
mod attempts;
mod carriage;
mod carrier;
mod config;
mod connector;
mod dial;
mod ending;
mod endpoint;
mod engine;
mod flow;
mod flow_list;
pub mod frame;
mod gate;
pub mod handshake;
mod hops;
mod inbound;
pub mod kcp;
mod kept;
mod keyring;
mod leaving;
mod limiter;
pub mod limits;
mod link;
mod listener;
mod outbound;
mod peer;
mod pool;
mod ports;
mod prefix;
pub mod reason;
mod refusals;
mod return_path;
mod sealing;
mod service;
mod shards;
mod slots;
pub mod state;
mod succession;
mod sweep;
mod table;
mod throttling;
pub mod told;
mod worker;

pub use engine::Pegasus;
