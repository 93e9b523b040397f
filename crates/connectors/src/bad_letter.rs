//! What is written of a record that was refused: a line of the dead letters.

use std::io::Write as _;
use std::time::SystemTime;

use arrow_array::RecordBatch;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::flaw::{BadRecord, Place, Reason};
use crate::json_rows::without_end;
use crate::text_encoder::{JsonEncoder, push_json_text};

/// Bytes of a record that a letter has at most: of a longer one its first ones.
pub const LETTER_BYTES_MAX: usize = 64 << 10;

/// Which time letters tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LetterTime {
    /// None: two runs of the same inputs write the same bytes.
    #[default]
    None,
    /// When the record was refused, or the trade put aside.
    Written,
}

/// A record as it stood in its input.
#[derive(Clone, Copy)]
pub(crate) enum Raw<'r> {
    /// Of a text: without the end of its line.
    Text(&'r [u8]),
    /// A row of columns with types.
    Row(&'r RecordBatch, usize),
}

/// A record and where it stands.
pub(crate) type Record<'r> = (Place, Raw<'r>);

impl<'r> Raw<'r> {
    /// A line of a text, with or without its end.
    pub(crate) fn line(line: &'r [u8]) -> Self {
        Self::Text(without_end(line))
    }
}

/// The line of a record, without its end.
pub(crate) fn letter(bad: &BadRecord, raw: Raw<'_>, time: LetterTime) -> Box<[u8]> {
    let mut line = Vec::with_capacity(512);
    member("reason", bad.reason.code(), &mut line);
    member("source", &bad.source_name, &mut line);
    // Writing to memory does not fail.
    let _ = match bad.place {
        Place::Line(number) => write!(line, ",\"line\":{number}"),
        Place::Row(number) => write!(line, ",\"row\":{number}"),
    };
    bad.column.iter().for_each(|column| member("column", column, &mut line));
    bad.value.iter().for_each(|value| member("value", value, &mut line));
    member("message", &bad.to_string(), &mut line);
    push_time(time, &mut line);
    match raw {
        Raw::Text(record) => {
            let counted = as_far_as_it_counts(record, &bad.reason);
            text(counted, counted.len() < record.len(), &mut line);
        }
        Raw::Row(batch, row) => fields(batch, row, &mut line),
    }
    line.push(b'}');
    line.into()
}

/// Of a line that is too long one byte more than it may have: how much more of it is there depends
/// on where it was cut while it was read.
fn as_far_as_it_counts<'r>(record: &'r [u8], reason: &Reason) -> &'r [u8] {
    match *reason {
        Reason::TooLong { bytes_max } => &record[..record.len().min(bytes_max.saturating_add(1))],
        _ => record,
    }
}

/// The member `time`, if letters have one.
pub(crate) fn push_time(time: LetterTime, line: &mut Vec<u8>) {
    if time == LetterTime::Written {
        #[expect(clippy::disallowed_methods, reason = "the user asks for it, and nothing else depends on it")]
        let now = DateTime::<Utc>::from(SystemTime::now());
        member("time", &now.to_rfc3339_opts(SecondsFormat::Millis, true), line);
    }
}

fn member(name: &str, value: &str, line: &mut Vec<u8>) {
    line.push(if line.is_empty() { b'{' } else { b',' });
    push_json_text(name.as_bytes(), line);
    line.push(b':');
    push_json_text(value.as_bytes(), line);
}

/// The record, or as much of it as is kept, and how long it is if that is not all; of one that
/// `is_cut` the end is no end.
fn text(record: &[u8], is_cut: bool, line: &mut Vec<u8>) {
    let kept = &record[..record.len().min(LETTER_BYTES_MAX)];
    match std::str::from_utf8(kept) {
        Ok(text) => member("raw", text, line),
        // What was cut is a character.
        Err(error) if (is_cut || kept.len() < record.len()) && error.error_len().is_none() => {
            member("raw", &String::from_utf8_lossy(&kept[..error.valid_up_to()]), line);
        }
        Err(_) => member("raw_base64", &base64(kept), line),
    }
    if kept.len() < record.len() {
        let _ = write!(line, ",\"raw_bytes\":{}", record.len());
    }
}

