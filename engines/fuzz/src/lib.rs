//! Everything that an engine reads from somebody else, each as a function of bytes that panics when a promise is broken:
//! nothing panics, nothing is read beyond its end, and what is read and written again reads the same.
//!
//! `tools/fuzz.sh TARGET [SECONDS]` runs one under libFuzzer; the corpus that it found is played again by `cargo test`.

mod changes;
mod menu;

use control::{LineBuffer, Request, parse};
use pegasus::{
    frame::{self, Kind, Open, Reset},
    handshake::Hello,
    kcp::{greeting, packet::Packet},
    state::{State, StateChange},
};

use crate::{changes::Follower, menu::Menu};

pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

pub const TARGETS: &[Target] = &[
    Target { name: "frames", run: frames },
    Target { name: "packets", run: packets },
    Target { name: "control", run: control_socket },
    Target { name: "changes", run: changes_of_a_state },
];

/// What a carrier says: the stream of a handshake's hello, and of opened frames.
fn frames(bytes: &[u8]) {
    let _ = Hello::decode(bytes);
    let mut rest = bytes;
    while let Ok(Some(header)) = frame::next(rest) {
        assert!(header.frame_bytes() <= rest.len());
        let payload = &rest[frame::HEADER_BYTES..frame::HEADER_BYTES + header.length];
        match header.kind {
            Kind::Open => {
                if let Ok(open) = Open::decode(payload) {
                    let mut again = Vec::new();
                    open.encode(&mut again);
                    assert_eq!(again, payload);
                }
            }
            Kind::Reset => {
                if let Ok(reset) = Reset::decode(payload) {
                    assert_eq!(Reset::decode(&reset.encode()), Ok(reset));
                }
            }
            _ => (),
        }
        rest = &rest[header.frame_bytes()..];
    }
}

/// What an opened datagram of KCP says, and what a stranger's datagram could pretend to be.
fn packets(bytes: &[u8]) {
    let _ = greeting::id(bytes);
    let Ok(packet) = Packet::decode(bytes) else { return };
    let mut again = vec![0; bytes.len() + 64];
    let length = packet.encode(&mut again);
    assert_eq!(Packet::decode(&again[..length]), Ok(packet));
}

/// What comes over the control socket, cut into reads as the first byte says. A state is followed by the changes behind it.
fn control_socket(bytes: &[u8]) {
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let mut buffer = LineBuffer::new(1 << 16);
    let mut follower = None;
    for read in stream.chunks(usize::from(cut).max(1)) {
        let read = buffer.push(read, |line| match parse::<State, StateChange>(line) {
            Ok(Request::Apply(apply)) => follower = Some(Follower::new(apply.state)),
            Ok(Request::Change(change)) => {
                if let Some(follower) = &mut follower {
                    follower.take(&change.change);
                }
            }
            Ok(_) => (),
            Err(misunderstood) => assert!(!misunderstood.message.is_empty()),
        });
        if read.is_err() {
            return;
        }
    }
}

/// A state and changes of it, without their text.
fn changes_of_a_state(bytes: &[u8]) {
    let mut menu = Menu::new(bytes);
    let mut follower = Follower::new(menu.state());
    while !menu.is_empty() {
        follower.take(&menu.change());
    }
}
