//! Values as text: what CSV and JSON show of typed columns.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
    LargeStringArray, StringArray, StringViewArray, UInt64Array, new_empty_array,
};
use arrow_buffer::NullBuffer;
use arrow_cast::cast;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_json::writer::make_encoder;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, TimeUnit};
use chrono::{Datelike, NaiveDate};
use tradejoin_model::{Column, ColumnType, INTEGER_NULL, KnownKind, Strike, TRADE_COLUMNS, TextColumn};

use crate::arrow_times::per_second;
use crate::json_floats;
use crate::parse::json_text;
use crate::shown_times::check_times;
use crate::trade_layout::{ENCODING_CSV, ENCODING_JSON, ENCODING_KEY};
use crate::values::AddedValues;

/// What the text of a cell is to a format that tells text from numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text, which may hold anything.
    Text,
    /// Text without characters that any format treats specially.
    PlainText,
    /// A number, true or false.
    Bare,
    /// A float, which may be no number.
    Float,
    /// Text that should be a number, from a format that has only text.
    NumberText,
    /// Text that is no value if it is empty, from such a format.
    OptionalText,
    /// A JSON token; no member where there is none.
    Token,
    /// A JSON token; null where there is none.
    ValueToken,
}

/// The cells of one column of a block.
pub(crate) struct Cells<'a> {
    values: Values<'a>,
    nulls: Option<NullBuffer>,
    pub(crate) form: Form,
}

