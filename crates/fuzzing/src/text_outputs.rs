//! Rows written as CSV and JSON Lines: other readers, and our own, find the values that were
//! written.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt32Array,
};
use chrono::{DateTime, NaiveDate};
use tradejoin_connectors::{
    AddedColumn, Encoding, Format, Kept, Location, Output, OutputOptions, instant_of_text,
};
use tradejoin_disk::{Disk as _, Mode, SimulatedDisk};
use tradejoin_flow::End;
use tradejoin_model::{Column, ColumnType, Enriched, INTEGER_NULL, Messages, TextColumn};

use crate::drawn::Drawn;
use crate::json::lines;
use crate::memory::Memory;
use crate::rows::{Field, enriched};
use crate::trades::{How, read};
use crate::values::units;

/// The trades' own columns; the first text has a name that is drawn.
const OWN: [&str; 8] = ["instrument_id", "note", "whole", "flag", "price", "real", "time", "day"];
const ADDED: [(&str, ColumnType); 4] = [
    ("more note", ColumnType::Text),
    ("more whole", ColumnType::Integer),
    ("more time", ColumnType::Timestamp),
    ("more day", ColumnType::Date),
];

/// A value of a row.
#[derive(Clone, Debug)]
enum Value {
    None,
    Text(String),
    Whole(i64),
    Flag(bool),
    Units(i128),
    Real(f64),
    Time(i64),
    Day(i32),
}

/// Rows of drawn values, in a format that is drawn.
pub(crate) fn text_outputs(bytes: &[u8]) {
    let mut drawn = Drawn::new(bytes);
    let kind = drawn.below(3);
    let format = if kind == 0 { Format::JsonLines } else { Format::Csv };
    let is_safe = kind == 2;
    let mut names: Vec<_> = OWN.into_iter().chain(ADDED.map(|(name, _)| name)).map(str::to_owned).collect();
    let name = drawn.text();
    if !name.is_empty() && !names.contains(&name) {
        names[1] = name;
    }
    let mut rows = Vec::new();
    while rows.len() < 16 && !(drawn.is_empty() && rows.len() > 1) {
        rows.push(row(&mut drawn, rows.len()));
    }
    let written = write(format, is_safe, &names, &[&rows]);
    let (first, rest) = rows.split_at(1);
    assert_eq!(write(format, is_safe, &names, &[first, rest]), written, "blocks of other lengths");
    match format {
        Format::Csv => check_csv(&written, is_safe, &names, &rows),
        _ => check_json(&written, &names, &rows),
    }
}

