//! Finds the ends of messages in Redis' protocol without keeping any of them, and refuses those that are too large.
//!
//! The client's parser takes whatever a server sends: a string of any length, lists of any number, and answers to no
//! command. The scanner reads the announced sizes first, so that nothing is buffered that goes beyond the limits.

/// The longest line: a size, a number, a word, or an error with its reason.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// The deepest reply is that of XREADGROUP: streams, their parts, messages, their parts, fields.
const MAX_DEPTH: usize = 8;

/// Each value takes up to 300 bytes beside its own: small values make a reply many times larger in memory.
const MAX_VALUES: usize = 16 * 1024;

/// How large one message may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    bytes: usize,
    values: usize,
}

impl Limits {
    /// For replies of a server that may be an enemy.
    pub(super) const fn of_replies(bytes: usize) -> Self {
        Self { bytes, values: MAX_VALUES }
    }

    /// For the commands of this process, which bounds them where it makes them.
    pub(super) const fn none() -> Self {
        Self { bytes: usize::MAX, values: usize::MAX }
    }
}

/// A message is larger or deeper than the limits say, or is none of the kinds that are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Scanner {
    limits: Limits,
    state: State,
    /// Of the message that is read.
    bytes: usize,
    values: usize,
    /// Values that are still to come, of each list that is open.
    open: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The first byte of a value is next.
    Kind,
    /// In the line of a value.
    Line(Line),
    /// In a string: so many bytes are left, its line end included.
    Text(usize),
}

#[derive(Debug, Clone, Copy)]
struct Line {
    kind: u8,
    bytes: usize,
    negative: bool,
    number: Option<usize>,
    /// Whether the last byte was the first half of a line end.
    ending: bool,
}

impl Scanner {
    pub(super) const fn new(limits: Limits) -> Self {
        Self { limits, state: State::Kind, bytes: 0, values: 0, open: Vec::new() }
    }

    /// Reads on; returns how many messages have ended.
    ///
    /// # Errors
    /// When a message is not to be read any further.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<usize, Refused> {
        let mut ended = 0;
        while let [first, rest @ ..] = bytes {
            match &mut self.state {
                State::Text(left) => {
                    let skipped = bytes.len().min(*left);
                    *left -= skipped;
                    bytes = &bytes[skipped..];
                    if *left == 0 {
                        ended += self.end_value();
                    }
                    continue;
                }
                State::Kind => self.begin_value(*first)?,
                State::Line(line) => {
                    line.read(*first)?;
                    if line.ending && *first == b'\n' {
                        let line = *line;
                        ended += self.end_line(line)?;
                    } else {
                        line.ending = *first == b'\r';
                    }
                }
            }
            bytes = rest;
        }
        Ok(ended)
    }

    fn begin_value(&mut self, kind: u8) -> Result<(), Refused> {
        // Nothing is subscribed to: messages that are pushed, and attributes, are not expected.
        if !b"+-:$*_,#!=(%~".contains(&kind) {
            return Err(Refused);
        }
        self.state = State::Line(Line { kind, bytes: 0, negative: false, number: None, ending: false });
        Ok(())
    }

    /// The line of a value has ended: the value has, too, or more of it follows.
    fn end_line(&mut self, line: Line) -> Result<usize, Refused> {
        self.announce(line.bytes, 0)?;
        match line.kind {
            b'$' | b'!' | b'=' | b'*' | b'~' | b'%' if line.negative => return Ok(self.end_value()),
            b'$' | b'!' | b'=' => {
                let length = line.number.ok_or(Refused)?;
                self.announce(length, 0)?;
                self.state = State::Text(length.checked_add(2).ok_or(Refused)?);
            }
            b'*' | b'~' | b'%' => {
                let per_item = if line.kind == b'%' { 2 } else { 1 };
                let values = line.number.and_then(|number| number.checked_mul(per_item)).ok_or(Refused)?;
                self.announce(0, values)?;
                if values == 0 {
                    return Ok(self.end_value());
                }
                if self.open.len() >= MAX_DEPTH {
                    return Err(Refused);
                }
                self.open.push(values);
                self.state = State::Kind;
            }
            _ => return Ok(self.end_value()),
        }
        Ok(0)
    }

    /// So much more is to come, by what the message says itself.
    fn announce(&mut self, bytes: usize, values: usize) -> Result<(), Refused> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.values = self.values.saturating_add(values);
        if self.bytes > self.limits.bytes || self.values > self.limits.values { Err(Refused) } else { Ok(()) }
    }

    /// Returns 1 when the message has ended with this value.
    fn end_value(&mut self) -> usize {
        self.state = State::Kind;
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return 0;
            }
            self.open.pop();
        }
        (self.bytes, self.values) = (0, 0);
        1
    }
}

