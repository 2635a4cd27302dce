//! From the command line to the control loop, and from a failure to an exit code.

use std::{path::PathBuf, process::ExitCode};

use lexopt::{Arg, Parser, ValueExt};

use crate::{
    Engine, Events, Server,
    log::{self, Level},
};

/// Why a process ended; the numbers are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Asked = 0,
    Bug = 1,
    WrongUsage = 2,
    HostRefuses = 3,
}

/// An end with its reason: what happened; what to do.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub control: PathBuf,
    /// Threads that move bytes: `--workers`, or one per core that this process may use.
    pub workers: usize,
    pub log_level: Level,
    /// Where the engine at work listens whose place this one takes: `--succeeds`.
    pub succeeds: Option<PathBuf>,
}

enum Asked {
    Run(Options),
    Print(String),
}

/// The whole life of an engine process. `start` makes the engine; its threads inherit blocked nothing and an ignored SIGPIPE.
pub fn main<E: Engine>(
    name: &'static str,
    version: &'static str,
    start: impl FnOnce(&Options, Events) -> Result<E, Failure>,
) -> ExitCode {
    log::init(name, Level::Info);
    let ended = parse(name, version, Parser::from_env()).and_then(|asked| match asked {
        Asked::Print(text) => {
            println!("{text}");
            Ok(())
        }
        Asked::Run(options) => {
            log::init(name, options.log_level);
            exit_on_panic();
            let server = Server::bind(&options.control)?;
            let engine = start(&options, server.events())?;
            server.run(engine)
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log::error(&failure.message, &[("exit", &(failure.exit as u8))]);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// A panic anywhere is a bug of the whole engine: half of it must not go on. The agent starts it again.
fn exit_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        log::error("bug: panic", &[("detail", &panic.to_string()), ("exit", &1)]);
        std::process::exit(Exit::Bug as i32);
    }));
}

fn parse(name: &str, version: &str, mut parser: Parser) -> Result<Asked, Failure> {
    let usage = format!(
        "usage: {name} --control PATH [--succeeds PATH] [--workers N] [--log-level trace|debug|info|warn|error]"
    );
    let wrong = |what: String| Failure::new(Exit::WrongUsage, format!("{what}; {usage}"));
    let (mut control, mut succeeds, mut workers, mut log_level) = (None, None, None, Level::Info);
    while let Some(arg) = parser.next().map_err(|error| wrong(error.to_string()))? {
        let given = text(&arg);
        let mut value = || parser.value().map_err(|error| wrong(error.to_string()));
        match given.as_str() {
            "--control" => control = Some(PathBuf::from(value()?)),
            "--succeeds" => succeeds = Some(PathBuf::from(value()?)),
            "--workers" => {
                let count: usize = value()?.parse().map_err(|error| wrong(format!("--workers: {error}")))?;
                if !(1..=256).contains(&count) {
                    return Err(wrong("--workers is a number from 1 to 256".into()));
                }
                workers = Some(count);
            }
            "--log-level" => {
                let text = value()?.string().map_err(|error| wrong(format!("--log-level: {error}")))?;
                log_level =
                    Level::parse(&text).ok_or_else(|| wrong(format!("--log-level: there is no level {text:?}")))?;
            }
            "--version" | "-V" => return Ok(Asked::Print(format!("{name} {version}"))),
            "--help" | "-h" => return Ok(Asked::Print(usage)),
            other => return Err(wrong(format!("unexpected {other:?}"))),
        }
    }
    let control = control.ok_or_else(|| wrong("--control is missing".into()))?;
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Asked::Run(Options { control, workers: workers.unwrap_or_else(cores), log_level, succeeds }))
}

fn text(arg: &Arg) -> String {
    match arg {
        Arg::Long(name) => format!("--{name}"),
        Arg::Short(name) => format!("-{name}"),
        Arg::Value(value) => value.to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<Options, Exit> {
        match parse("pegasus", "0.1.0", Parser::from_args(args.iter().map(|&arg| arg.to_owned()))) {
            Ok(Asked::Run(options)) => Ok(options),
            Ok(Asked::Print(_)) => Err(Exit::Asked),
            Err(failure) => Err(failure.exit),
        }
    }

    #[test]
    fn arguments_are_read_or_refused() {
        let options = run(&["--control", "/run/x.sock", "--workers", "3", "--log-level", "debug"]).unwrap();
        let expected = Options { control: "/run/x.sock".into(), workers: 3, log_level: Level::Debug, succeeds: None };
        assert_eq!(options, expected);
        let successor = run(&["--control", "/run/y.sock", "--succeeds", "/run/x.sock"]).unwrap();
        assert_eq!(successor.succeeds, Some("/run/x.sock".into()));
        assert!(run(&["--control=/run/x.sock"]).unwrap().workers >= 1);
        for wrong in [
            &["--workers", "3"][..],
            &["--control"],
            &["--control", "x", "--workers", "0"],
            &["--control", "x", "more"],
            &["-x"],
        ] {
            assert_eq!(run(wrong), Err(Exit::WrongUsage), "{wrong:?}");
        }
        assert_eq!(run(&["--version"]), Err(Exit::Asked));
    }
}
