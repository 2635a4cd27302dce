//! One engine takes the place of another, on the same host, without a flow or a connection lost.
//!
//! ```text
//! before                                                successor
//!   at work                                               told its first state
//!      │ ◄─────────── hand_over (control socket) ─────────────│
//!   lends the door ────── link, listening sockets ──────►  at work
//!      │ ◄─────────────────── in force ───────────────────────│
//!   leaves: takes nothing new, asks peers for               │
//!   other carriers, carries what it has                     │
//!      │ ◄── what waits for bandwidth, datagrams ──►          │
//!   nothing is left ──────── totals ─────────────────────►  counts them on
//! ```
//! 1. Both have the very same listening sockets, so whatever waits at one is taken by one of them, whoever dies when.
//! 2. The link is the successor's word that it lives: when it closes, the one before is at work again, until the next one.
//! 3. A successor may have a successor before the first one's end: each talks to its neighbours, and ends after the one
//!    before it.

mod engine;
mod estate;
mod link;
mod neighbours;
mod word;

pub use engine::Succession;
pub use estate::{Estate, Lent, Listening};
pub use link::Link;
pub use neighbours::{Neighbour, Neighbours};

/// What both sides of a hand-over have to speak. Another number is another language, and then nothing is handed over.
pub const VERSION: u32 = 1;
