//! Columns of trades out of rows of text.

use std::sync::Arc;

use arrow_array::builder::{
    Decimal128Builder, StringBuilder, TimestampNanosecondBuilder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use tradejoin_model::{INSTRUMENT_ID, KnownKind, Price, TRADE_COLUMNS, UTC};

use crate::error::{Flaw, OpenError, Reason};
use crate::header::Header;
use crate::parse::{self, Dialect};

/// Under this key the metadata of a text field says how its cells are written:
/// [`ENCODING_CSV`] or [`ENCODING_JSON`]. Without it they are plain values.
pub const ENCODING_KEY: &str = "tradejoin.encoding";
/// The cell is the content of a CSV field.
pub const ENCODING_CSV: &str = "csv";
/// The cell is a JSON token as it stood in the file; null means that the object
/// has no such member.
pub const ENCODING_JSON: &str = "json";

/// What to make of the fields of trades that come as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// They pass as they came in; only keys are interpreted. For an output that
    /// is text itself.
    #[default]
    AsText,
    /// Known columns get their types. For an output with types.
    Typed,
}

/// A column of trades that is the key of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyColumn {
    pub(crate) column: usize,
    /// Whether each trade must have one.
    pub(crate) required: bool,
}

impl KeyColumn {
    /// The key columns of tables, in their order.
    pub(crate) fn find(
        source_name: &Arc<str>,
        header: &Header,
        key_columns: &[String],
    ) -> Result<Vec<Self>, OpenError> {
        let find = |name: &String| {
            let column = header.require(source_name, name, TRADE_COLUMNS)?;
            Ok(Self { column, required: header.names[column] == INSTRUMENT_ID })
        };
        key_columns.iter().map(find).collect()
    }
}

/// Collects trades, row by row.
pub(crate) struct TradeBuilder {
    header: Header,
    schema: SchemaRef,
    dialect: Dialect,
    keys: Vec<KeyColumn>,
    key_builders: Vec<UInt32Builder>,
    columns: Vec<ColumnBuilder>,
    /// The row that is being checked: nothing is appended before all of it is
    /// good.
    row_keys: Vec<Option<u32>>,
    row: Vec<Value>,
    rows: usize,
    text_bytes: usize,
}

impl TradeBuilder {
    /// Bytes of text at which a block is full, whatever its rows.
    const TEXT_BYTES_MAX: usize = 64 << 20;

