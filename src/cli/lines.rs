//! Lines of standard input, none of which is held beyond a bound.

use std::io::{self, BufRead, Read};

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// All of it.
    Whole(Vec<u8>),
    /// One that is longer than the bound, of which nothing is kept.
    TooLong,
}

/// The lines of `reader`, each of at most `max` bytes.
pub(super) fn lines(mut reader: impl BufRead, max: usize) -> impl Iterator<Item = io::Result<Line>> {
    std::iter::from_fn(move || next(&mut reader, max).transpose())
}

fn next(reader: &mut impl BufRead, max: usize) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    // One byte more for the end of the line.
    let read = reader.by_ref().take(max as u64 + 1).read_until(b'\n', &mut line)?;
    if line.pop_if(|last| *last == b'\n').is_none() && read > max {
        reader.skip_until(b'\n')?;
        return Ok(Some(Line::TooLong));
    }
    Ok((read > 0).then_some(Line::Whole(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_beyond_the_bound_is_told_and_the_next_one_is_whole() {
        let whole = |text: &str| Line::Whole(text.into());
        for (text, expected) in [
            ("", vec![]),
            ("\n", vec![whole("")]),
            ("abc\nab", vec![whole("abc"), whole("ab")]),
            ("abcd\nabc", vec![Line::TooLong, whole("abc")]),
            ("abcdefghijk\n\nabcd", vec![Line::TooLong, whole(""), Line::TooLong]),
        ] {
            let read: Vec<Line> = lines(text.as_bytes(), 3).map(Result::unwrap).collect();
            assert_eq!(read, expected, "{text:?}");
        }
    }
}
