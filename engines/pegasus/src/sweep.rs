//! Deadlines, once a second: what takes too long, and who has fallen silent.
//!
//! A peer that vanishes without a word is noticed in one of three ways: the kernel's keepalive on an idle carrier; bytes
//! that nobody acknowledges; and, for a flow that waits for a shut window, the silence of the peer's other carriers.

use std::{os::fd::AsFd, os::fd::AsRawFd, sync::atomic::Ordering::Relaxed, time::Duration};

use crate::{
    carrier::Phase,
    endpoint::Endpoint,
    limits::{DIAL_TIMEOUT, HANDSHAKE_TIMEOUT, KEEPALIVE_AFTER, RESET_CONFIRM_TIMEOUT, SILENCE_MAX},
    link::Link,
    reason::Reason,
    worker::Worker,
};

/// Silence is looked for in every so manieth sweep.
const SILENCE_EVERY: u64 = 2;

impl Worker {
    pub fn sweep(&mut self) {
        self.sweeps += 1;
        self.sweep_flows();
        self.sweep_pools();
        self.sweep_carriers();
        self.sweep_probes();
        self.shrink_pools();
        self.forget_answers();
        self.throttles.retain(|throttle| !throttle.is_empty());
    }

    fn sweep_flows(&mut self) {
        let now = self.now;
        for key in self.flows.keys(|flow| flow.dialling || !flow.has_keepalive || flow.carrier.is_none()) {
            let Some(flow) = self.flows.get_mut(key) else { continue };
            let age = now.duration_since(flow.started);
            if flow.dialling && age > DIAL_TIMEOUT {
                self.destination_silent(key);
                self.reset_flow(key, Reason::DestinationTimeout);
            } else if flow.carrier.is_none() && !flow.up_ended && age > HANDSHAKE_TIMEOUT {
                self.reset_flow(key, Reason::PeerDown);
            } else if !flow.has_keepalive && age > KEEPALIVE_AFTER {
                flow.has_keepalive = true;
                crate::dial::keep_plain_alive(&flow.plain);
            }
        }
    }

    fn sweep_carriers(&mut self) {
        let look = self.sweeps.is_multiple_of(SILENCE_EVERY);
        for key in self.carriers.keys(|_| true) {
            let Some(carrier) = self.carriers.get_mut(key) else { continue };
            let age = self.now.duration_since(carrier.since);
            match carrier.phase {
                Phase::Connecting | Phase::Greeting(_) | Phase::Stranger | Phase::Unproven => {
                    if self.now.duration_since(carrier.made) > HANDSHAKE_TIMEOUT {
                        self.lose_carrier(key, "no answer in time");
                    }
                }
                Phase::Confirming if age > RESET_CONFIRM_TIMEOUT => self.lose_carrier(key, "a reset was not confirmed"),
                _ => {
                    let suspicions = carrier.peer.as_ref().map_or(0, |peer| peer.health.suspicions.load(Relaxed));
                    let suspected = carrier.suspicions_seen != suspicions;
                    if suspected || (look && carrier.unacknowledged) {
                        carrier.suspicions_seen = suspicions;
                        let silence = match &mut carrier.link {
                            Link::Tcp(endpoint) => silence(endpoint),
                            Link::Kcp(conversation) => {
                                // It finds silence out by itself, but may be asked to look now.
                                if suspected {
                                    conversation.doubt();
                                }
                                continue;
                            }
                        };
                        carrier.unacknowledged = silence.something_waits;
                        let gone = silence.acknowledged_before > SILENCE_MAX
                            && (silence.unacknowledged || suspected && silence.something_waits);
                        if gone {
                            if let Some(peer) = &carrier.peer {
                                peer.health.suspicions.fetch_add(1, Relaxed);
                            }
                            self.lose_carrier(key, "the peer has fallen silent");
                        }
                    }
                }
            }
        }
    }
}

/// What TCP knows about the other side.
struct Silence {
    /// Sent, and not acknowledged.
    unacknowledged: bool,
    /// That, or not even sent because the window is shut.
    something_waits: bool,
    acknowledged_before: Duration,
}

fn silence(endpoint: &Endpoint) -> Silence {
    // SAFETY: tcp_info is plain integers, for which zero is valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `info`, which lives here.
    let result = unsafe {
        libc::getsockopt(
            endpoint.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    let mut unsent: libc::c_int = 0;
    // SAFETY: SIOCOUTQ writes one int, which lives here.
    let asked = unsafe { libc::ioctl(endpoint.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut unsent) };
    Silence {
        unacknowledged: result == 0 && info.tcpi_unacked > 0,
        something_waits: result == 0 && (info.tcpi_unacked > 0 || asked == 0 && unsent > 0),
        acknowledged_before: Duration::from_millis(if result == 0 { u64::from(info.tcpi_last_ack_recv) } else { 0 }),
    }
}
