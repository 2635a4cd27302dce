//! The socket between two neighbours: messages with descriptors, and an end that both notice.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
    },
};

use super::word::Word;
use crate::limits::NEIGHBOUR_TIMEOUT;

pub const WORD_BYTES_MAX: usize = 64 << 10;
/// A worker's sockets of one listener, or its door with a relay.
const FDS_MAX: usize = 2;

#[derive(Debug)]
pub struct Link(OwnedFd);

/// What came over a link.
pub enum Heard {
    Word(Word, Vec<OwnedFd>),
    Nothing,
    /// The neighbour is gone, or is not understood any more.
    End,
}

impl Link {
    /// Both ends of a new one.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (here, there) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self::adopt(here)?, there))
    }

    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(NEIGHBOUR_TIMEOUT))?;
        Ok(Self(fd))
    }

    /// Err: the neighbour is gone, or has not read for too long.
    pub fn say(&self, word: &Word, fds: &[BorrowedFd]) -> io::Result<()> {
        let bytes = word.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for a word, at most so long.
    pub fn hear(&self, patience: Duration) -> Heard {
        let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => return Heard::Nothing,
            Ok(_) => (),
            Err(_) => return Heard::End,
        }
        let mut bytes = vec![0; WORD_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                fds.extend(more);
            }
        }
        match received.map(|received| Word::decode(&bytes[..received.bytes])) {
            Ok(Some(word)) => Heard::Word(word, fds),
            Err(Errno::INTR | Errno::AGAIN) => Heard::Nothing,
            _ => Heard::End,
        }
    }

    /// The neighbour is still there.
    pub fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).is_ok() && !fds[0].revents().contains(PollFlags::HUP)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_in_order_with_their_sockets_and_so_does_the_end() {
        let (here, there) = Link::pair().unwrap();
        let there = Link::adopt(there).unwrap();
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let word = Word::Data { address: "0.0.0.0:7947".parse().unwrap(), worker: 1 };
        here.say(&word, &[one.as_fd(), other.as_fd()]).unwrap();
        here.say(&Word::InForce, &[]).unwrap();
        let Heard::Word(heard, fds) = there.hear(Duration::from_secs(5)) else { panic!("a word") };
        assert_eq!((heard, fds.len()), (word, 2));
        let Heard::Word(heard, fds) = there.hear(Duration::from_secs(5)) else { panic!("a word") };
        assert_eq!((heard, fds.len()), (Word::InForce, 0));
        assert!(matches!(there.hear(Duration::ZERO), Heard::Nothing) && there.is_alive());
        drop(here);
        assert!(!there.is_alive() && matches!(there.hear(Duration::ZERO), Heard::End));
    }
}
