//! `badwire`: joins two network namespaces by a wire that loses, delays, reorders and slows down what goes over it, each
//! way by itself, changeable while it runs. For kernels without netem, and for tests that cut a wire in the middle.
//!
//! ```text
//! host a: TAP → (thread) way a→b: what happens to this frame, and when → TAP: host b, and the same back
//! ```
//! The order of a frame's way: `tap` (read) → `pump` → `way` (decide, wait) → `tap` (write). `control` changes `conditions`.

mod conditions;
mod control;
mod dice;
mod pump;
mod tap;
mod way;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, sync::Arc, thread};

use pump::{Direction, Pump};

const USAGE: &str = "usage: badwire --control SOCKET --seed N --a NETNS DEVICE --b NETNS DEVICE";

struct Options {
    control: PathBuf,
    seed: u64,
    ends: [(PathBuf, String); 2],
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut control, mut seed, mut a, mut b) = (None, None, None, None);
    let mut parser = lexopt::Parser::from_env();
    let pair = |parser: &mut lexopt::Parser| -> Result<(PathBuf, String), lexopt::Error> {
        let netns: OsString = parser.value()?;
        Ok((netns.into(), parser.value()?.string()?))
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("control") => control = Some(parser.value()?.into()),
            Long("seed") => seed = Some(parser.value()?.parse()?),
            Long("a") => a = Some(pair(&mut parser)?),
            Long("b") => b = Some(pair(&mut parser)?),
            other => return Err(other.unexpected()),
        }
    }
    match (control, seed, a, b) {
        (Some(control), Some(seed), Some(a), Some(b)) => Ok(Options { control, seed, ends: [a, b] }),
        _ => Err("something is missing".into()),
    }
}

fn run(options: &Options) -> std::io::Result<std::convert::Infallible> {
    let [a, b] = [0, 1].map(|end| {
        let (netns, device) = &options.ends[end];
        tap::make(netns, device).map(Arc::new)
    });
    let (a, b) = (a?, b?);
    let directions = [Arc::new(Direction::default()), Arc::new(Direction::default())];
    pump::hurry();
    for (n, (from, to)) in [(&a, &b), (&b, &a)].into_iter().enumerate() {
        // The two ways throw dice of their own: traffic one way does not change what happens the other way.
        let pump = Pump::new(
            from.clone(),
            to.clone(),
            directions[n].clone(),
            options.seed.wrapping_mul(2).wrapping_add(n as u64),
        );
        thread::Builder::new().name(["a-to-b", "b-to-a"][n].into()).spawn(move || pump.run())?;
    }
    control::serve(&options.control, &directions)
}
