//! Counts the log records of an export request while its bytes come.
use std::io::{self, Write};

/// The field that holds the next message within, from `ExportLogsServiceRequest` down to `LogRecord`:
/// `resource_logs`, `scope_logs`, `log_records`.
const FIELDS: [u64; 3] = [1, 2, 2];

/// Walks from field to field and looks into nothing that it needn't. What is written to it may come in pieces of any
/// size.
#[derive(Debug, Default)]
pub(super) struct RecordCounter {
    records: u64,
    /// Where the messages end that it is in, by the number of bytes since the beginning. The request itself has no end.
    ends: Vec<u64>,
    position: u64,
    state: State,
}

/// What the next byte is.
#[derive(Debug, Clone, Copy)]
enum State {
    /// One of a tag, of which so much is known.
    Tag(Varint),
    /// One of a value that is a varint, which is not needed.
    Value,
    /// One of a length. What is so long has this field number.
    Length { field: u64, length: Varint },
    /// One of so many that are not needed.
    Skip(u64),
}

/// A varint that is being read.
#[derive(Debug, Clone, Copy, Default)]
struct Varint {
    value: u64,
    shift: u32,
}

impl RecordCounter {
    /// How many there were, if the request is whole.
    pub(super) fn finish(self) -> io::Result<u64> {
        let is_between_fields = matches!(self.state, State::Tag(Varint { shift: 0, .. }));
        let ended = self.ends.iter().all(|&end| end == self.position);
        if is_between_fields && ended { Ok(self.records) } else { Err(invalid("the request ends within a field")) }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let State::Skip(count) = self.state {
            let taken = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
            let left = count - taken as u64;
            self.state = if left == 0 { State::default() } else { State::Skip(left) };
            return Ok(taken);
        }
        let byte = bytes[0];
        self.state = match self.state {
            State::Tag(tag) => match tag.add(byte)? {
                Ok(tag) => self.field(tag >> 3, tag & 7)?,
                Err(tag) => State::Tag(tag),
            },
            State::Value if byte & 0x80 != 0 => State::Value,
            State::Value => State::default(),
            State::Length { field, length } => match length.add(byte)? {
                Ok(length) => self.within(field, length),
                Err(length) => State::Length { field, length },
            },
            State::Skip(_) => unreachable!("it is handled above"),
        };
        Ok(1)
    }

    /// What comes after the tag of a field.
    fn field(&self, field: u64, wire_type: u64) -> io::Result<State> {
        match wire_type {
            0 => Ok(State::Value),
            1 => Ok(State::Skip(8)),
            2 => Ok(State::Length { field, length: Varint::default() }),
            5 => Ok(State::Skip(4)),
            _ => Err(invalid("a field has a wire type that OTLP doesn't use")),
        }
    }

    /// What comes after the length of a field.
    fn within(&mut self, field: u64, length: u64) -> State {
        let depth = self.ends.len();
        let is_way_down = FIELDS.get(depth) == Some(&field);
        let is_record = is_way_down && depth + 1 == FIELDS.len();
        self.records += u64::from(is_record);
        if is_way_down && !is_record {
            // The length's last byte is being taken.
            self.ends.push((self.position + 1).saturating_add(length));
        } else if length > 0 {
            return State::Skip(length);
        }
        State::default()
    }
}

impl Write for RecordCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if matches!(self.state, State::Tag(Varint { shift: 0, .. })) {
                while self.ends.pop_if(|end| *end == self.position).is_some() {}
            }
            let taken = self.take(rest)?;
            self.position += taken as u64;
            if self.ends.last().is_some_and(|&end| end < self.position) {
                return Err(invalid("a field is longer than the message that it is in"));
            }
            rest = &rest[taken..];
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Tag(Varint::default())
    }
}

impl Varint {
    /// The value, or what is known of it when more is to come.
    fn add(self, byte: u8) -> io::Result<Result<u64, Self>> {
        if self.shift > 63 {
            return Err(invalid("a varint is longer than ten bytes"));
        }
        let value = self.value | u64::from(byte & 0x7f) << self.shift;
        Ok(if byte & 0x80 == 0 { Ok(value) } else { Err(Self { value, shift: self.shift + 7 }) })
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::logs::v1::ExportLogsServiceRequest,
        common::v1::{AnyValue, InstrumentationScope, any_value::Value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    };
    use proptest::{collection::vec, prelude::*};
    use prost::Message as _;

    use super::*;

    /// Records with bodies of these sizes, by scope and resource.
    fn request(sizes: &[Vec<Vec<usize>>]) -> ExportLogsServiceRequest {
        let record = |&size: &usize| LogRecord {
            time_unix_nano: size as u64,
            severity_number: 9,
            body: Some(AnyValue { value: Some(Value::StringValue("x".repeat(size))) }),
            flags: 1,
            ..LogRecord::default()
        };
        let scope = |sizes: &Vec<usize>| ScopeLogs {
            scope: Some(InstrumentationScope { name: "scope".into(), ..InstrumentationScope::default() }),
            log_records: sizes.iter().map(record).collect(),
            schema_url: "https://example.com".into(),
        };
        let resource = |scopes: &Vec<Vec<usize>>| ResourceLogs {
            scope_logs: scopes.iter().map(scope).collect(),
            ..ResourceLogs::default()
        };
        ExportLogsServiceRequest { resource_logs: sizes.iter().map(resource).collect() }
    }

    fn count(bytes: &[u8], piece: usize) -> io::Result<u64> {
        let mut counter = RecordCounter::default();
        bytes.chunks(piece).try_for_each(|piece| counter.write_all(piece))?;
        counter.finish()
    }

    proptest! {
        #[test]
        fn as_many_as_prost_finds(
            sizes in vec(vec(vec(0_usize..300, 0..4), 0..4), 0..4),
            piece in 1_usize..100,
        ) {
            let records: usize = sizes.iter().flatten().map(Vec::len).sum();
            let bytes = request(&sizes).encode_to_vec();
            prop_assert_eq!(count(&bytes, piece).expect("it is whole"), records as u64);
        }

        #[test]
        fn what_is_cut_off_is_noticed(at in 1_usize..60) {
            let bytes = request(&[vec![vec![20, 40]]]).encode_to_vec();
            prop_assert!(count(&bytes[..at], 7).is_err());
        }

        #[test]
        fn any_bytes_come_to_an_end(bytes in vec(any::<u8>(), 0..200), piece in 1_usize..20) {
            let _ = count(&bytes, piece);
        }
    }
}
