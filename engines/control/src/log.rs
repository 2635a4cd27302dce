//! Log lines: one JSON object per line on stderr, `{"time":ISO,"level":…,"module":…,"message":…,…}`.
//!
//! Levels follow consequence: `trace` per packet, `debug` a branch taken, `info` a life event, `warn` somebody should
//! look, `error` the engine cannot go on.

use std::{
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::SystemTime,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    const ALL: [(Level, &'static str); 5] = [
        (Level::Trace, "trace"),
        (Level::Debug, "debug"),
        (Level::Info, "info"),
        (Level::Warn, "warn"),
        (Level::Error, "error"),
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(level, _)| *level)
    }

    fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static MODULE: OnceLock<&'static str> = OnceLock::new();

/// Sets the module and the lowest level said. The first module stays.
pub fn init(module: &'static str, level: Level) {
    let _ = MODULE.set(module);
    LEVEL.store(level as u8, Ordering::Relaxed);
}

pub fn enabled(level: Level) -> bool {
    level as u8 >= LEVEL.load(Ordering::Relaxed)
}

/// A field of a line: anything that is JSON.
pub trait Field {
    fn json(&self) -> serde_json::Value;
}

impl<T: serde::Serialize> Field for T {
    fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or(serde_json::Value::Null)
    }
}

pub type Fields<'a> = &'a [(&'a str, &'a dyn Field)];

pub fn write(level: Level, message: &str, fields: Fields) {
    if enabled(level) {
        let mut line = render(SystemTime::now(), level, MODULE.get().unwrap_or(&"engine"), message, fields);
        line.push('\n');
        // One write per line keeps lines of several threads whole. A closed stderr is nobody's problem here.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

pub fn debug(message: &str, fields: Fields) {
    write(Level::Debug, message, fields)
}

pub fn info(message: &str, fields: Fields) {
    write(Level::Info, message, fields)
}

pub fn warn(message: &str, fields: Fields) {
    write(Level::Warn, message, fields)
}

pub fn error(message: &str, fields: Fields) {
    write(Level::Error, message, fields)
}

fn render(time: SystemTime, level: Level, module: &str, message: &str, fields: Fields) -> String {
    let mut line = format!(
        r#"{{"time":"{}","level":"{}","module":{},"message":{}"#,
        humantime::format_rfc3339_millis(time),
        level.name(),
        serde_json::Value::from(module),
        serde_json::Value::from(message)
    );
    for (name, value) in fields {
        line.push_str(&format!(",{}:{}", serde_json::Value::from(*name), value.json()));
    }
    line.push('}');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_it_says() {
        let line = render(
            SystemTime::UNIX_EPOCH,
            Level::Warn,
            "pegasus",
            "a \"quoted\"\nword",
            &[("peer", &"x"), ("count", &3)],
        );
        assert_eq!(
            line,
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"warn","module":"pegasus","message":"a \"quoted\"\nword","peer":"x","count":3}"#
        );
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }

    #[test]
    fn levels_are_ordered_and_named() {
        assert!(Level::parse("debug") < Level::parse("error"));
        assert_eq!(Level::parse("loud"), None);
    }
}