/// The row as an object. One that no JSON can hold is left out: its place is told.
fn fields(batch: &RecordBatch, row: usize, line: &mut Vec<u8>) {
    let mut object = Vec::new();
    let encoder = JsonEncoder::new(batch.schema_ref(), std::iter::empty(), "");
    if encoder.rows(&batch.slice(row, 1), &[], 0..1, &mut object).is_ok() {
        line.extend_from_slice(b",\"fields\":");
        line.extend_from_slice(object.trim_ascii_end());
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let six = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[six as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(raw: &[u8]) -> serde_json::Value {
        let bad = BadRecord {
            source_name: "t.csv".into(),
            place: Place::Line(3),
            column: Some("a \"b\"".to_owned()),
            value: None,
            reason: Reason::Empty,
        };
        serde_json::from_slice(&letter(&bad, Raw::line(raw), LetterTime::None)).expect("an object")
    }

    #[test]
    fn a_letter_says_what_where_and_why() {
        let expected = serde_json::json!({
            "reason": "no-value", "source": "t.csv", "line": 3, "column": "a \"b\"",
            "message": "t.csv, line 3, column a \\\"b\\\": no value, but the column needs one",
            "raw": "1,\t\"é\"",
        });
        assert_eq!(written("1,\t\"é\"\r\n".as_bytes()), expected);
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        for (bytes, text) in [
            (&b"\xff"[..], "/w=="),
            (b"\xff\xfe", "//4="),
            (b"\xff\xfe\xfd", "//79"),
            (b"any carnal pleas\xff", "YW55IGNhcm5hbCBwbGVhc/8="),
        ] {
            assert_eq!(written(bytes)["raw_base64"], text);
            assert_eq!(written(bytes).get("raw"), None);
        }
    }

    #[test]
    fn of_a_line_that_is_too_long_as_much_is_there_however_it_was_read() {
        let bad = |reason| BadRecord {
            source_name: "t.jsonl".into(),
            place: Place::Line(3),
            column: None,
            value: None,
            reason,
        };
        for (bytes_max, raw, bytes) in [(10, "1234567890a", None), (70_000, "", Some(70_001))] {
            let long = format!("1234567890aé{}", "x".repeat(bytes_max + 30));
            let letters = [bytes_max + 1, bytes_max + 2, bytes_max + 20].map(|len| {
                let bad = bad(Reason::TooLong { bytes_max });
                let letter = letter(&bad, Raw::line(&long.as_bytes()[..len]), LetterTime::None);
                serde_json::from_slice::<serde_json::Value>(&letter).expect("an object")
            });
            assert!(letters[0] == letters[1] && letters[1] == letters[2], "{bytes_max}");
            assert_eq!(letters[0].get("raw_bytes").and_then(serde_json::Value::as_u64), bytes);
            assert!(letters[0]["raw"].as_str().is_some_and(|text| raw.is_empty() || text == raw));
        }
        // The limit may be in the middle of a character.
        let cut = letter(
            &bad(Reason::TooLong { bytes_max: 11 }),
            Raw::line("1234567890aé".as_bytes()),
            LetterTime::None,
        );
        assert!(String::from_utf8_lossy(&cut).contains("\"raw\":\"1234567890a\""));
    }

    #[test]
    fn a_long_record_is_cut_between_characters_and_its_length_told() {
        let long = "é".repeat(LETTER_BYTES_MAX);
        // One byte in front: the limit is in the middle of a character.
        let letter = written(format!("x{long}").as_bytes());
        assert_eq!(letter["raw"].as_str().map(str::len), Some(LETTER_BYTES_MAX - 1));
        assert_eq!(letter["raw_bytes"], 2 * LETTER_BYTES_MAX + 1);
        let exact = "x".repeat(LETTER_BYTES_MAX);
        assert_eq!(written(exact.as_bytes())["raw"].as_str(), Some(&*exact));
        assert_eq!(written(exact.as_bytes()).get("raw_bytes"), None);
        let odd = [&b"\xff"[..], long.as_bytes()].concat();
        assert_eq!(written(&odd)["raw_bytes"], odd.len());
    }
}
