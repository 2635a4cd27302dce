//! The keeper's desk: where other threads leave work for it. Bounded; leaving never waits.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::Duration,
};

use control::Secrets;

use crate::{keeper::Applied, limits::HANDSHAKES_WAITING_MAX, message::INITIATION_BYTES, state::State};

pub enum Command {
    Apply {
        secrets: Secrets,
        state: State,
        answer: SyncSender<Applied>,
    },
    /// Carry nothing any more, forget all keys.
    Stop {
        answer: SyncSender<()>,
    },
}

/// A handshake message as it came in; none is longer.
pub struct Letter {
    pub from: SocketAddr,
    pub length: usize,
    pub bytes: [u8; INITIATION_BYTES],
}

/// What waits, in the order in which the keeper takes it.
#[derive(Default)]
pub struct Pile {
    pub commands: Vec<Command>,
    /// Tunnels that have a packet and no session, or an old one.
    pub wanted: Vec<u64>,
    /// Tunnels whose peer has confirmed the session that this side answered.
    pub confirmed: Vec<u64>,
    pub letters: VecDeque<Letter>,
}

#[derive(Default)]
pub struct Desk {
    pile: Mutex<Pile>,
    wake: Condvar,
}

impl Desk {
    pub fn command(&self, command: Command) {
        self.pile().commands.push(command);
        self.wake.notify_one();
    }

    /// Callers ask once per handshake ([`crate::tunnel::Activity::want_handshake`]).
    pub fn want_handshake(&self, tunnel: u64) {
        self.pile().wanted.push(tunnel);
        self.wake.notify_one();
    }

    pub fn confirmed(&self, tunnel: u64) {
        self.pile().confirmed.push(tunnel);
        self.wake.notify_one();
    }

    /// False: too many wait.
    pub fn letter(&self, from: SocketAddr, message: &[u8]) -> bool {
        let mut bytes = [0; INITIATION_BYTES];
        let Some(to) = bytes.get_mut(..message.len()) else { return false };
        to.copy_from_slice(message);
        let mut pile = self.pile();
        if pile.letters.len() >= HANDSHAKES_WAITING_MAX {
            return false;
        }
        pile.letters.push_back(Letter { from, length: message.len(), bytes });
        self.wake.notify_one();
        true
    }

    /// Waits for work, at most `time`. Takes everything but leaves letters beyond `letters_max`; says how many were there.
    pub fn take(&self, time: Duration, letters_max: usize) -> (Pile, usize) {
        let pile = self.pile();
        let (mut pile, _) = self
            .wake
            .wait_timeout_while(pile, time, |pile| {
                pile.commands.is_empty()
                    && pile.wanted.is_empty()
                    && pile.confirmed.is_empty()
                    && pile.letters.is_empty()
            })
            .unwrap_or_else(PoisonError::into_inner);
        let waiting = pile.letters.len();
        let later = pile.letters.split_off(waiting.min(letters_max));
        let taken = std::mem::take(&mut *pile);
        pile.letters = later;
        (taken, waiting)
    }

    fn pile(&self) -> MutexGuard<'_, Pile> {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