enum Values<'a> {
    Null,
    Utf8(StringArray),
    LargeUtf8(LargeStringArray),
    Utf8View(StringViewArray),
    Signed(Int64Array),
    Unsigned(UInt64Array),
    Float32(Float32Array),
    Float64(Float64Array),
    Boolean(BooleanArray),
    Decimal(Decimal128Array, i8),
    Day(Int32Array),
    Time(Int64Array, TimeUnit),
    Texts(&'a TextColumn),
    Integers(&'a [i64], ColumnType),
}

impl<'a> Cells<'a> {
    /// The cells of a column for CSV: lists and such as JSON, other values without a text of
    /// their own as Arrow shows them.
    pub(crate) fn of_csv(array: &ArrayRef, field: &Field) -> Result<Self, ArrowError> {
        let form = match field.metadata().get(ENCODING_KEY).map(String::as_str) {
            Some(ENCODING_JSON) => Form::Token,
            _ => Form::Text,
        };
        Self::new(array, form, as_csv).map_err(|error| of_column(field, &error))
    }

    /// The cells of a column for JSON: values without a text of their own as
    /// JSON.
    pub(crate) fn of_json(array: &ArrayRef, field: &FieldRef) -> Result<Self, ArrowError> {
        let form = match field.metadata().get(ENCODING_KEY).map(String::as_str) {
            Some(ENCODING_JSON) => Form::Token,
            Some(ENCODING_CSV) => form_of_csv(field.name()),
            _ => Form::Text,
        };
        let cells = Self::new(array, form, |array| as_json(array, field));
        cells.map_err(|error| of_column(field, &error))
    }

    /// The cells of a column of a table.
    pub(crate) fn of_table(array: &ArrayRef) -> Result<Self, ArrowError> {
        Self::new(array, Form::Text, shown)
    }

    /// Cells to look at: where they cannot be shown, a note in place of each.
    pub(crate) fn or_note(cells: Result<Self, ArrowError>, rows: usize) -> Self {
        cells.unwrap_or_else(|_| {
            let notes = StringArray::from(vec!["(cannot be shown)"; rows]);
            Self { values: Values::Utf8(notes), nulls: None, form: Form::Text }
        })
    }

    /// The cells of an added column for CSV.
    pub(crate) fn of_added_csv(column: &'a Column, values: &AddedValues) -> Result<Self, ArrowError> {
        match values {
            AddedValues::Plain(ty) => Ok(Self::of_plain(column, *ty)),
            AddedValues::Token => {
                Ok(Self { form: Form::ValueToken, ..Self::of_plain(column, ColumnType::Text) })
            }
            AddedValues::Arrow(_) => Self::new(&values.to_arrow(column)?, Form::Text, as_csv),
        }
    }

    /// The cells of an added column for JSON.
    pub(crate) fn of_added_json(column: &'a Column, values: &AddedValues) -> Result<Self, ArrowError> {
        match values {
            AddedValues::Plain(_) | AddedValues::Token => Self::of_added_csv(column, values),
            AddedValues::Arrow(_) => {
                let field = Arc::new(Field::new("value", values.arrow_type(), true));
                Self::of_json(&values.to_arrow(column)?, &field)
            }
        }
    }

    fn of_plain(column: &'a Column, ty: ColumnType) -> Self {
        let (values, form) = match column {
            Column::Text(texts) => (Values::Texts(texts), Form::Text),
            Column::Integers(values) => (
                Values::Integers(values, ty),
                if matches!(ty, ColumnType::Date | ColumnType::Timestamp) {
                    Form::PlainText
                } else {
                    Form::Bare
                },
            ),
            Column::Options(_) => (Values::Null, Form::Bare),
        };
        Self { values, nulls: None, form }
    }

    /// `text` is the form of columns of text, `other` what becomes of types
    /// that have no text of their own.
    fn new(
        array: &ArrayRef,
        text: Form,
        other: impl Fn(&ArrayRef) -> Result<(ArrayRef, Form), ArrowError>,
    ) -> Result<Self, ArrowError> {
        let to =
            |ty: &DataType| if array.data_type() == ty { Ok(Arc::clone(array)) } else { cast(array, ty) };
        let (values, form) = match array.data_type() {
            DataType::Null => (Values::Null, Form::Bare),
            DataType::Utf8 => (Values::Utf8(array.as_string().clone()), text),
            DataType::LargeUtf8 => (Values::LargeUtf8(array.as_string().clone()), text),
            DataType::Utf8View => (Values::Utf8View(array.as_string_view().clone()), text),
            DataType::Dictionary(_, values) => return Self::new(&to(values)?, text, other),
            DataType::RunEndEncoded(_, values) => return Self::new(&to(values.data_type())?, text, other),
            // Every one of them is a wider one, too.
            DataType::Float16 => return Self::new(&to(&DataType::Float32)?, text, other),
            ty if ty.is_unsigned_integer() => {
                (Values::Unsigned(to(&DataType::UInt64)?.as_primitive::<UInt64Type>().clone()), Form::Bare)
            }
            ty if ty.is_signed_integer() => {
                (Values::Signed(to(&DataType::Int64)?.as_primitive::<Int64Type>().clone()), Form::Bare)
            }
            DataType::Float32 => (Values::Float32(array.as_primitive::<Float32Type>().clone()), Form::Float),
            DataType::Float64 => (Values::Float64(array.as_primitive::<Float64Type>().clone()), Form::Float),
            DataType::Boolean => (Values::Boolean(array.as_boolean().clone()), Form::Bare),
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) => {
                let wide = to(&DataType::Decimal128(38, *scale))?;
                (Values::Decimal(wide.as_primitive::<Decimal128Type>().clone(), *scale), Form::Bare)
            }
            DataType::Decimal128(_, scale) => {
                (Values::Decimal(array.as_primitive::<Decimal128Type>().clone(), *scale), Form::Bare)
            }
            DataType::Date32 => {
                (Values::Day(to(&DataType::Int32)?.as_primitive::<Int32Type>().clone()), Form::PlainText)
            }
            DataType::Timestamp(unit, _) => (
                Values::Time(to(&DataType::Int64)?.as_primitive::<Int64Type>().clone(), *unit),
                Form::PlainText,
            ),
            _ => {
                let (texts, form) = other(array)?;
                return Ok(Self {
                    nulls: texts.logical_nulls(),
                    values: Values::Utf8(texts.as_string().clone()),
                    form,
                });
            }
        };
        Ok(Self { values, nulls: array.nulls().cloned(), form })
    }

    /// Whether there is no value.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        match &self.values {
            Values::Null => true,
            Values::Texts(texts) => texts.views()[row].is_null(),
            Values::Integers(values, _) => values[row] == INTEGER_NULL,
            _ => self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)),
        }
    }

    /// The bytes of a text that is not null; empty in a column of other values.
    pub(crate) fn text(&self, row: usize) -> &[u8] {
        match &self.values {
            Values::Utf8(texts) => texts.value(row).as_bytes(),
            Values::LargeUtf8(texts) => texts.value(row).as_bytes(),
            Values::Utf8View(texts) => texts.value(row).as_bytes(),
            Values::Texts(texts) => texts.get(row).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Appends the text of a value that is not null.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Null => {}
            Values::Signed(values) => push_i64(out, values.value(row)),
            Values::Unsigned(values) => push_digits(out, values.value(row)),
            Values::Float32(values) => push_display(out, values.value(row)),
            Values::Float64(values) => push_display(out, values.value(row)),
            Values::Boolean(values) => push_bool(out, values.value(row)),
            Values::Decimal(values, scale) => push_decimal(out, values.value(row), *scale),
            Values::Day(days) => push_day(out, i64::from(days.value(row))),
            Values::Time(ticks, unit) => push_time(out, ticks.value(row), *unit),
            Values::Integers(values, ty) => match (ty, values[row]) {
                (ColumnType::Integer | ColumnType::Text | ColumnType::Bytes, value) => push_i64(out, value),
                (ColumnType::Strike, value) => push_decimal(out, i128::from(value), Strike::SCALE as i8),
                (ColumnType::Date, value) => push_day(out, value),
                (ColumnType::Timestamp, value) => push_time(out, value, TimeUnit::Nanosecond),
                (ColumnType::Boolean, value) => push_bool(out, value != 0),
            },
            Values::Utf8(_) | Values::LargeUtf8(_) | Values::Utf8View(_) | Values::Texts(_) => {
                out.extend_from_slice(self.text(row));
            }
        }
    }

    /// The text of a value, or `None` for null.
    pub(crate) fn to_text(&self, row: usize) -> Option<String> {
        if self.is_null(row) {
            return None;
        }
        let mut out = Vec::new();
        self.write(row, &mut out);
        Some(String::from_utf8_lossy(&out).into_owned())
    }
}

