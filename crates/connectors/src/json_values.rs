//! Values of an Arrow type out of JSON tokens, as a table of typed columns holds them.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray,
};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use arrow_schema::{ArrowError, DataType, Field, TimeUnit};
use chrono::{NaiveTime, Timelike as _};
use tradejoin_model::ParseFieldError;

use crate::arrow_times::per_second;
use crate::flaw::Reason;
use crate::parse::{self, json_text};
use crate::values::ValueCodec;

/// Reads values of one type, one at a time, as the engine holds them.
pub(crate) struct JsonValues {
    arrays: JsonArrays,
    codec: Arc<ValueCodec>,
}

impl JsonValues {
    /// # Errors
    /// If JSON has no values of the type.
    pub(crate) fn new(ty: &DataType, codec: Arc<ValueCodec>) -> Result<Self, ArrowError> {
        Ok(Self { arrays: JsonArrays::new(ty)?, codec })
    }

    /// The bytes of the value that a token stands for, which is not null.
    pub(crate) fn read(&mut self, token: &str) -> Result<Vec<u8>, Reason> {
        let array = self.arrays.read(token)?;
        let rows = self.codec.encode(&array).map_err(|error| not_of_type(&self.arrays.ty, &error))?;
        Ok(rows.row(0).data().to_vec())
    }
}

/// Reads values of one type, each as an array of its own.
pub(crate) struct JsonArrays {
    ty: DataType,
    /// `None` for times, which are read as everywhere.
    decoder: Option<Decoder>,
}

impl JsonArrays {
    /// # Errors
    /// If JSON has no values of the type.
    pub(crate) fn new(ty: &DataType) -> Result<Self, ArrowError> {
        Ok(Self { ty: ty.clone(), decoder: decoder(ty)? })
    }

    /// The value that a token stands for, which is not null.
    pub(crate) fn read(&mut self, token: &str) -> Result<ArrayRef, Reason> {
        let array = match (&self.ty, &mut self.decoder) {
            (DataType::Timestamp(unit, zone), _) => time(token, *unit, zone.as_ref()).map(Ok)?,
            (ty, Some(decoder)) => {
                check(ty, token)?;
                decode(decoder, token)
            }
            (_, None) => Err(ArrowError::JsonError("no value".to_owned())),
        };
        array.map_err(|error| {
            // What it was in the midst of is no use.
            self.decoder = decoder(&self.ty).unwrap_or_default();
            not_of_type(&self.ty, &error)
        })
    }
}

fn not_of_type(ty: &DataType, error: &ArrowError) -> Reason {
    Reason::NotOfType(format!("{ty}: {error}"))
}

fn decoder(ty: &DataType) -> Result<Option<Decoder>, ArrowError> {
    if matches!(ty, DataType::Timestamp(..)) {
        return Ok(None);
    }
    ReaderBuilder::new_with_field(Field::new("value", ty.clone(), true)).build_decoder().map(Some)
}

fn decode(decoder: &mut Decoder, token: &str) -> Result<ArrayRef, ArrowError> {
    // A number has no end of its own.
    for part in [token.as_bytes(), b"\n"] {
        decoder.decode(part)?;
    }
    let batch = decoder.flush()?.filter(|batch| batch.num_rows() == 1);
    let batch = batch.ok_or_else(|| ArrowError::JsonError("no value".to_owned()))?;
    Ok(Arc::clone(batch.column(0)))
}

/// A time of RFC 3339 or nanoseconds, in the unit of its column.
fn time(token: &str, unit: TimeUnit, zone: Option<&Arc<str>>) -> Result<ArrayRef, Reason> {
    let nanoseconds = parse::timestamp(&json_text(token).unwrap_or_default())?;
    let of_unit = |nanoseconds_of_one: i64| {
        let is_exact = nanoseconds % nanoseconds_of_one == 0;
        is_exact.then(|| vec![nanoseconds / nanoseconds_of_one]).ok_or(Reason::TooFine)
    };
    let zone = zone.cloned();
    Ok(match unit {
        TimeUnit::Second => {
            Arc::new(TimestampSecondArray::from(of_unit(1_000_000_000)?).with_timezone_opt(zone))
        }
        TimeUnit::Millisecond => {
            Arc::new(TimestampMillisecondArray::from(of_unit(1_000_000)?).with_timezone_opt(zone))
        }
        TimeUnit::Microsecond => {
            Arc::new(TimestampMicrosecondArray::from(of_unit(1_000)?).with_timezone_opt(zone))
        }
        TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::from(of_unit(1)?).with_timezone_opt(zone)),
    })
}

