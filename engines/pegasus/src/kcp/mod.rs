//! Carriers over UDP, for wires that lose, delay and reorder: what a TCP connection is to a carrier, a conversation is
//! here. In the manner of KCP (selective repeat, every datagram acknowledged by itself, no exponential patience), with a
//! wire format of our own in which everything is authenticated; see `docs/decisions/0013-kcp.md`.
//!
//! The way of a byte: `conversation` (write) → `sender` → `packet` → `envelope` (seal) → `udp` → … → `udp` → `envelope`
//! (open) → `packet` → `receiver` → `conversation` (read). How a conversation begins: `greeting`, `caller`, `door`.

mod arq;
mod caller;
mod congestion;
mod conversation;
mod desk;
mod door;
mod envelope;
pub mod greeting;
pub mod packet;
mod ranges;
mod receiver;
mod relay;
mod sender;
mod udp;

pub(crate) use conversation::Conversation;
pub(crate) use desk::Desk;
pub(crate) use greeting::{Cookies, DoorKeys};
pub(crate) use relay::pair as relay_pair;
pub(crate) use udp::Udp;
