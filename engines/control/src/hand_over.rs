//! How an engine gets, from the one before it, the socket on which both talk while one takes the other's place: asked for
//! and answered over the control socket, the descriptor beside the answer.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Instant,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::Deserialize;

use crate::limits::{HAND_OVER_TIMEOUT, LINE_BYTES_MAX};

/// Why there is no such socket.
#[derive(Debug)]
pub enum NotHandedOver {
    /// Nobody is there: nothing is held by anybody.
    NobodyThere,
    /// The engine before does not answer, or refuses.
    Refused(String),
}

/// Asks the engine that listens at `path`.
pub fn ask_for_hand_over(path: &Path, version: u32) -> Result<OwnedFd, NotHandedOver> {
    let refused = |error: io::Error| match error.kind() {
        // It has just ended.
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => NotHandedOver::NobodyThere,
        _ => NotHandedOver::Refused(error.to_string()),
    };
    let stream = match UnixStream::connect(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Err(NotHandedOver::NobodyThere);
        }
        other => other.map_err(refused)?,
    };
    stream.set_read_timeout(Some(HAND_OVER_TIMEOUT)).map_err(refused)?;
    (&stream).write_all(format!("{{\"type\":\"hand_over\",\"version\":{version}}}\n").as_bytes()).map_err(refused)?;
    let mut incoming = Incoming { stream, fd: None };
    let deadline = Instant::now() + HAND_OVER_TIMEOUT;
    let mut lines = BufReader::new(&mut incoming);
    while Instant::now() < deadline {
        let mut line = Vec::new();
        lines.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).map_err(refused)?;
        // Its hello, and events on their way to the agent, come as well.
        match serde_json::from_slice(&line) {
            Ok(Said { r#type: "handed_over", .. }) => break,
            Ok(Said { r#type: "error", message }) => {
                return Err(NotHandedOver::Refused(message.unwrap_or_default().into_owned()));
            }
            Ok(_) => (),
            Err(_) if line.is_empty() => return Err(NotHandedOver::NobodyThere),
            Err(error) => return Err(NotHandedOver::Refused(error.to_string())),
        }
    }
    incoming.fd.ok_or_else(|| NotHandedOver::Refused("no socket came with the answer".into()))
}

#[derive(Deserialize)]
struct Said<'a> {
    r#type: &'a str,
    message: Option<std::borrow::Cow<'a, str>>,
}

/// Reads bytes, and keeps the descriptor that comes with them.
struct Incoming {
    stream: UnixStream,
    fd: Option<OwnedFd>,
}

impl Read for &mut Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&self.stream, &mut [IoSliceMut::new(into)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fd = fds.last();
            }
        }
        Ok(received.bytes)
    }
}

pub fn send(stream: &UnixStream, line: &str, fd: BorrowedFd) -> io::Result<()> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(stream, &[IoSlice::new(line.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent == line.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
}
