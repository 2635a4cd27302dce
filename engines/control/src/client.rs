//! One connected client: lines in, lines out, and a bound on what may wait for it.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use crate::{
    hand_over,
    limits::{CLIENT_BACKLOG_BYTES_MAX, LINE_BYTES_MAX},
    line::{LineBuffer, LineTooLong},
};

pub struct Client {
    stream: UnixStream,
    lines: LineBuffer,
    waiting: Vec<u8>,
    written: usize,
    /// Set when it is to go; what waits is still offered to it once.
    closing: bool,
}

impl Client {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, lines: LineBuffer::new(LINE_BYTES_MAX), waiting: Vec::new(), written: 0, closing: false }
    }

    /// Reads once and returns the complete lines. `Err(None)` means that it is gone.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<Vec<Vec<u8>>, Option<LineTooLong>> {
        let mut lines = Vec::new();
        match self.stream.read(buffer) {
            Ok(0) => Err(None),
            Ok(length) => {
                self.lines.push(&buffer[..length], |line| lines.push(line.to_vec())).map(|()| lines).map_err(Some)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(lines),
            Err(_) => Err(None),
        }
    }

    /// Queues one line and writes what the socket takes. False: it is gone or does not read.
    pub fn send(&mut self, line: &str) -> bool {
        self.send_all([line])
    }

    /// As [`Client::send`], for several lines with one write.
    pub fn send_all<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) -> bool {
        for line in lines {
            self.waiting.extend_from_slice(line.as_bytes());
            self.waiting.push(b'\n');
        }
        self.flush() && self.backlog() <= CLIENT_BACKLOG_BYTES_MAX
    }

    /// Sends one line with a descriptor, at once or not at all. False: it is gone or does not read.
    pub fn send_with(&mut self, line: &str, fd: BorrowedFd) -> bool {
        self.flush() && self.backlog() == 0 && hand_over::send(&self.stream, &format!("{line}\n"), fd).is_ok()
    }

    /// Writes what the socket takes. False: it is gone.
    pub fn flush(&mut self) -> bool {
        while self.written < self.waiting.len() {
            match self.stream.write(&self.waiting[self.written..]) {
                Ok(0) => return false,
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.written > self.waiting.len() / 2 {
                        self.waiting.drain(..self.written);
                        self.written = 0;
                    }
                    return true;
                }
                Err(_) => return false,
            }
        }
        self.waiting = Vec::new();
        self.written = 0;
        !self.closing
    }

    pub fn close_after_flush(&mut self) {
        self.closing = true;
    }

    pub fn closing(&self) -> bool {
        self.closing
    }

    pub fn backlog(&self) -> usize {
        self.waiting.len() - self.written
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