/// What the text of a CSV field is in the column of this name.
pub(crate) fn form_of_csv(name: &str) -> Form {
    match TRADE_COLUMNS.iter().find(|column| column.is_named(name)).map(|column| column.kind) {
        Some(KnownKind::Id | KnownKind::TradeNumber | KnownKind::Decimal) => Form::NumberText,
        Some(KnownKind::Timestamp) => Form::OptionalText,
        _ => Form::Text,
    }
}

fn of_column(field: &Field, error: &ArrowError) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("column {}: {error}", field.name().escape_debug()))
}

/// Values as Arrow shows them.
fn shown(array: &ArrayRef) -> Result<(ArrayRef, Form), ArrowError> {
    check_times(array)?;
    let options = FormatOptions::new().with_display_error(false);
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let nulls = array.logical_nulls();
    let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let text = |row| (!is_null(row)).then(|| formatter.value(row).try_to_string()).transpose();
    let texts = (0..array.len()).map(text).collect::<Result<Vec<_>, _>>()?.into_iter();
    let texts: StringArray = match array.data_type() {
        // The zeros behind the last digit say nothing.
        DataType::Decimal256(..) => texts.map(|text| text.map(|text| trim_zeros(&text).to_owned())).collect(),
        DataType::Date64 => {
            let midnight = |text: String| text.strip_suffix("T00:00:00").map(str::to_owned).unwrap_or(text);
            texts.map(|text| text.map(midnight)).collect()
        }
        _ => texts.collect(),
    };
    let form = if matches!(array.data_type(), DataType::Decimal256(..)) { Form::Bare } else { Form::Text };
    Ok((Arc::new(texts), form))
}

/// The texts that JSON tokens stand for.
pub(crate) fn token_texts(tokens: &TextColumn) -> ArrayRef {
    // A token came out of a line that is UTF-8.
    let token = |row| std::str::from_utf8(tokens.get(row)?).ok();
    let texts = (0..tokens.len()).map(|row| json_text(token(row)?));
    Arc::new(texts.collect::<StringArray>())
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Nested values as JSON, of which one can tell what they hold, unless it has no form for their
/// type; all others as Arrow shows them.
fn as_csv(array: &ArrayRef) -> Result<(ArrayRef, Form), ArrowError> {
    let field = Arc::new(Field::new("value", array.data_type().clone(), true));
    if !array.data_type().is_nested() || as_json(&new_empty_array(array.data_type()), &field).is_err() {
        return shown(array);
    }
    as_json(array, &field).map(|(texts, _)| (texts, Form::Text))
}

/// Nested values as JSON; all others as Arrow shows them.
fn as_json(array: &ArrayRef, field: &FieldRef) -> Result<(ArrayRef, Form), ArrowError> {
    if !array.data_type().is_nested() {
        return shown(array);
    }
    check_times(array)?;
    let options = json_floats::options();
    let mut encoder = make_encoder(field, array, &options)?;
    let mut buffer = Vec::new();
    let token = |row: usize| {
        if encoder.is_null(row) {
            return Ok(None);
        }
        buffer.clear();
        encoder.encode(row, &mut buffer);
        Ok(Some(std::str::from_utf8(&buffer)?.to_owned()))
    };
    let tokens = (0..array.len()).map(token).collect::<Result<StringArray, ArrowError>>()?;
    // Such as a null of any other type, it is there: who reads the first lines alone learns of it.
    Ok((Arc::new(tokens), Form::ValueToken))
}

fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_digits(out, value.unsigned_abs());
}

pub(crate) fn push_digits(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // A remainder by 10 fits a byte.
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn push_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    out.extend_from_slice(value.to_string().as_bytes());
}