/// Refuses what would be rounded without a word.
fn check(ty: &DataType, token: &str) -> Result<(), Reason> {
    let text = json_text(token).unwrap_or_default();
    let is_text = token.starts_with('"');
    match ty {
        ty if ty.is_integer() => {
            let digits = text.strip_prefix('-').unwrap_or(&text);
            let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if is_whole { Ok(()) } else { Err(Reason::NotAnInteger) }
        }
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            let zeros = usize::try_from(-i32::from(*scale)).unwrap_or(0);
            let digits = whole.trim_start_matches(['-', '0']);
            if !digits.is_empty() && digits.len() - digits.trim_end_matches('0').len() < zeros {
                return Err(not_one(ty, "it has digits that the scale leaves out"));
            }
            let scale = usize::try_from(*scale).unwrap_or(0);
            let digits = fraction.trim_end_matches('0').len();
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
            match (is_plain, digits > scale) {
                (false, _) => Err(ParseFieldError::NotADecimal.into()),
                (true, true) => Err(ParseFieldError::TooManyDecimals { scale: scale as u32 }.into()),
                (true, false) => Ok(()),
            }
        }
        DataType::Date32 => parse::day(&text).map(drop),
        DataType::Date64 if !is_text => whole_number(ty, &text).map(drop),
        DataType::Date64 => check_fraction(&text, 3),
        DataType::Time32(unit) | DataType::Time64(unit) => time_of_day(ty, *unit, &text, is_text),
        DataType::Duration(_) if !is_text => whole_number(ty, &text).map(drop),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
            if !text.len().is_multiple_of(2) =>
        {
            Err(not_one(ty, "two hexadecimal digits are a byte"))
        }
        ty if ty.is_floating() && !is_text => {
            // The greatest float of 16 bits, and half of what would be between it and the next.
            let is_beyond = match ty {
                DataType::Float16 => text.parse().is_ok_and(|value: f64| value.abs() >= 65_520.0),
                DataType::Float32 => text.parse().is_ok_and(f32::is_infinite),
                _ => text.parse().is_ok_and(f64::is_infinite),
            };
            if is_beyond { Err(not_one(ty, "it is beyond the greatest")) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn not_one(ty: &DataType, why: &str) -> Reason {
    Reason::NotOfType(format!("{ty}: {why}"))
}

fn whole_number(ty: &DataType, text: &str) -> Result<i64, Reason> {
    text.parse().map_err(|_| not_one(ty, "it is not a whole number"))
}

/// Refuses a time of day that is none, or finer than its unit.
fn time_of_day(ty: &DataType, unit: TimeUnit, text: &str, is_text: bool) -> Result<(), Reason> {
    let (per_second, digits) = per_second(unit);
    let not_of_day = || not_one(ty, "it is no time of day");
    if !is_text {
        let of_day = 0..86_400 * per_second;
        return if of_day.contains(&whole_number(ty, text)?) { Ok(()) } else { Err(not_of_day()) };
    }
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S%.f").map_err(|_| not_of_day())?;
    // A second of 60 is none of a day.
    if time.nanosecond() >= 1_000_000_000 {
        return Err(not_of_day());
    }
    check_fraction(text, digits)
}

/// Refuses more digits behind a second than there may be; zeros at their end say nothing.
fn check_fraction(text: &str, digits_max: usize) -> Result<(), Reason> {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let end = fraction.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(fraction.len());
    if fraction[..end].trim_end_matches('0').len() > digits_max { Err(Reason::TooFine) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Decimal128Type, Int32Type, TimestampMillisecondType};
    use tradejoin_model::{Column, TextColumn};

    use super::*;
    use crate::output::AddedColumn;
    use crate::values::{AddedValues, ValueEncoding};

    fn read(ty: &DataType, token: &str) -> Result<ArrayRef, Reason> {
        let codec = Arc::new(ValueCodec::new(ty).expect("a type that is held"));
        let bytes = JsonValues::new(ty, codec).expect("a type of JSON").read(token)?;
        let mut column = TextColumn::default();
        column.push_bytes(Some(&bytes));
        let added = AddedColumn {
            name: "v".to_owned(),
            column_type: tradejoin_model::ColumnType::Bytes,
            encoding: ValueEncoding::Arrow(ty.clone()),
            index: 0,
        };
        let values = AddedValues::new(&added).expect("a type that is held");
        Ok(values.to_arrow(&Column::Text(column)).expect("decoded"))
    }

    #[test]
    fn values_have_their_type_and_are_never_rounded() {
        let of = |array: ArrayRef| array.as_primitive::<Int32Type>().value(0);
        assert_eq!(read(&DataType::Int32, "-7").map(of), Ok(-7));
        assert_eq!(read(&DataType::Int32, "1.5").map(of), Err(Reason::NotAnInteger));
        assert!(matches!(read(&DataType::Int32, "99999999999").map(of), Err(Reason::NotOfType(_))));
        let decimal = DataType::Decimal128(10, 2);
        let of = |array: ArrayRef| array.as_primitive::<Decimal128Type>().value(0);
        assert_eq!(read(&decimal, "1.70").map(of), Ok(170));
        assert!(read(&decimal, "1.705").is_err() && read(&decimal, "\"x\"").is_err());
        let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let of = |array: ArrayRef| array.as_primitive::<TimestampMillisecondType>().value(0);
        assert_eq!(read(&time, "\"1970-01-01T00:00:00.005Z\"").map(of), Ok(5));
        assert_eq!(read(&time, "\"1970-01-01T00:00:00.0005Z\"").map(of), Err(Reason::TooFine));
        assert!(read(&DataType::Boolean, "true").is_ok_and(|array| array.as_boolean().value(0)));
        let lists = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        assert!(read(&lists, "[1,null]").is_ok_and(|array| array.as_list::<i32>().value(0).len() == 2));
    }

    #[test]
    fn values_that_their_type_cannot_hold_as_they_are_are_refused() {
        use DataType::{Date32, Date64, Duration, Float16, Float32, Float64, Time32, Time64};
        use TimeUnit::{Microsecond, Millisecond, Second};
        for (ty, good, bad) in [
            (Date32, "\"2024-11-03\"", &["\"2024-11-03T23:30:00-05:00\"", "20000.7", "20000"][..]),
            (Date64, "\"2024-11-03T12:00:00.001Z\"", &["\"2024-11-03T12:00:00.0009Z\"", "1.5"]),
            (Date64, "\"2024-11-03T12:00:00.0010+00:00\"", &["\"2024-11-03T12:00:00.0009+00:00\""]),
            (
                Time32(Second),
                "\"09:30:00.0\"",
                &["\"09:30:00.75\"", "34200.75", "86400", "-1", "\"23:59:60\""],
            ),
            (Time32(Millisecond), "\"09:30:00.001\"", &["\"09:30:00.0005\"", "\"24:00:00\""]),
            (Time64(Microsecond), "34200000001", &["\"09:30:00.0000009\"", "\"x\""]),
            (Duration(Millisecond), "1500", &["1.5"]),
            (DataType::Decimal128(5, -2), "1200", &["1230", "5"]),
            (DataType::Binary, "\"ab0c\"", &["\"abc\""]),
            (Float64, "1e308", &["1e309"]),
            (Float32, "3.4e38", &["1e40", "-1e40"]),
            (Float16, "65504", &["70000"]),
        ] {
            assert!(read(&ty, good).is_ok(), "{ty}: {good}: {:?}", read(&ty, good));
            for token in bad {
                assert!(read(&ty, token).is_err(), "{ty}: {token} is {:?}", read(&ty, token));
            }
        }
        assert!(read(&DataType::Decimal128(5, -2), "0").is_ok());
    }

    #[test]
    fn a_bad_value_does_not_spoil_the_next() {
        let ty = DataType::Date32;
        let codec = Arc::new(ValueCodec::new(&ty).expect("a type that is held"));
        let mut values = JsonValues::new(&ty, codec).expect("a type of JSON");
        let good = values.read("\"2024-11-03\"");
        assert!(good.is_ok() && values.read("\"x\"").is_err() && values.read("[").is_err());
        assert_eq!(values.read("\"2024-11-03\""), good);
    }
}
