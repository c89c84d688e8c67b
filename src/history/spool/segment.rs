//! One file of the spool: a mark, then records of a length, a checksum and a row.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

use super::super::{files, row::Row, rows::Rows};

/// Begins every segment, and names the form of what follows.
const MARK: &[u8; 8] = b"GBROWS\x00\x01";

/// Length and checksum of a record.
const HEAD: usize = 8;

/// No row is longer: see `history.value_limit`. A length beyond it is none.
const LONGEST: usize = 256 * 1024 * 1024;

/// A chunk ends before it takes more than this in memory.
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// A file, and how much of it is still to be written to the database.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    path: PathBuf,
    /// Of whole records, with the mark.
    pub bytes: u64,
    /// Rows that are still to be written.
    pub rows: u64,
    /// The time of the first of them.
    pub oldest: i64,
    /// Where they begin.
    at: u64,
}

/// Rows of one segment in their order, and where the next ones begin.
#[derive(Debug)]
pub(in super::super) struct Chunk {
    pub rows: Rows,
    end: u64,
}

/// What a file holds that an earlier run has left.
#[derive(Debug)]
pub(super) enum Reading {
    /// Records to its end.
    Whole(Segment),
    /// At the end a record that was not written to its own, and the bytes of that.
    Torn(Segment, u64),
    /// Something else behind the first records.
    Damaged(Segment),
}

/// The records of the first rows that fit into `room`, and how many these are.
pub(super) fn encode(rows: &[Row], room: usize) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    for (count, row) in rows.iter().enumerate() {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; HEAD]);
        let written = serde_json::to_writer(&mut bytes, row).is_ok();
        let length = bytes.len() - start - HEAD;
        if !written || bytes.len() > room || length > LONGEST {
            bytes.truncate(start);
            return (bytes, count);
        }
        let head = head(&bytes[start + HEAD..]);
        bytes[start..start + HEAD].copy_from_slice(&head);
    }
    (bytes, rows.len())
}

fn head(record: &[u8]) -> [u8; HEAD] {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = checksum(length, record).to_le_bytes();
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&length);
    head[4..].copy_from_slice(&checksum);
    head
}

/// Of the length too: zeros, which a crash can leave, are no record.
fn checksum(length: [u8; 4], record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(record);
    !hasher.finalize()
}

impl Segment {
    /// A new file with nothing but its mark.
    pub(super) fn create(path: PathBuf) -> io::Result<(Self, File)> {
        let mut file = files::own(File::options().create_new(true).append(true)).open(&path)?;
        file.write_all(MARK)?;
        let bytes = MARK.len() as u64;
        Ok((Self { path, bytes, rows: 0, oldest: 0, at: bytes }, file))
    }

    /// Looks at all that an earlier run has left in a file.
    pub(super) fn read(path: PathBuf) -> io::Result<Reading> {
        let length = fs::metadata(&path)?.len();
        let mut reader = BufReader::new(File::open(&path)?);
        let mut mark = [0; MARK.len()];
        let start = MARK.len() as u64;
        let mut segment = Self { path, bytes: start, rows: 0, oldest: 0, at: start };
        if length < start {
            return Ok(Reading::Torn(segment, length));
        }
        reader.read_exact(&mut mark)?;
        if mark != *MARK {
            return Ok(Reading::Damaged(segment));
        }
        while segment.bytes < length {
            match record(&mut reader, length - segment.bytes)? {
                Record::Row(row, size) => {
                    if segment.rows == 0 {
                        segment.oldest = row.time();
                    }
                    segment.rows += 1;
                    segment.bytes += size;
                }
                Record::Torn => {
                    let torn = length - segment.bytes;
                    return Ok(Reading::Torn(segment, torn));
                }
                Record::Damaged => return Ok(Reading::Damaged(segment)),
            }
        }
        Ok(Reading::Whole(segment))
    }

    /// Appends the records of `rows`. All or nothing.
    pub(super) fn append(&mut self, mut file: &File, bytes: &[u8], rows: &[Row]) -> io::Result<()> {
        if let Err(error) = file.write_all(bytes) {
            let _ = file.set_len(self.bytes);
            return Err(error);
        }
        if self.rows == 0 {
            self.oldest = rows.first().map_or(0, |row| row.time());
        }
        self.bytes += bytes.len() as u64;
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// The first rows that are still to be written.
    pub(super) fn next(&self, rows: usize) -> io::Result<Chunk> {
        let mut reader = BufReader::new(File::open(&self.path)?);
        reader.seek(SeekFrom::Start(self.at))?;
        let (mut read, mut end) = (Vec::new(), self.at);
        while read.len() < rows && end < self.bytes && end - self.at < CHUNK_BYTES {
            match record(&mut reader, self.bytes - end)? {
                Record::Row(row, size) => {
                    read.push(*row);
                    end += size;
                }
                // It was whole when it was written or looked at.
                Record::Torn | Record::Damaged => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(Chunk { rows: read.into(), end })
    }

    /// These rows are in the database.
    pub(super) fn advance(&mut self, chunk: &Chunk) {
        self.at = chunk.end;
        self.rows = self.rows.saturating_sub(chunk.rows.len() as u64);
        self.oldest = chunk.rows.last().map_or(self.oldest, |row| row.time());
    }

    pub(super) const fn is_done(&self) -> bool {
        self.at >= self.bytes
    }

    pub(super) fn delete(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

enum Record {
    Row(Box<Row>, u64),
    Torn,
    Damaged,
}

/// Reads one record of at most `left` bytes.
fn record(reader: &mut impl Read, left: u64) -> io::Result<Record> {
    let mut found = [0; HEAD];
    if left < HEAD as u64 {
        return Ok(Record::Torn);
    }
    reader.read_exact(&mut found)?;
    let [a, b, c, d, ..] = found;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let size = (HEAD + length) as u64;
    if found == [0; HEAD] || size > left {
        return Ok(Record::Torn);
    }
    let mut bytes = vec![0; length.min(LONGEST)];
    reader.read_exact(&mut bytes)?;
    match serde_json::from_slice(&bytes) {
        Ok(row) if head(&bytes) == found => Ok(Record::Row(Box::new(row), size)),
        _ if size == left => Ok(Record::Torn),
        _ => Ok(Record::Damaged),
    }
}
