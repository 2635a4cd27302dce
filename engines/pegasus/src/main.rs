//! `pegasus --control PATH [--workers N] [--log-level L]`: see `engines/PROTOCOL.md`.

use std::process::ExitCode;

use pegasus::Pegasus;

fn main() -> ExitCode {
    control::main(<Pegasus as control::Engine>::NAME, <Pegasus as control::Engine>::VERSION, Pegasus::start)
}