fn row(drawn: &mut Drawn<'_>, number: usize) -> Vec<Value> {
    type Draw = fn(&mut Drawn<'_>) -> Value;
    // In added columns the least one stands for none.
    const LEAST: i64 = INTEGER_NULL + 1;
    let text: Draw = |drawn| Value::Text(drawn.text());
    let whole: Draw = |drawn| Value::Whole(i64::from_le_bytes(drawn.bytes()).max(LEAST));
    let flag: Draw = |drawn| Value::Flag(drawn.below(2) == 1);
    let price: Draw = |drawn| Value::Units(i64::from_le_bytes(drawn.bytes()).into());
    let real: Draw = |drawn| Value::Real(f64::from_le_bytes(drawn.bytes()));
    let time: Draw = |drawn| Value::Time(i64::from_le_bytes(drawn.bytes()).max(LEAST));
    // Of the years 175 to 3764.
    let day: Draw = |drawn| Value::Day(i32::from(i16::from_le_bytes(drawn.bytes())) * 20);
    let columns = [text, whole, flag, price, real, time, day, text, whole, time, day];
    let values = columns.into_iter().map(|draw| drawn.option(draw).unwrap_or(Value::None));
    std::iter::once(Value::Whole(number as i64)).chain(values).collect()
}

/// The values of a column that are of its kind.
fn values<T>(rows: &[Vec<Value>], column: usize, of: impl Fn(&Value) -> Option<T>) -> Vec<Option<T>> {
    rows.iter().map(|row| of(&row[column])).collect()
}

fn text_of(value: &Value) -> Option<String> {
    if let Value::Text(text) = value { Some(text.clone()) } else { None }
}

fn whole_of(value: &Value) -> Option<i64> {
    match value {
        Value::Whole(value) | Value::Time(value) => Some(*value),
        Value::Day(day) => Some((*day).into()),
        _ => None,
    }
}

/// Rows as they come out of a run.
fn batch(names: &[String], rows: &[Vec<Value>]) -> Enriched {
    let ids = values(rows, 0, |value| whole_of(value).and_then(|id| u32::try_from(id).ok()));
    let flags = values(rows, 3, |value| if let Value::Flag(flag) = value { Some(*flag) } else { None });
    let units = values(rows, 4, |value| if let Value::Units(units) = value { Some(*units) } else { None });
    let reals = values(rows, 5, |value| if let Value::Real(real) = value { Some(*real) } else { None });
    let times = TimestampNanosecondArray::from(values(rows, 6, whole_of)).with_timezone("UTC");
    let days = values(rows, 7, |value| if let Value::Day(day) = value { Some(*day) } else { None });
    let prices = Decimal128Array::from(units).with_precision_and_scale(38, 9).expect("64 bits fit");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from(ids)),
        Arc::new(StringArray::from(values(rows, 1, text_of))),
        Arc::new(Int64Array::from(values(rows, 2, whole_of))),
        Arc::new(BooleanArray::from(flags)),
        Arc::new(prices),
        Arc::new(Float64Array::from(reals)),
        Arc::new(times),
        Arc::new(Date32Array::from(days)),
    ];
    let own = names.iter().zip(columns).map(|(name, column)| (name, column, true));
    let trades = RecordBatch::try_from_iter_with_nullable(own).expect("columns of one length");
    let mut texts = TextColumn::default();
    values(rows, 8, text_of).iter().for_each(|text| texts.push(text.as_deref()));
    let integers = |column| {
        let values = values(rows, column, whole_of).into_iter();
        Column::Integers(values.map(|value| value.unwrap_or(INTEGER_NULL)).collect())
    };
    let messages = Messages::new(trades, Vec::new(), Vec::new()).expect("no keys and no changes");
    let columns = vec![Column::Text(texts), integers(9), integers(10), integers(11)];
    Enriched { columns, ..enriched(&Arc::new(messages)) }
}

/// The bytes of an output of these blocks.
fn write(format: Format, csv_safe: bool, names: &[String], blocks: &[&[Vec<Value>]]) -> Vec<u8> {
    let (disk, folder) = (SimulatedDisk::new(), Path::new("outputs"));
    disk.create_folder(folder, Mode::Shared).expect("a disk without faults");
    let path = folder.join("text");
    let batches: Vec<_> = blocks.iter().map(|rows| batch(names, rows)).collect();
    let added = names[OWN.len()..].iter().zip(ADDED).enumerate();
    let added = added.map(|(index, (name, (_, ty)))| AddedColumn::plain(name, ty, index)).collect();
    let kept = Some(Kept { disk: Arc::new(disk.clone()), owner: "fuzz".to_owned(), from: None });
    let schema = batches[0].trades().schema();
    let options = OutputOptions::new(Location::Path(path.clone()), Encoding::plain(format), schema);
    let mut output = Output::create(OutputOptions { added, kept, csv_safe, ..options }).expect("created");
    batches.iter().for_each(|batch| output.write_enriched(batch).expect("written"));
    let mut whole = output.prepare(Some(End::Complete)).expect("prepared");
    whole.make_durable().and_then(|_| whole.publish()).expect("a disk without faults");
    disk.read(&path).expect("there")
}

