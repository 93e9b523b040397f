//! Columns of reference data: what a change carries and what an answer holds.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int64Array, StringArray,
    TimestampNanosecondArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, TimeUnit};

use crate::decimal::Strike;
use crate::keyed::{IN_GENERATION, Slot};
use crate::occ::OccSymbol;
use crate::routed::Repeat;
use crate::schema::UTC;
use crate::text::TextColumn;

/// The type of a reference column, as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// A signed integer of 64 bits, but for the smallest.
    Integer,
    /// A decimal with three digits after the point.
    Strike,
    /// A day.
    Date,
    /// A point in time in nanoseconds, UTC.
    Timestamp,
    /// True or false.
    Boolean,
    /// Bytes that stand for a value of any type: which, and how, the source of the
    /// table and the sink agree on.
    Bytes,
}

impl ColumnType {
    /// The Arrow type of the column in an output.
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Strike => DataType::Decimal128(Strike::PRECISION, Strike::SCALE as i8),
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
            Self::Boolean => DataType::Boolean,
            Self::Bytes => DataType::Binary,
        }
    }

    /// Whether a column of the type is a [`Column::Text`].
    const fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Bytes)
    }
}

/// The integer that stands for null in [`Column::Integers`]; it is outside the
/// range of every [`ColumnType`].
pub const INTEGER_NULL: i64 = i64::MIN;

/// Values of one column, one for each row.
#[derive(Clone, Debug)]
pub enum Column {
    /// Nullable texts, or bytes of any kind.
    Text(TextColumn),
    /// Everything that fits 64 bits: integers, days since 1970-01-01,
    /// nanoseconds since then, thousandths, 0 or 1. [`INTEGER_NULL`] is null.
    Integers(Vec<i64>),
    /// The terms of options: in changes alone, never in an answer.
    Options(Vec<OccSymbol>),
}

impl Column {
    /// An empty column that can hold answers of type `ty`.
    #[must_use]
    pub fn new(ty: ColumnType) -> Self {
        match ty {
            ColumnType::Text | ColumnType::Bytes => Self::Text(TextColumn::default()),
            _ => Self::Integers(Vec::new()),
        }
    }

    /// Whether it can hold answers of type `ty`.
    #[must_use]
    pub fn is_of(&self, ty: ColumnType) -> bool {
        match self {
            Self::Text(_) => ty.is_text(),
            Self::Integers(_) => !ty.is_text(),
            Self::Options(_) => false,
        }
    }

