//! What both engines share: the server side of the control socket (`engines/PROTOCOL.md`), JSON log lines on stderr,
//! command line, signals and exit codes. An engine implements [`Engine`] and hands itself to [`Server::run`]; it never
//! sees a socket, a client or a line.
//!
//! ```no_run
//! # use control::*;
//! # struct Pegasus;
//! # impl Engine for Pegasus {
//! #   const NAME: &'static str = "pegasus"; const VERSION: &'static str = "0.1.0";
//! #   type State = serde_json::Value; type Change = serde_json::Value; type Status = serde_json::Value; type Stats = serde_json::Value;
//! #   fn status(&self) -> Self::Status { serde_json::json!({}) }
//! #   fn apply(&mut self, _: u64, _: &Secrets, _: Self::State) -> Result<Vec<ObjectError>, ObjectError> { Ok(vec![]) }
//! #   fn stats(&mut self) -> Self::Stats { serde_json::json!({}) }
//! #   fn drain(&mut self, _: std::time::Duration) {} fn drained(&mut self) -> bool { true }
//! # }
//! fn main() -> std::process::ExitCode {
//!     control::main("pegasus", "0.1.0", |options, events| {
//!         // start workers here; keep `events` to tell the agent what happens
//!         let _ = (options.workers, events);
//!         Ok(Pegasus)
//!     })
//! }
//! ```
#![deny(clippy::all)]

mod client;
mod engine;
mod events;
mod hand_over;
pub mod limits;
mod line;
pub mod log;
mod message;
mod rate;
mod rss;
mod secret;
mod server;
mod socket;
mod startup;

pub use engine::{Engine, ObjectError};
pub use events::Events;
pub use hand_over::{NotHandedOver, ask_for_hand_over};
pub use line::{LineBuffer, LineTooLong};
pub use message::{FlowsQuery, FlowsSort, Misunderstood, Request, parse};
pub use rate::LineRate;
pub use rss::rss_bytes;
pub use secret::{PrivateKey, Secrets};
pub use server::Server;
pub use startup::{Exit, Failure, Options, main};
