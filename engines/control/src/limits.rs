//! Bounds of the control socket. The first four are the protocol's own.

use std::time::Duration;

/// Longest accepted line, bytes. 10,000 routes are about 2 MB of JSON.
pub const LINE_BYTES_MAX: usize = 64 << 20;
/// Longest name of a state, bytes; one with a longer name is changed by whole states only.
pub const STATE_NAME_BYTES_MAX: usize = 128;
/// A client for which more than this waits, bytes, does not read and is dropped.
pub const CLIENT_BACKLOG_BYTES_MAX: usize = 8 << 20;
/// Events kept while nobody takes them.
pub const EVENTS_KEPT_MAX: usize = 4096;
/// Clients at a time: the agent, its successor during an upgrade, and somebody who looks.
pub const CLIENTS_MAX: usize = 32;
/// How much is read from one client before the others have their turn, bytes.
pub const READ_BYTES: usize = 256 << 10;
/// How often the end of a drain is looked for.
pub const DRAIN_POLL: Duration = Duration::from_millis(10);
/// How often the end of an engine that has a successor is looked for: it may be days away.
pub const SUCCEEDED_POLL: Duration = Duration::from_millis(200);
/// How long a successor waits for what it asks the engine before it for. It is there within milliseconds.
pub const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);
/// After a drain the last events may take this long to reach the clients.
pub const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);
/// Events are written at most this often, all that have come since: a wake-up per flow would cost a tenth of the engine, and as much
/// of the agent that reads them.
pub const EVENTS_EVERY: Duration = Duration::from_millis(20);
/// Flows told in one answer: some 300 bytes each.
pub const FLOWS_MAX: usize = 10_000;