    /// How many values there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(texts) => texts.len(),
            Self::Integers(values) => values.len(),
            Self::Options(symbols) => symbols.len(),
        }
    }

    /// Whether there are no values.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all values and keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        match self {
            Self::Text(texts) => texts.clear(),
            Self::Integers(values) => values.clear(),
            Self::Options(symbols) => symbols.clear(),
        }
    }

    /// Becomes `len` nulls of type `ty`, in the memory that it has if the kind
    /// is the same.
    pub fn reset(&mut self, ty: ColumnType, len: usize) {
        match (&mut *self, ty) {
            (Self::Text(texts), ty) if ty.is_text() => {
                texts.clear();
                texts.resize(len);
            }
            (Self::Integers(values), ty) if !ty.is_text() => {
                values.clear();
                values.resize(len, INTEGER_NULL);
            }
            _ => {
                *self = Self::new(ty);
                self.reset(ty, len);
            }
        }
    }

    /// Grows to `len` values by nulls, unless it is longer.
    ///
    /// # Panics
    /// If it is a column of options, which have no null.
    pub fn grow(&mut self, len: usize) {
        match self {
            Self::Text(texts) => texts.resize(len.max(texts.len())),
            Self::Integers(values) => values.resize(len.max(values.len()), INTEGER_NULL),
            Self::Options(_) => unreachable!("options are never an answer"),
        }
    }

    /// Overwrites, for each of `places`, the value at the first with that at the
    /// second of `other`, a column of the same kind.
    ///
    /// # Panics
    /// If the kinds differ or a place is out of bounds.
    pub fn set_all(&mut self, places: impl Iterator<Item = (usize, usize)>, other: &Self) {
        match (self, other) {
            (Self::Text(texts), Self::Text(other)) => texts.set_all(places, other),
            (Self::Integers(values), Self::Integers(other)) => {
                places.for_each(|(to, from)| values[to] = other[from])
            }
            _ => unreachable!("columns of one output have one kind"),
        }
    }

    /// Orders a value against one of `other`, a column of the same kind: texts by
    /// their bytes, numbers by value, null first.
    ///
    /// # Panics
    /// If the kinds differ or a row is out of bounds.
    #[must_use]
    pub fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        match (self, other) {
            (Self::Text(texts), Self::Text(other)) => texts.get(row).cmp(&other.get(other_row)),
            // The integer that stands for null is the smallest.
            (Self::Integers(values), Self::Integers(other)) => values[row].cmp(&other[other_row]),
            _ => unreachable!("columns of one output have one kind"),
        }
    }

    /// Appends the value of each slot: of `generation` if it has the mark
    /// [`IN_GENERATION`], otherwise of `own`; null for
    /// [`MISS`](crate::MISS). All columns are of the same kind.
    ///
    /// # Panics
    /// If the kinds differ.
    pub fn gather(&mut self, own: &Self, generation: Option<&Self>, slots: &[Slot]) {
        match (self, own, generation) {
            (Self::Text(texts), Self::Text(own), None) => texts.gather(own, None, slots),
            (Self::Text(texts), Self::Text(own), Some(Self::Text(generation))) => {
                texts.gather(own, Some(generation), slots);
            }
            (Self::Integers(values), Self::Integers(own), None) => {
                values.extend(slots.iter().map(|&slot| value_at(own, slot)));
            }
            (Self::Integers(values), Self::Integers(own), Some(Self::Integers(generation))) => {
                values.extend(slots.iter().map(|&slot| match slot & IN_GENERATION {
                    0 => value_at(own, slot),
                    _ => value_at(generation, slot ^ IN_GENERATION),
                }));
            }
            _ => unreachable!("columns of one output have one kind"),
        }
    }

    /// Scatters values of `other`, a column of the same kind: value `i` goes to
    /// `rows[i]`, and what is behind those of `rows` goes nowhere.
    ///
    /// # Panics
    /// If the kinds differ, a row is out of bounds, or `other` is shorter than
    /// `rows`.
    pub fn scatter(&mut self, rows: &[u32], other: &Self) {
        match (self, other) {
            (Self::Text(texts), Self::Text(other)) => texts.scatter(rows, other),
            (Self::Integers(values), Self::Integers(other)) => {
                for (&row, &value) in rows.iter().zip(&other[..rows.len()]) {
                    values[row as usize] = value;
                }
            }
            _ => unreachable!("columns of one output have one kind"),
        }
    }

    /// Appends the values of these rows of `other`, a column of the same kind.
    ///
    /// # Panics
    /// If the kinds differ or a row is out of bounds.
    pub fn append_rows(&mut self, other: &Self, rows: &[u32]) {
        let rows = rows.iter().map(|&row| row as usize);
        match (self, other) {
            (Self::Text(texts), Self::Text(other)) => rows.for_each(|row| texts.push_bytes(other.get(row))),
            (Self::Integers(values), Self::Integers(other)) => values.extend(rows.map(|row| other[row])),
            (Self::Options(symbols), Self::Options(other)) => symbols.extend(rows.map(|row| other[row])),
            _ => unreachable!("columns of one table have one kind"),
        }
    }

    /// A column without values of the same kind.
    #[must_use]
    pub fn none_of_kind(&self) -> Self {
        match self {
            Self::Text(_) => Self::Text(TextColumn::default()),
            Self::Integers(_) => Self::Integers(Vec::new()),
            Self::Options(_) => Self::Options(Vec::new()),
        }
    }

    /// Gives each row the value that another one has.
    ///
    /// # Panics
    /// If a row is out of bounds, or it is a column of options.
    pub fn repeat(&mut self, repeats: &[Repeat]) {
        match self {
            Self::Text(texts) => texts.repeat(repeats),
            Self::Integers(values) => {
                repeats.iter().for_each(|repeat| values[repeat.row as usize] = values[repeat.of as usize]);
            }
            Self::Options(_) => unreachable!("options are never an answer"),
        }
    }

    /// The values as an Arrow array of the type [`ColumnType::arrow`].
    ///
    /// # Panics
    /// If the column does not hold values of type `ty`, or texts of 2 GiB or more in all: a
    /// bug of the caller.
    #[must_use]
    pub fn to_arrow(&self, ty: ColumnType) -> ArrayRef {
        let integers = || match self {
            Self::Integers(values) => values.iter().map(|&v| (v != INTEGER_NULL).then_some(v)),
            _ => unreachable!("a column of type {ty:?} holds integers"),
        };
        let narrow = |v: i64| v as i32;
        match (ty, self) {
            (ColumnType::Text, Self::Text(texts)) => Arc::new(to_strings(texts)),
            (ColumnType::Bytes, Self::Text(bytes)) => {
                Arc::new(BinaryArray::from_iter((0..bytes.len()).map(|row| bytes.get(row))))
            }
            (ColumnType::Text | ColumnType::Bytes, _) => unreachable!("a column of texts holds texts"),
            (ColumnType::Integer, _) => Arc::new(Int64Array::from_iter(integers())),
            (ColumnType::Strike, _) => Arc::new(
                Decimal128Array::from_iter(integers().map(|v| v.map(i128::from))).with_data_type(ty.arrow()),
            ),
            // Days of the years that are read fit 32 bits.
            (ColumnType::Date, _) => Arc::new(Date32Array::from_iter(integers().map(|v| v.map(narrow)))),
            (ColumnType::Timestamp, _) => {
                Arc::new(TimestampNanosecondArray::from_iter(integers()).with_timezone(UTC))
            }
            (ColumnType::Boolean, _) => {
                Arc::new(BooleanArray::from_iter(integers().map(|v| v.map(|v| v != 0))))
            }
        }
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Text(texts) => texts.memory_bytes(),
            Self::Integers(values) => values.capacity() * size_of::<i64>(),
            Self::Options(symbols) => symbols.capacity() * size_of::<OccSymbol>(),
        }
    }
}

/// The value of a slot, or null: no table has the slot of a miss.
#[inline]
fn value_at(values: &[i64], slot: Slot) -> i64 {
    values.get(slot as usize).copied().unwrap_or(INTEGER_NULL)
}

/// The texts as an array. Memory is taken for them at once: text that came in
/// as `&str` is checked to be UTF-8 as a whole.
fn to_strings(texts: &TextColumn) -> StringArray {
    let (bytes, ends, nulls) = texts.to_parts();
    StringArray::new(OffsetBuffer::new(ends.into()), bytes.into(), nulls)
}