    pub(crate) fn new(header: Header, dialect: Dialect, fields: Fields, keys: Vec<KeyColumn>) -> Self {
        let kinds = (0..header.names.len()).map(|column| header.kind(column));
        let columns: Vec<_> = kinds.map(|kind| ColumnBuilder::new(kind, dialect, fields)).collect();
        let field = |(name, column): (&String, &ColumnBuilder)| {
            let field = Field::new(name, column.data_type(), true);
            match (fields, dialect) {
                (Fields::Typed, _) => field,
                (Fields::AsText, Dialect::Csv) => marked(field, ENCODING_CSV),
                (Fields::AsText, Dialect::Json) => marked(field, ENCODING_JSON),
            }
        };
        let schema = Schema::new(header.names.iter().zip(&columns).map(field).collect::<Vec<_>>());
        Self {
            schema: Arc::new(schema),
            dialect,
            key_builders: keys.iter().map(|_| UInt32Builder::new()).collect(),
            row_keys: Vec::with_capacity(keys.len()),
            row: Vec::with_capacity(columns.len()),
            keys,
            columns,
            header,
            rows: 0,
            text_bytes: 0,
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn columns(&self) -> &[String] {
        &self.header.names
    }

    pub(crate) fn key_count(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    pub(crate) fn is_full(&self, batch_len: usize) -> bool {
        self.rows >= batch_len || self.text_bytes >= Self::TEXT_BYTES_MAX
    }

    /// Appends a row, or nothing if it is bad.
    pub(crate) fn push<'a>(&mut self, cell: impl Fn(usize) -> &'a str) -> Result<(), Flaw> {
        let Self { header, dialect, keys, columns, row_keys, row, .. } = self;
        row_keys.clear();
        row.clear();
        for key in keys.iter() {
            row_keys.push(parse_key(&header.names[key.column], *dialect, cell(key.column), key.required)?);
        }
        for (i, column) in columns.iter().enumerate() {
            let raw = cell(i);
            let value = column.check(*dialect, raw);
            row.push(value.map_err(|(text, reason)| Flaw::cell(&header.names[i], &text, reason))?);
        }
        for (builder, &key) in self.key_builders.iter_mut().zip(&self.row_keys) {
            builder.append_option(key);
        }
        for (i, (column, value)) in self.columns.iter_mut().zip(&self.row).enumerate() {
            let raw = cell(i);
            self.text_bytes += raw.len();
            column.append(self.dialect, raw, value);
        }
        self.rows += 1;
        Ok(())
    }

    /// The rows so far and their keys by table; begins anew.
    pub(crate) fn finish(&mut self) -> Result<(RecordBatch, Vec<UInt32Array>), ArrowError> {
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.text_bytes = 0;
        let trades = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok((trades, self.key_builders.iter_mut().map(UInt32Builder::finish).collect()))
    }
}

fn marked(field: Field, encoding: &str) -> Field {
    field.with_metadata([(ENCODING_KEY.to_owned(), encoding.to_owned())])
}

/// The key in a cell; `None` if it is empty and need not be there.
pub(crate) fn parse_key(
    column: &str,
    dialect: Dialect,
    raw: &str,
    required: bool,
) -> Result<Option<u32>, Flaw> {
    match dialect.text(raw).filter(|text| !text.is_empty() || (dialect == Dialect::Json && !raw.is_empty())) {
        Some(text) => match parse::id(&text) {
            Ok(key) => Ok(Some(key)),
            Err(reason) => Err(Flaw::cell(column, &text, reason)),
        },
        None if required => Err(Flaw::empty(column)),
        None => Ok(None),
    }
}

/// A value of a typed column, or that there is none; texts are not held here.
enum Value {
    Text,
    Null,
    U32(u32),
    U64(u64),
    Decimal(i128),
    Timestamp(i64),
}

enum ColumnBuilder {
    /// The cell as it is.
    Raw(StringBuilder),
    /// The cell as it is; null if it is empty.
    Token(StringBuilder),
    /// The text that the cell stands for.
    Text(StringBuilder),
    Id(UInt32Builder),
    Number(UInt64Builder),
    Decimal(Decimal128Builder),
    Timestamp(TimestampNanosecondBuilder),
}

impl ColumnBuilder {
    fn new(kind: KnownKind, dialect: Dialect, fields: Fields) -> Self {
        match (fields, kind) {
            (Fields::AsText, _) if dialect == Dialect::Json => Self::Token(StringBuilder::new()),
            (Fields::AsText, _) => Self::Raw(StringBuilder::new()),
            (_, KnownKind::Id) => Self::Id(UInt32Builder::new()),
            (_, KnownKind::TradeNumber) => Self::Number(UInt64Builder::new()),
            (_, KnownKind::Decimal) => {
                Self::Decimal(Decimal128Builder::new().with_data_type(KnownKind::Decimal.arrow()))
            }
            (_, KnownKind::Timestamp) => {
                Self::Timestamp(TimestampNanosecondBuilder::new().with_timezone(UTC))
            }
            // No other kind stands among the columns of trades.
            _ => Self::Text(StringBuilder::new()),
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Raw(_) | Self::Token(_) | Self::Text(_) => DataType::Utf8,
            Self::Id(_) => KnownKind::Id.arrow(),
            Self::Number(_) => KnownKind::TradeNumber.arrow(),
            Self::Decimal(_) => KnownKind::Decimal.arrow(),
            Self::Timestamp(_) => KnownKind::Timestamp.arrow(),
        }
    }

    fn check(&self, dialect: Dialect, raw: &str) -> Result<Value, (String, Reason)> {
        if matches!(self, Self::Raw(_) | Self::Token(_) | Self::Text(_)) {
            return Ok(Value::Text);
        }
        let Some(text) = dialect.text(raw) else { return Ok(Value::Null) };
        if text.is_empty() && dialect == Dialect::Csv {
            return Ok(Value::Null);
        }
        let value = match self {
            Self::Id(_) => parse::id(&text).map(Value::U32),
            Self::Number(_) => parse::trade_number(&text).map(Value::U64),
            Self::Decimal(_) => {
                text.parse::<Price>().map(|price| Value::Decimal(price.units())).map_err(Reason::from)
            }
            Self::Timestamp(_) => parse::timestamp(&text).map(Value::Timestamp),
            Self::Raw(_) | Self::Token(_) | Self::Text(_) => Ok(Value::Text),
        };
        value.map_err(|reason| (text.into_owned(), reason))
    }

    fn append(&mut self, dialect: Dialect, raw: &str, value: &Value) {
        match (self, value) {
            (Self::Raw(builder), _) => builder.append_value(raw),
            (Self::Token(builder), _) => builder.append_option((!raw.is_empty()).then_some(raw)),
            (Self::Text(builder), _) => builder.append_option(dialect.text(raw)),
            (Self::Id(builder), Value::U32(value)) => builder.append_value(*value),
            (Self::Id(builder), _) => builder.append_null(),
            (Self::Number(builder), Value::U64(value)) => builder.append_value(*value),
            (Self::Number(builder), _) => builder.append_null(),
            (Self::Decimal(builder), Value::Decimal(value)) => builder.append_value(*value),
            (Self::Decimal(builder), _) => builder.append_null(),
            (Self::Timestamp(builder), Value::Timestamp(value)) => builder.append_value(*value),
            (Self::Timestamp(builder), _) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Raw(builder) | Self::Token(builder) | Self::Text(builder) => Arc::new(builder.finish()),
            Self::Id(builder) => Arc::new(builder.finish()),
            Self::Number(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
        }
    }
}