impl Value {
    /// Whether it is what a text stands for.
    fn is(&self, text: &str) -> bool {
        match self {
            Self::None => text.is_empty(),
            Self::Text(value) => text == value,
            Self::Whole(value) => text == value.to_string(),
            Self::Flag(value) => text == value.to_string(),
            Self::Units(value) => units(text, 9) == Some(*value),
            Self::Real(value) => text
                .parse::<f64>()
                .is_ok_and(|read| read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan())),
            Self::Time(value) => {
                let time =
                    DateTime::parse_from_rfc3339(text).ok().and_then(|time| time.timestamp_nanos_opt());
                time == Some(*value) && instant_of_text(text) == time
            }
            Self::Day(value) => {
                let day = NaiveDate::parse_from_str(text, "%Y-%m-%d");
                day.is_ok_and(|day| day.to_epoch_days() == *value)
            }
        }
    }

    /// Whether it is a member of JSON, in the type that it should have there.
    fn is_member(&self, field: &Field) -> bool {
        match (self, field) {
            (Self::None, Field::None) => true,
            (Self::Text(_) | Self::Time(_) | Self::Day(_), Field::Text(text)) => self.is(text),
            (Self::Whole(_) | Self::Flag(_) | Self::Units(_), Field::Json(token)) => self.is(token),
            (Self::Real(value), Field::Json(token)) => value.is_finite() && self.is(token),
            (Self::Real(value), Field::Text(text)) => !value.is_finite() && self.is(text),
            _ => false,
        }
    }
}

/// Whether a spreadsheet calculates with a text.
fn is_formula(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |text: &str| match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    };
    match text.strip_prefix(['+', '-']) {
        Some(rest) => !is_number(rest),
        None => text.starts_with(['=', '@', '\t', '\r', '\n']),
    }
}

/// What stands for a text where no field may be a formula.
fn safe(text: &str, is_safe: bool) -> String {
    if is_safe && is_formula(text) { format!("'{text}") } else { text.to_owned() }
}

fn check_csv(written: &[u8], is_safe: bool, names: &[String], rows: &[Vec<Value>]) {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(written);
    let mut records = reader.records().map(|record| record.expect("CSV"));
    let names: Vec<_> = names.iter().map(|name| safe(name, is_safe)).collect();
    assert!(records.next().expect("a header").iter().eq(&names));
    let records: Vec<_> = records.collect();
    assert_eq!(records.len(), rows.len());
    for (record, row) in records.iter().zip(rows) {
        assert!(!is_safe || !record.iter().any(is_formula), "{record:?}");
        for (field, value) in record.iter().zip(row) {
            // A text may begin with the sign itself.
            let guarded = field.strip_prefix('\'').filter(|text| is_safe && is_formula(text));
            let is_value = value.is(field) || guarded.is_some_and(|text| value.is(text));
            assert!(is_value, "{value:?} is {field:?}");
        }
    }
    let fields = records.iter().map(|record| record.iter().map(str::to_owned).collect());
    let own = our_rows(written, Format::Csv, &names);
    let own = own.iter().map(|row| row.iter().map(|field| field.text().to_owned()).collect::<Vec<_>>());
    assert!(own.eq(fields.collect::<Vec<Vec<_>>>()), "our own reader");
}

fn check_json(written: &[u8], names: &[String], rows: &[Vec<Value>]) {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let found: Vec<_> = lines(written).map(|line| line.fields(&names).expect("an object")).collect();
    assert_eq!(found.len(), rows.len());
    for (fields, row) in found.iter().zip(rows) {
        for (field, value) in fields.iter().zip(row) {
            assert!(value.is_member(field), "{value:?} is {field:?}");
        }
    }
    assert_eq!(our_rows(written, Format::JsonLines, &names), found, "our own reader");
}

/// What our own reader finds in columns of these names.
fn our_rows(written: &[u8], format: Format, names: &[impl AsRef<str>]) -> Vec<Vec<Field>> {
    let how = How { keys: vec!["instrument_id".into()], ..How::new(format) };
    let (schema, read) = read(&Memory::new(written), &how).expect("it opens");
    assert!(schema.fields().iter().map(|field| field.name()).eq(names.iter().map(AsRef::as_ref)));
    assert_eq!((read.rejected, &read.failure), (0, &None));
    read.trades().map(|(fields, _)| fields.to_vec()).collect()
}