impl Line {
    /// Takes one byte of a line. Sizes consist of digits.
    fn read(&mut self, byte: u8) -> Result<(), Refused> {
        self.bytes += 1;
        if self.bytes > MAX_LINE_BYTES {
            return Err(Refused);
        }
        if b"$!=*~%".contains(&self.kind) {
            match byte {
                b'0'..=b'9' if !self.ending => {
                    let number = self.number.unwrap_or(0).checked_mul(10).ok_or(Refused)?;
                    self.number = Some(number.checked_add(usize::from(byte - b'0')).ok_or(Refused)?);
                }
                b'-' if self.bytes == 1 => self.negative = true,
                b'\r' if !self.ending => {}
                b'\n' if self.ending => {}
                _ => return Err(Refused),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the bytes are cut, the same comes out.
    fn read(bytes: &[u8], limit: usize) -> Result<usize, Refused> {
        let whole = Scanner::new(Limits::of_replies(limit)).read(bytes);
        let mut scanner = Scanner::new(Limits::of_replies(limit));
        let single = bytes.iter().try_fold(0, |ended, byte| Ok(ended + scanner.read(&[*byte])?));
        assert_eq!(whole, single, "{}", String::from_utf8_lossy(bytes));
        whole
    }

    #[test]
    fn every_kind_of_reply_ends_where_it_ends() {
        for (bytes, ended) in [
            (&b"+OK\r\n"[..], 1),
            (b"-ERR no\r\n:-7\r\n", 2),
            (b"$-1\r\n*-1\r\n_\r\n", 3),
            (b"$5\r\na\r\nbc\r\n", 1),
            (b"$0\r\n\r\n*0\r\n", 2),
            (b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n+OK\r\n", 2),
            (b"%1\r\n+a\r\n*1\r\n:1\r\n,1.5\r\n#t\r\n(12\r\n~1\r\n:1\r\n=5\r\ntxt:a\r\n", 6),
            (b"+a\rb\nc\r\n", 1),
            (b"*3\r\n:1\r\n:2\r\n", 0),
            (b"$5\r\nabc", 0),
        ] {
            assert_eq!(read(bytes, 1024), Ok(ended), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_size_beyond_the_limit_is_refused_when_it_is_announced() {
        assert_eq!(read(b"$1000\r\n", 1024), Ok(0));
        for bytes in [
            &b"$9000000000\r\n"[..],
            b"$99999999999999999999999999\r\n",
            b"$18446744073709551615\r\n",
            b"*2147483647\r\n*2147483647\r\n*2147483647\r\n",
            b"%18446744073709551615\r\n",
            b"*2\r\n$600\r\n",
        ]
        .into_iter()
        .chain([&*vec![b'+'; MAX_LINE_BYTES + 2], &b"*1\r\n".repeat(MAX_DEPTH + 1)])
        {
            // The second string of two is beyond what both may have.
            let bytes = if bytes.ends_with(b"$600\r\n") {
                [bytes, &[b'x'; 600], b"\r\n$600\r\n"].concat()
            } else {
                bytes.to_vec()
            };
            assert_eq!(read(&bytes, 1024), Err(Refused), "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]));
        }
    }

    #[test]
    fn what_is_pushed_or_no_reply_is_refused() {
        for bytes in
            [&b">2\r\n+invalidate\r\n"[..], b"|1\r\n", b"HTTP/1.1 200 OK\r\n", b"\0", b"$ 5\r\n", b"$\r\n", b"*x\r\n"]
        {
            assert_eq!(read(bytes, 1024), Err(Refused), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
