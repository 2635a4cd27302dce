//! Moves the frames of one direction: a thread that sleeps until one comes or one is due.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde::Serialize;

use crate::{
    conditions::Conditions,
    tap::Tap,
    way::{Fate, Way},
};

const FRAME_BYTES_MAX: usize = 9216;
/// Frames read before those that are due have their turn.
const FRAMES_PER_TURN: usize = 64;
/// Frames that are due within this go together: a wake-up for each would be most of the work.
const TOGETHER: Duration = Duration::from_micros(20);
/// How soon new conditions are seen by a pump that has nothing to do.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a direction shares with whoever changes it and asks about it.
#[derive(Default)]
pub struct Direction {
    conditions: Mutex<Conditions>,
    changes: AtomicU64,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    overflowed: AtomicU64,
    overtook: AtomicU64,
    refused: AtomicU64,
}

/// Frames since the start.
#[derive(Debug, Serialize)]
pub struct Counted {
    /// That came in, and their bytes.
    frames: u64,
    bytes: u64,
    /// By chance.
    lost: u64,
    /// For want of room.
    overflowed: u64,
    overtook: u64,
    /// That the other host did not take.
    refused: u64,
}

impl Direction {
    pub fn set(&self, conditions: Conditions) {
        *self.conditions.lock().unwrap_or_else(PoisonError::into_inner) = conditions;
        self.changes.fetch_add(1, Relaxed);
    }

    pub fn counted(&self) -> Counted {
        let Counters { frames, bytes, lost, overflowed, overtook, refused } = &self.counters;
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        Counted {
            frames: load(frames),
            bytes: load(bytes),
            lost: load(lost),
            overflowed: load(overflowed),
            overtook: load(overtook),
            refused: load(refused),
        }
    }
}

/// Ahead of the programs whose frames are carried: a wire has no neighbours that keep it busy. Timers to the microsecond.
pub fn hurry() {
    let _ = rustix::process::setpriority_process(None, -15);
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1_000));
}

pub struct Pump {
    from: Arc<Tap>,
    to: Arc<Tap>,
    direction: Arc<Direction>,
    way: Way,
    seen_changes: u64,
}

impl Pump {
    pub fn new(from: Arc<Tap>, to: Arc<Tap>, direction: Arc<Direction>, seed: u64) -> Self {
        Self { from, to, direction, way: Way::new(seed), seen_changes: 0 }
    }

    pub fn run(mut self) {
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        loop {
            self.sleep();
            self.follow_changes();
            for _ in 0..FRAMES_PER_TURN {
                match self.from.read(&mut buffer) {
                    Ok(Some(length)) => self.take(&buffer[..length]),
                    Ok(None) => break,
                    Err(error) => {
                        eprintln!("error: a device is gone: {error}");
                        std::process::exit(3);
                    }
                }
            }
            let (to, counters) = (&self.to, &self.direction.counters);
            self.way.arrive(Instant::now() + TOGETHER, |frame| hand_over(to, counters, frame));
        }
    }

    fn sleep(&self) {
        let now = Instant::now();
        let due = self.way.next_at().map_or(LOOK_EVERY, |at| at.saturating_duration_since(now).min(LOOK_EVERY));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(due.subsec_nanos()) };
        match poll(&mut [PollFd::new(&*self.from, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => (),
            Err(error) => {
                eprintln!("error: poll: {error}");
                std::process::exit(3);
            }
        }
    }

    fn follow_changes(&mut self) {
        let changes = self.direction.changes.load(Relaxed);
        if changes != self.seen_changes {
            self.seen_changes = changes;
            self.way.conditions = *self.direction.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take(&mut self, frame: &[u8]) {
        let counters = &self.direction.counters;
        counters.frames.fetch_add(1, Relaxed);
        counters.bytes.fetch_add(frame.len() as u64, Relaxed);
        let is_straight = self.way.conditions.is_straight() && self.way.is_empty();
        match self.way.decide(frame.len(), Instant::now()) {
            Fate::Lost => drop(counters.lost.fetch_add(1, Relaxed)),
            Fate::Overflowed => drop(counters.overflowed.fetch_add(1, Relaxed)),
            Fate::Arrives(at, overtakes) => {
                if overtakes {
                    counters.overtook.fetch_add(1, Relaxed);
                }
                if is_straight {
                    hand_over(&self.to, counters, frame);
                } else {
                    self.way.keep(at, frame);
                }
            }
        }
    }
}

fn hand_over(to: &Tap, counters: &Counters, frame: &[u8]) {
    if !to.write(frame) {
        counters.refused.fetch_add(1, Relaxed);
    }
}
