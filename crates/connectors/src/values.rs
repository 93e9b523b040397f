//! Values of any type in the columns of the engine.

use arrow_array::{ArrayRef, new_null_array};
use arrow_cast::cast;
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{ArrowError, DataType};
use tradejoin_model::{Column, ColumnType, TextColumn};

use crate::columnar_encoder::plain_type;
use crate::output::AddedColumn;

/// What the values of a column stand for, beside their [`ColumnType`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ValueEncoding {
    /// Themselves.
    #[default]
    Plain,
    /// Each text is a JSON token as it stood in the file: an output of JSON has it
    /// as it is, others have the text that it stands for.
    JsonToken,
    /// [`ColumnType::Bytes`] are values of this Arrow type, each in the row format
    /// of Arrow: exact for every type, and short ones take no more room than a text
    /// does.
    Arrow(DataType),
}

/// How the columns of a typed file are held: texts as texts, any other type in
/// its encoding.
pub(crate) fn held_as(ty: &DataType) -> (ColumnType, ValueEncoding) {
    match plain_type(ty).into_owned() {
        DataType::Utf8 => (ColumnType::Text, ValueEncoding::Plain),
        other => (ColumnType::Bytes, ValueEncoding::Arrow(other)),
    }
}

/// Values of one Arrow type as bytes, and back.
pub(crate) struct ValueCodec {
    ty: DataType,
    converter: RowConverter,
    null: Vec<u8>,
}

impl ValueCodec {
    pub(crate) fn new(ty: &DataType) -> Result<Self, ArrowError> {
        let converter = RowConverter::new(vec![SortField::new(ty.clone())])?;
        let null = converter.convert_columns(&[new_null_array(ty, 1)])?.row(0).data().to_vec();
        Ok(Self { ty: ty.clone(), converter, null })
    }

    /// The bytes of each value.
    pub(crate) fn encode(&self, values: &ArrayRef) -> Result<Rows, ArrowError> {
        let plain = if *values.data_type() == self.ty { values.clone() } else { cast(values, &self.ty)? };
        self.converter.convert_columns(&[plain])
    }

    fn decode(&self, bytes: &TextColumn) -> Result<ArrayRef, ArrowError> {
        let parser = self.converter.parser();
        let rows = (0..bytes.len()).map(|row| parser.parse(bytes.get(row).unwrap_or(&self.null)));
        let mut columns = self.converter.convert_rows(rows)?;
        columns.pop().ok_or_else(|| ArrowError::InvalidArgumentError("no column".to_owned()))
    }
}

/// What it takes to make values of an added column of what the engine holds.
pub(crate) enum AddedValues {
    Plain(ColumnType),
    Token,
    Arrow(ValueCodec),
}

impl AddedValues {
    pub(crate) fn new(column: &AddedColumn) -> Result<Self, ArrowError> {
        Ok(match &column.encoding {
            ValueEncoding::Plain => Self::Plain(column.column_type),
            ValueEncoding::JsonToken => Self::Token,
            ValueEncoding::Arrow(ty) => Self::Arrow(ValueCodec::new(ty)?),
        })
    }

    pub(crate) fn of_all(added: &[AddedColumn]) -> Result<Vec<Self>, ArrowError> {
        added.iter().map(Self::new).collect()
    }

    /// The type of the column where columns have types.
    pub(crate) fn arrow_type(&self) -> DataType {
        match self {
            Self::Plain(ty) => ty.arrow(),
            Self::Token => DataType::Utf8,
            Self::Arrow(codec) => codec.ty.clone(),
        }
    }

    /// Whether the values become an array before they are shown as text.
    pub(crate) fn is_shown_of_array(&self) -> bool {
        matches!(self, Self::Arrow(_))
    }

    /// The values in that type.
    ///
    /// # Panics
    /// If they are of 2 GiB or more.
    pub(crate) fn to_arrow(&self, column: &Column) -> Result<ArrayRef, ArrowError> {
        match (self, column) {
            (Self::Plain(ty), column) => Ok(column.to_arrow(*ty)),
            (Self::Token, Column::Text(tokens)) => Ok(crate::render::token_texts(tokens)),
            (Self::Arrow(codec), Column::Text(bytes)) => codec.decode(bytes),
            _ => unreachable!("tokens and encoded values are held as texts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
    use arrow_array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int8Array,
        Int64Array, LargeStringArray, StructArray, TimestampMillisecondArray, UInt64Array, types::Int8Type,
    };
    use arrow_schema::Field;

    use super::*;

    fn arrays() -> Vec<ArrayRef> {
        let mut lists = ListBuilder::new(Int32Builder::new());
        lists.append_value([Some(1), None]);
        lists.append_null();
        lists.append_value([]);
        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        maps.keys().append_value("a");
        maps.values().append_value(1);
        maps.append(true).expect("an entry");
        maps.append(false).expect("none");
        maps.append(true).expect("empty");
        let field = Arc::new(Field::new("n", DataType::Int64, true));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let dictionary: DictionaryArray<Int8Type> = vec![Some("x"), None, Some("y")].into_iter().collect();
        vec![
            Arc::new(Int8Array::from(vec![Some(-1), None, Some(i8::MIN)])),
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)])),
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)])),
            Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(f64::INFINITY)])),
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
            Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)])),
            Arc::new(TimestampMillisecondArray::from(vec![Some(1), None, Some(-1)]).with_timezone("+02:00")),
            Arc::new(
                Decimal128Array::from(vec![Some(10_i128.pow(30)), None, Some(-7)])
                    .with_precision_and_scale(38, 4)
                    .expect("fits"),
            ),
            Arc::new(BinaryArray::from(vec![Some(&b"\xff\x00"[..]), None, Some(&[7; 100][..])])),
            Arc::new(LargeStringArray::from(vec![Some(""), None, Some("a text longer than any view is")])),
            Arc::new(dictionary),
            Arc::new(lists.finish()),
            Arc::new(maps.finish()),
            Arc::new(StructArray::from(vec![(field, numbers)])),
        ]
    }

    #[test]
    fn values_of_every_type_come_back_in_it() {
        for array in arrays() {
            let (_, encoding) = held_as(array.data_type());
            let ty = match encoding {
                ValueEncoding::Arrow(ty) => ty,
                _ => continue,
            };
            let codec = ValueCodec::new(&ty).expect("a type that is held");
            let rows = codec.encode(&array).expect("encoded");
            let mut bytes = TextColumn::default();
            rows.iter().for_each(|row| bytes.push_bytes(Some(row.data())));
            bytes.push_bytes(None);
            let back = codec.decode(&bytes).expect("decoded");
            assert_eq!((back.data_type(), back.len()), (&ty, 4));
            assert_eq!(&back.slice(0, 3), &cast(&array, &ty).expect("plain"), "{ty}");
            assert!(back.is_null(3), "{ty}");
        }
    }
}
