//! Both sides of a hand-over, as the control thread does them.

use std::{
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Sender, channel},
    },
    thread,
    time::Instant,
};

use control::{NotHandedOver, ObjectError, ask_for_hand_over};

use super::{Estate, Link, Neighbour, VERSION};
use crate::{engine::Pegasus, kcp::relay_pair, leaving::Successor, limits::NEIGHBOUR_TIMEOUT, worker::Command};

const OUT_OF_FILES: &str = "it is out of file descriptors";

/// Whom this engine succeeds, and who succeeds it.
pub struct Succession {
    /// Where the engine before listens, until its place is taken.
    before: Option<PathBuf>,
    /// Counts the successors: most have one, some die at once.
    successors: Successor,
    leaving: Arc<AtomicBool>,
    /// The other ends of relays that nobody passes anything on by: where this engine has stood aside.
    silent: Vec<OwnedFd>,
    pub draining: bool,
}

impl Succession {
    pub fn new(before: Option<PathBuf>) -> Self {
        Self { before, successors: 0, leaving: Arc::default(), silent: Vec::new(), draining: false }
    }

    /// A successor is at work.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }
}

impl Pegasus {
    /// Before the first state: takes the sockets of the engine before this one. None: there is none.
    pub fn take_over(&mut self) -> Result<Option<Link>, ObjectError> {
        let Some(path) = &self.succession.before else { return Ok(None) };
        let failed = |why: String| {
            let message = format!("the engine at {} does not hand over: {why}", path.display());
            ObjectError::new("engine", "HandOverFailed", message)
        };
        let fd = match ask_for_hand_over(path, VERSION) {
            Ok(fd) => fd,
            Err(NotHandedOver::NobodyThere) => {
                self.succession.before = None;
                return Ok(None);
            }
            Err(NotHandedOver::Refused(why)) => return Err(failed(why)),
        };
        let link = Link::adopt(fd).map_err(|error| failed(error.to_string()))?;
        self.ports.inherited = Estate::take(&link, self.mailboxes.len()).map_err(failed)?;
        self.succession.before = None;
        Ok(Some(link))
    }

    /// The first state is: the one before may take nothing new any more.
    pub fn is_in_force(&mut self, link: Link) {
        let link = Arc::new(link);
        if link.say(&super::word::Word::InForce, &[]).is_err() {
            return;
        }
        control::log::info("took the place of the engine before", &[]);
        let shared = self.shared.clone();
        shared.neighbours.set_link(Neighbour::Before, &link);
        spawn("before", move || {
            shared.neighbours.talk(Neighbour::Before, &link, || ());
            control::log::info("the engine before has ended", &[]);
        });
    }

    /// The other side of [`Pegasus::take_over`].
    pub fn lend(&mut self, version: u32) -> Result<OwnedFd, &'static str> {
        if version != VERSION {
            return Err("it hands over in another way than this successor takes over");
        }
        if self.succession.draining {
            return Err("it is ending");
        }
        if self.shared.neighbours.has(Neighbour::After) {
            return Err("another engine is taking its place");
        }
        let (link, theirs) = Link::pair().map_err(|_| OUT_OF_FILES)?;
        let link = Arc::new(link);
        let (done, all_done) = channel();
        let (successor, relays) = self.lend_door(&done)?;
        // Nobody reads the door any more when the successor begins to: it knows its own conversations, and we ours.
        let deadline = Instant::now() + NEIGHBOUR_TIMEOUT;
        for _ in &self.mailboxes {
            let left = deadline.saturating_duration_since(Instant::now());
            all_done.recv_timeout(left).map_err(|_| "it is too busy")?;
        }
        let lent = self.ports.lend(relays);
        self.shared.neighbours.set_link(Neighbour::After, &link);
        let (shared, mailboxes, leaving) =
            (self.shared.clone(), self.mailboxes.clone(), self.succession.leaving.clone());
        spawn("after", move || {
            if lent.hand_to(&link).is_ok() {
                shared.neighbours.talk(Neighbour::After, &link, || {
                    control::log::info("a successor is at work: nothing new is taken", &[]);
                    leaving.store(true, Relaxed);
                    mailboxes.iter().for_each(|mailbox| mailbox.post(Command::Leave { successor }));
                });
            }
            control::log::warn("the successor is gone: at work again", &[]);
            leaving.store(false, Relaxed);
            mailboxes.iter().for_each(|mailbox| mailbox.post(Command::Stay { successor }));
        });
        Ok(theirs)
    }

    /// Has all workers stop to read the door, for one more successor. Answers the other ends of the relays that they read instead.
    fn lend_door(&mut self, done: &Sender<()>) -> Result<(Successor, Vec<OwnedFd>), &'static str> {
        self.succession.successors += 1;
        let successor = self.succession.successors;
        let mut relays = Vec::new();
        for mailbox in &self.mailboxes {
            let relay = if self.ports.has_door() {
                let (theirs, ours) = relay_pair().map_err(|_| OUT_OF_FILES)?;
                relays.push(theirs);
                Some(ours)
            } else {
                None
            };
            mailbox.post(Command::Lend { successor, relay, done: done.clone() });
        }
        Ok((successor, relays))
    }

    /// The engine that took this one's place had a successor itself and is dead: to be left for that one, whom nothing links
    /// to here. Flows over KCP end, since their datagrams come to the other.
    pub fn step_aside(&mut self) -> Result<(), &'static str> {
        if self.succession.is_leaving() || self.shared.neighbours.has(Neighbour::After) {
            return Err("another engine has taken its place, and lives");
        }
        let (done, _) = channel();
        let (successor, relays) = self.lend_door(&done)?;
        self.succession.silent.extend(relays);
        self.mailboxes.iter().for_each(|mailbox| mailbox.post(Command::Leave { successor }));
        self.succession.leaving.store(true, Relaxed);
        control::log::info("another engine is at work: nothing new is taken", &[]);
        Ok(())
    }

    /// Nothing is left here. With a successor: and the one before, whose datagrams come through here, has ended as well.
    pub fn may_go(&self) -> bool {
        if !self.succession.draining && self.shared.neighbours.has(Neighbour::Before) {
            return false;
        }
        self.shared.neighbours.say_totals();
        true
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name(format!("neighbour-{name}")).spawn(work) {
        control::log::error("cannot talk to another engine", &[("error", &error.to_string())]);
    }
}
