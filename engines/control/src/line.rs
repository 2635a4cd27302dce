//! Cuts a byte stream into lines without looking at a byte twice, however slowly they come.

/// A line grew over the limit; the stream cannot be followed any more.
#[derive(Debug, PartialEq, Eq)]
pub struct LineTooLong;

pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Bytes before this offset hold no newline.
    scanned: usize,
    max: usize,
}

impl LineBuffer {
    pub fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), scanned: 0, max }
    }

    /// Takes what was read and passes each complete line, without its newline, to `each`.
    pub fn push(&mut self, read: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), LineTooLong> {
        self.bytes.extend_from_slice(read);
        let mut start = 0;
        while let Some(length) = self.bytes[self.scanned..].iter().position(|&byte| byte == b'\n') {
            let end = self.scanned + length;
            if end - start > self.max {
                return Err(LineTooLong);
            }
            each(&self.bytes[start..end]);
            start = end + 1;
            self.scanned = start;
        }
        self.bytes.drain(..start);
        self.scanned = self.bytes.len();
        if self.bytes.is_empty() {
            // One large state must not stay in memory for good.
            self.bytes = Vec::new();
        }
        if self.bytes.len() > self.max { Err(LineTooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_they_are_cut(lines in proptest::collection::vec("[a-z]{0,20}", 0..20), sizes in proptest::collection::vec(1usize..9, 1..50)) {
            let whole = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let mut buffer = LineBuffer::new(20);
            let mut seen = Vec::new();
            let (mut rest, mut turn) = (whole.as_bytes(), 0);
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(sizes[turn % sizes.len()].min(rest.len()));
                prop_assert_eq!(buffer.push(head, |line| seen.push(String::from_utf8(line.to_vec()).unwrap())), Ok(()));
                (rest, turn) = (tail, turn + 1);
            }
            prop_assert_eq!(seen, lines);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_refused_with_and_without_its_end() {
        assert_eq!(LineBuffer::new(3).push(b"abcd", |_| ()), Err(LineTooLong));
        assert_eq!(LineBuffer::new(3).push(b"abcd\n", |_| ()), Err(LineTooLong));
        assert_eq!(LineBuffer::new(3).push(b"abc\nabc", |_| ()), Ok(()));
    }
}
