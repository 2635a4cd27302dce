use std::process::ExitCode;

use tempest::{Tempest, Timing};

fn main() -> ExitCode {
    control::main("tempest", env!("CARGO_PKG_VERSION"), |options, events| {
        Tempest::start(options.workers, Timing::WIREGUARD, events)
    })
}
