//! Values of an Arrow type out of JSON tokens, as a table of typed columns holds them.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray,
};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use arrow_schema::{ArrowError, DataType, Field, TimeUnit};
use tradejoin_model::ParseFieldError;

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
            let (_, fraction) = text.split_once('.').unwrap_or((&text, ""));
            let scale = usize::try_from(*scale).unwrap_or(0);
            let digits = fraction.trim_end_matches('0').len();
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
            match (is_plain, digits > scale) {
                (false, _) => Err(ParseFieldError::NotADecimal.into()),
                (true, true) => Err(ParseFieldError::TooManyDecimals { scale: scale as u32 }.into()),
                (true, false) => Ok(()),
            }
        }
        _ => Ok(()),
    }
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
    fn a_bad_value_does_not_spoil_the_next() {
        let ty = DataType::Date32;
        let codec = Arc::new(ValueCodec::new(&ty).expect("a type that is held"));
        let mut values = JsonValues::new(&ty, codec).expect("a type of JSON");
        let good = values.read("\"2024-11-03\"");
        assert!(good.is_ok() && values.read("\"x\"").is_err() && values.read("[").is_err());
        assert_eq!(values.read("\"2024-11-03\""), good);
    }
}
