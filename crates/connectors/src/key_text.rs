//! Keys that are texts: of one column, or of several in one.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};
use tradejoin_model::TextColumn;

use crate::arrow_keys::carrier;

/// Makes keys of their parts: the one text as it is, or each text but the last
/// behind its length, so that `a`, `bc` is another key than `ab`, `c`.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyText {
    bytes: Vec<u8>,
}

impl KeyText {
    /// The key of these parts, in order, `count` of them; or which of them has no
    /// value, by its place.
    pub(crate) fn of<'p>(
        &mut self,
        count: usize,
        part: impl Fn(usize) -> Option<Cow<'p, str>>,
    ) -> Result<&[u8], usize> {
        self.bytes.clear();
        for place in 0..count {
            let text = part(place).filter(|text| !text.is_empty()).ok_or(place)?;
            if place + 1 < count {
                push_len(&mut self.bytes, text.len());
            }
            self.bytes.extend_from_slice(text.as_bytes());
        }
        Ok(&self.bytes)
    }

    /// The key that was made last.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// That key for people to read: its parts, `count` of them, with commas between.
    pub(crate) fn shown(&self, count: usize) -> String {
        shown(&self.bytes, count)
    }
}

/// A key for people to read: its parts, `count` of them, with commas between.
pub(crate) fn shown(key: &[u8], count: usize) -> String {
    let (mut rest, mut parts) = (key, Vec::with_capacity(count));
    for _ in 1..count {
        let (len, behind) = take_len(rest);
        let (part, behind) = behind.split_at(len.min(behind.len()));
        parts.push(String::from_utf8_lossy(part));
        rest = behind;
    }
    parts.push(String::from_utf8_lossy(rest));
    parts.join(", ")
}

/// What [`push_len`] has written, and what is behind it.
fn take_len(mut bytes: &[u8]) -> (usize, &[u8]) {
    let (mut len, mut shift) = (0, 0);
    while let [byte, rest @ ..] = bytes {
        len |= usize::from(byte & 0x7F) << shift;
        (bytes, shift) = (rest, shift + 7);
        if byte & 0x80 == 0 {
            break;
        }
    }
    (len, bytes)
}

/// Seven bits in each byte, the lowest first; the last byte has no mark.
fn push_len(out: &mut Vec<u8>, mut len: usize) {
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

/// A part of the keys of a block of typed columns, as [`carrier`] holds it.
pub(crate) struct KeyPart(ArrayRef);

impl KeyPart {
    /// # Errors
    /// If the column is neither of integers nor of texts.
    pub(crate) fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        let ty = carrier(column.data_type()).unwrap_or(DataType::Utf8);
        Ok(Self(if *column.data_type() == ty { column.clone() } else { cast(column, &ty)? }))
    }

    /// The text of a row: integers in decimal.
    pub(crate) fn text(&self, row: usize) -> Option<Cow<'_, str>> {
        if self.0.is_null(row) {
            return None;
        }
        Some(match self.0.data_type() {
            DataType::UInt64 => Cow::Owned(self.0.as_primitive::<UInt64Type>().value(row).to_string()),
            DataType::Int64 => Cow::Owned(self.0.as_primitive::<Int64Type>().value(row).to_string()),
            _ => Cow::Borrowed(self.0.as_string::<i32>().value(row)),
        })
    }
}

/// The keys of a batch in these columns; null where a part has no value.
pub(crate) fn keys(batch: &RecordBatch, columns: &[usize]) -> Result<TextColumn, ArrowError> {
    let parts = columns.iter().map(|&column| KeyPart::new(batch.column(column)));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let (mut keys, mut key) = (TextColumn::default(), KeyText::default());
    for row in 0..batch.num_rows() {
        keys.push_bytes(key.of(parts.len(), |place| parts[place].text(row)).ok());
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[&str]) -> Result<Vec<u8>, usize> {
        let mut key = KeyText::default();
        key.of(parts.len(), |place| Some(Cow::Owned(parts[place].to_owned()))).map(<[u8]>::to_vec)
    }

    #[test]
    fn one_part_is_the_key_and_several_are_told_apart() {
        assert_eq!(key(&["XNYS"]), Ok(b"XNYS".to_vec()));
        let long = "x".repeat(300);
        let keys = [
            key(&["a", "bc"]),
            key(&["ab", "c"]),
            key(&["abc", "\0"]),
            key(&["a", "b", "c"]),
            key(&[&long, "c"]),
            key(&[&long[1..], "xc"]),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(one.is_ok() && keys[at + 1..].iter().all(|other| other != one), "{one:?}");
        }
        let mut shown = KeyText::default();
        assert!(shown.of(3, |place| Some(Cow::Borrowed([&long, "b", "c"][place]))).is_ok());
        assert_eq!(shown.shown(3), format!("{long}, b, c"));
        assert_eq!((key(&["", "b"]), key(&["a", ""])), (Err(0), Err(1)));
    }
}
