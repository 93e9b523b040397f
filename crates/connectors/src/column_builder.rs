//! One column of trades out of cells of text.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    Decimal128Builder, StringBuilder, TimestampNanosecondBuilder, UInt32Builder, UInt64Builder,
};
use tradejoin_model::{KnownKind, Price, UTC};

use crate::flaw::Reason;
use crate::parse::{self, Dialect};
use crate::trade_layout::Fields;

/// A value of a typed column, or that there is none; texts are not held here.
pub(crate) enum Value {
    Text,
    Null,
    U32(u32),
    U64(u64),
    Decimal(i128),
    Timestamp(i64),
}

pub(crate) enum ColumnBuilder {
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
    pub(crate) fn new(kind: KnownKind, dialect: Dialect, fields: Fields) -> Self {
        match (fields, kind) {
            (Fields::AsText | Fields::InRecord, _) if dialect == Dialect::Json => {
                Self::Token(StringBuilder::new())
            }
            (Fields::AsText | Fields::InRecord, _) => Self::Raw(StringBuilder::new()),
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

    pub(crate) fn check(&self, dialect: Dialect, raw: &str) -> Result<Value, (String, Reason)> {
        if matches!(self, Self::Raw(_) | Self::Token(_) | Self::Text(_)) {
            return Ok(Value::Text);
        }
        let Some(text) = dialect.text(raw) else { return Ok(Value::Null) };
        // An empty text is no value in any dialect: so a CSV field comes out as JSON.
        if text.is_empty() {
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

    pub(crate) fn append(&mut self, dialect: Dialect, raw: &str, value: &Value) {
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

    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Raw(builder) | Self::Token(builder) | Self::Text(builder) => Arc::new(builder.finish()),
            Self::Id(builder) => Arc::new(builder.finish()),
            Self::Number(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
        }
    }
}
