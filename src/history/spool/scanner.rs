//! Finds the records of a file again behind those that are damaged.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

use super::{
    super::row::Row,
    record::{BEGINNING, HEAD, MAX_LENGTH, head},
};

/// Before a longer record is read, it is looked whether another one begins in it.
const LONG: usize = 4096;

/// Bytes that are read at once.
const WINDOW: usize = 64 * 1024;

/// What a disk gives as a whole or not at all.
const PAGE: u64 = 4096;

/// Bytes of a file that are no whole records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Where they lie.
    pub place: Range<u64>,
    /// The rows that were there, as far as they can be counted: one for each beginning, and one at least.
    pub rows: u64,
}

/// What lies at a place of a file.
#[derive(Debug)]
pub(super) enum Found {
    /// A whole record, and its end.
    Row(Box<Row>, u64),
    /// Damage, to the next whole record or to the end of the file.
    Damage(Stretch),
}

/// Finds the records of a file, the damaged ones aside. However the bytes lie, each is read a few times at most.
#[derive(Debug)]
pub(super) struct Scanner {
    file: File,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl Scanner {
    /// Looks at `file` up to `end`, which lies in it.
    pub(super) const fn new(file: File, end: u64) -> Self {
        Self { file, end, window: Vec::new(), window_start: 0 }
    }

    /// What lies at `at`; nothing at the end.
    ///
    /// # Errors
    /// When the disk does not give it.
    pub(super) fn look(&mut self, at: u64) -> io::Result<Option<Found>> {
        if at >= self.end {
            return Ok(None);
        }
        if let Some((row, end)) = self.record(at)? {
            return Ok(Some(Found::Row(row, end)));
        }
        let (mut beginnings, mut from) = (0, at);
        loop {
            let Some(beginning) = self.beginning(from)? else {
                return Ok(Some(Found::Damage(Stretch { place: at..self.end, rows: beginnings.max(1) })));
            };
            from = beginning + 1;
            // The head stands before it.
            let start = beginning.saturating_sub(HEAD as u64);
            if start > at && self.record(start)?.is_some() {
                return Ok(Some(Found::Damage(Stretch { place: at..start, rows: beginnings.max(1) })));
            }
            beginnings += 1;
        }
    }

    /// Whether `place` looks as a crash leaves the end of a file: nothing but zeros, or one record that was not written to its
    /// end. The number of rows is that of the stretch, or 0.
    ///
    /// # Errors
    /// When the disk does not give it.
    pub(super) fn torn(&mut self, stretch: &Stretch) -> io::Result<Option<u64>> {
        let Range { start, end } = stretch.place;
        let mut used = start;
        let mut at = start;
        while at < end {
            let bytes = self.bytes(at, 1)?;
            let length = (end - at).min(bytes.len() as u64);
            let last = bytes[..usize::try_from(length).unwrap_or(0)].iter().rposition(|byte| *byte != 0);
            used = last.map_or(used, |last| at + last as u64 + 1);
            at += length.max(1);
        }
        if used == start {
            return Ok(Some(0));
        }
        let head = self.bytes(start, HEAD)?;
        let is_torn = match head.first_chunk::<4>() {
            Some(length) if used - start >= HEAD as u64 => {
                let length = u32::from_le_bytes(*length) as usize;
                length <= MAX_LENGTH && start + (HEAD + length) as u64 > used
            }
            _ => true,
        };
        Ok((is_torn && stretch.rows <= 1).then_some(stretch.rows))
    }

    /// The bytes of a part of the file.
    ///
    /// # Errors
    /// When the disk does not give them.
    pub(super) fn copy(&self, place: &Range<u64>, out: &mut impl io::Write) -> io::Result<()> {
        let mut buffer = vec![0; WINDOW];
        let mut at = place.start;
        while at < place.end {
            let length = usize::try_from(place.end - at).unwrap_or(WINDOW).min(WINDOW);
            self.file.read_exact_at(&mut buffer[..length], at)?;
            out.write_all(&buffer[..length])?;
            at += length as u64;
        }
        Ok(())
    }

    /// The whole record at `at`, and its end.
    fn record(&mut self, at: u64) -> io::Result<Option<(Box<Row>, u64)>> {
        let first = self.bytes(at, HEAD + BEGINNING.len())?;
        let Some((found, content)) = first.split_first_chunk::<HEAD>() else { return Ok(None) };
        let (found, [a, b, c, d, ..], begins) = (*found, *found, content.starts_with(BEGINNING));
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let end = at + (HEAD + length) as u64;
        if !begins || length > MAX_LENGTH || end > self.end {
            return Ok(None);
        }
        // A length that is damaged would have much read, again and again, in which other records lie.
        let content_start = at + HEAD as u64;
        if length > LONG && self.beginning(content_start + 1)?.is_some_and(|next| next < end) {
            return Ok(None);
        }
        let content = self.bytes(content_start, length)?;
        let Some(content) = content.get(..length) else { return Ok(None) };
        if head(content) != found {
            return Ok(None);
        }
        Ok(serde_json::from_slice(content).ok().map(|row| (Box::new(row), end)))
    }

    /// Where the next content begins, from `from` on.
    fn beginning(&mut self, mut from: u64) -> io::Result<Option<u64>> {
        loop {
            let bytes = self.bytes(from, BEGINNING.len())?;
            if bytes.len() < BEGINNING.len() {
                return Ok(None);
            }
            let mut offset = 0;
            while let Some(brace) = bytes[offset..].iter().position(|byte| *byte == BEGINNING[0]) {
                offset += brace;
                if bytes[offset..].starts_with(BEGINNING) {
                    return Ok(Some(from + offset as u64));
                }
                offset += 1;
            }
            // The last bytes may be the first ones of it.
            from += (bytes.len() - BEGINNING.len() + 1) as u64;
        }
    }

    /// The bytes from `at` on: `length` of them or more, fewer only at the end.
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let left = self.end.saturating_sub(at);
        let wanted = left.min(length as u64);
        let window_end = self.window_start + self.window.len() as u64;
        if at < self.window_start || at + wanted > window_end {
            let size = usize::try_from(left.min(length.max(WINDOW) as u64)).unwrap_or(0);
            self.window.clear();
            self.window.resize(size, 0);
            let read = self.file.read_exact_at(&mut self.window, at).or_else(|_| {
                // What the disk does not give may lie behind that which is asked for. Not less than to the end of its
                // page: each try to read from a bad disk can take seconds.
                let less = wanted.max(PAGE - at % PAGE);
                self.window.truncate(usize::try_from(less).unwrap_or(0));
                self.file.read_exact_at(&mut self.window, at)
            });
            if let Err(error) = read {
                self.window.clear();
                return Err(error);
            }
            self.window_start = at;
        }
        let offset = usize::try_from(at - self.window_start).unwrap_or(usize::MAX);
        Ok(self.window.get(offset..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use uuid::Uuid;

    use super::{super::record::encode, *};

    fn row(number: i64) -> Row {
        let text = serde_json::json!({
            "id": Uuid::from_u128(number.unsigned_abs().into()), "model": "m", "version": "1", "provider": "p",
            "input_hash": Uuid::nil(), "latency_us": number, "cached": false, "prediction": r#"{"id":"0"}"#,
        });
        serde_json::from_value(text).unwrap()
    }

    /// All rows in `bytes`, by their number, and all damage.
    fn scan(bytes: &[u8]) -> (Vec<i64>, Vec<Stretch>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut scanner = Scanner::new(file, bytes.len() as u64);
        let (mut rows, mut damage, mut at) = (Vec::new(), Vec::new(), 0);
        while let Some(found) = scanner.look(at).unwrap() {
            at = match found {
                Found::Row(row, end) => {
                    rows.push(row.latency_us);
                    end
                }
                Found::Damage(stretch) => {
                    damage.push(stretch.clone());
                    stretch.place.end
                }
            };
        }
        (rows, damage)
    }

    fn records(count: i64) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for number in 0..count {
            starts.push(bytes.len());
            let room = usize::MAX;
            assert_eq!(encode(&[row(number)], &mut bytes, room, room), 1);
        }
        (bytes, starts)
    }

    #[test]
    fn records_that_an_older_server_wrote_are_read() {
        let content = serde_json::to_vec(&row(5)).unwrap();
        let length = u32::try_from(content.len()).unwrap().to_le_bytes();
        let checksum = (!crc32fast::hash(&[&length[..], &content].concat())).to_le_bytes();
        let older = [&length[..], &checksum, &content].concat();
        assert_eq!(scan(&older), (vec![5], vec![]));
    }

    #[test]
    fn any_byte_that_is_changed_costs_its_own_record_only() {
        let (bytes, starts) = records(4);
        assert_eq!(scan(&bytes), (vec![0, 1, 2, 3], vec![]));
        for place in starts[1]..starts[2] {
            for change in [0x01, 0x55, 0xff] {
                let mut changed = bytes.clone();
                changed[place] ^= change;
                let place = starts[1] as u64..starts[2] as u64;
                assert_eq!(scan(&changed), (vec![0, 2, 3], vec![Stretch { place, rows: 1 }]));
            }
        }
    }

    #[test]
    fn a_piece_that_is_missing_or_too_much_costs_the_records_that_it_touches() {
        let (bytes, starts) = records(6);
        for (from, to) in [(starts[1] + 3, starts[1] + 4), (starts[1] + 20, starts[3] + 20), (starts[2] - 1, starts[2])]
        {
            let mut cut = bytes.clone();
            cut.drain(from..to);
            let (rows, damage) = scan(&cut);
            let whole: Vec<i64> = (0..6)
                .filter(|number| {
                    let number = *number as usize;
                    starts.get(number + 1).is_none_or(|end| *end <= from) || starts[number] >= to
                })
                .collect();
            assert_eq!((rows, damage.len()), (whole, 1), "{from}..{to}");
        }
        let mut more = bytes;
        more.splice(starts[3]..starts[3], *b"garbage in the middle");
        let (rows, damage) = scan(&more);
        assert_eq!((rows, damage.len(), damage[0].rows), ((0..6).collect(), 1, 1));
    }

    #[test]
    fn rows_of_one_stretch_are_counted_by_their_beginnings() {
        let (mut bytes, starts) = records(5);
        for record in 1..4 {
            bytes[starts[record] + 30] ^= 1;
        }
        let (rows, damage) = scan(&bytes);
        assert_eq!((rows, damage.len(), damage[0].rows), (vec![0, 4], 1, 3));
    }

    #[test]
    fn beginnings_without_records_are_looked_at_in_time_linear_in_their_number() {
        let mut bytes = Vec::new();
        // Each claims to reach over all that follow.
        (0..200_000).for_each(|_| bytes.extend_from_slice(b"\xff\xff\x0f\x00abcd{\"id\":\""));
        let (rows, damage) = scan(&bytes);
        assert_eq!((rows.len(), damage.len(), damage[0].rows), (0, 1, 200_000));
    }

    #[test]
    fn records_before_what_the_disk_does_not_give_are_read() {
        let (bytes, starts) = records(60);
        let given = 2 * PAGE as usize;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes[..given]).unwrap();
        // The file ends earlier than the scanner knows, so that a part cannot be read.
        let mut scanner = Scanner::new(file, bytes.len() as u64);
        for record in starts.windows(2) {
            let found = scanner.look(record[0] as u64);
            assert_eq!(matches!(found, Ok(Some(Found::Row(..)))), record[1] <= given, "{record:?}");
            assert_eq!(found.is_err(), record[1] > given, "{record:?}");
        }
    }

    #[test]
    fn long_records_are_read_over_several_windows() {
        let mut long = row(7);
        long.prediction = Some("x".repeat(3 * WINDOW));
        let (mut bytes, _) = records(1);
        encode(&[long, row(8)], &mut bytes, usize::MAX, usize::MAX);
        assert_eq!(scan(&bytes), (vec![0, 7, 8], vec![]));
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        assert_eq!(scan(&bytes).0, [0, 8]);
    }
}