fn push_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// The shortest exact form: no zeros at the end, no point without digits.
fn push_decimal(out: &mut Vec<u8>, units: i128, scale: i8) {
    if units < 0 {
        out.push(b'-');
    }
    let mut units = units.unsigned_abs();
    let mut scale = scale;
    while scale > 0 && units.is_multiple_of(10) {
        units /= 10;
        scale -= 1;
    }
    let start = out.len();
    match u64::try_from(units) {
        Ok(small) => push_digits(out, small),
        Err(_) => push_display(out, units),
    }
    if units != 0 {
        out.extend((scale..0).map(|_| b'0'));
    }
    if let Ok(scale @ 1..) = usize::try_from(scale) {
        let missing = (scale + 1).saturating_sub(out.len() - start);
        out.splice(start..start, std::iter::repeat_n(b'0', missing));
        out.insert(out.len() - scale, b'.');
    }
}

fn push_day(out: &mut Vec<u8>, days: i64) {
    match i32::try_from(days).ok().and_then(NaiveDate::from_epoch_days) {
        Some(date) if (0..=9999).contains(&date.year()) => {
            push_padded(out, date.year().unsigned_abs(), 4);
            out.push(b'-');
            push_padded(out, date.month(), 2);
            out.push(b'-');
            push_padded(out, date.day(), 2);
        }
        Some(date) => push_display(out, date),
        // No calendar has a name for it.
        None => push_i64(out, days),
    }
}

/// RFC 3339 in UTC, with as many digits behind the second as it takes; years beyond four digits
/// with a sign, as ISO 8601 has them.
fn push_time(out: &mut Vec<u8>, ticks: i64, unit: TimeUnit) {
    let (per_second, digits) = per_second(unit);
    let (seconds, mut fraction) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    if i32::try_from(days).ok().and_then(NaiveDate::from_epoch_days).is_none() {
        // Not the number alone, which would be read as nanoseconds.
        push_i64(out, ticks);
        let unit = match unit {
            TimeUnit::Second => "s",
            TimeUnit::Millisecond => "ms",
            TimeUnit::Microsecond => "us",
            TimeUnit::Nanosecond => "ns",
        };
        return out.extend_from_slice(unit.as_bytes());
    }
    push_day(out, days);
    // Below 86,400.
    let second = second as u32;
    for (mark, part) in [(b'T', second / 3_600), (b':', second / 60 % 60), (b':', second % 60)] {
        out.push(mark);
        push_padded(out, part, 2);
    }
    if fraction != 0 {
        let mut width = digits;
        while fraction % 10 == 0 {
            fraction /= 10;
            width -= 1;
        }
        out.push(b'.');
        // Below 1,000,000,000.
        push_padded(out, fraction as u32, width);
    }
    out.push(b'Z');
}

fn push_padded(out: &mut Vec<u8>, value: u32, width: usize) {
    let end = out.len() + width;
    out.resize(end, b'0');
    let mut rest = value;
    for digit in out[end - width..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_by(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = b"x".to_vec();
        write(&mut out);
        String::from_utf8(out).expect("ascii")[1..].to_owned()
    }

    #[test]
    fn decimals_are_shortest_and_exact() {
        for (units, scale, expected) in [
            (1_700_000_000, 9, "1.7"),
            (0, 9, "0"),
            (-5, 3, "-0.005"),
            (-5, 0, "-5"),
            (12, -2, "1200"),
            (0, -2, "0"),
            (250, 2, "2.5"),
            (100, 2, "1"),
            (i128::MIN, 1, "-17014118346046923173168730371588410572.8"),
        ] {
            assert_eq!(shown_by(|out| push_decimal(out, units, scale)), expected);
        }
    }

    #[test]
    fn times_have_the_digits_they_need() {
        for (ticks, unit, expected) in [
            (1_402_061_400_000_000_000, TimeUnit::Nanosecond, "2014-06-06T13:30:00Z"),
            (1_402_061_400_120_000_000, TimeUnit::Nanosecond, "2014-06-06T13:30:00.12Z"),
            (-1, TimeUnit::Nanosecond, "1969-12-31T23:59:59.999999999Z"),
            (5, TimeUnit::Millisecond, "1970-01-01T00:00:00.005Z"),
            (253_402_300_800_000, TimeUnit::Millisecond, "+10000-01-01T00:00:00Z"),
            (-62_198_755_200, TimeUnit::Second, "-0001-01-01T00:00:00Z"),
            (i64::MAX, TimeUnit::Second, "9223372036854775807s"),
        ] {
            assert_eq!(shown_by(|out| push_time(out, ticks, unit)), expected);
        }
        assert_eq!(shown_by(|out| push_day(out, 20_030)), "2024-11-03");
    }
}
