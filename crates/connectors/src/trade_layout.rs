//! What the columns of trades are, and what becomes of them.

use std::sync::Arc;

use arrow_array::UInt32Array;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tradejoin_model::{INSTRUMENT_ID, Keys, KnownKind, TIMESTAMP, TRADE_COLUMNS, TextColumn};

use crate::error::OpenError;
use crate::flaw::Flaw;
use crate::header::Header;
use crate::mode::AS_OF_TRADE;
use crate::parse::{self, Dialect};
use crate::table_def::TradeKey;
use crate::text_encoder::json_name;

/// Under this key the metadata of a text field says how its cells are written:
/// [`ENCODING_CSV`] or [`ENCODING_JSON`]. Without it they are plain values.
pub const ENCODING_KEY: &str = "tradejoin.encoding";
/// The cell is the content of a CSV field.
pub const ENCODING_CSV: &str = "csv";
/// The cell is a JSON token as it stood in the file; null means that the object
/// has no such member.
pub const ENCODING_JSON: &str = "json";

/// Under this key the metadata of a block's schema says that its one column holds
/// whole records: those of [`ENCODING_CSV`] or [`ENCODING_JSON`] as an output of
/// that format has them, but for the end of the line.
pub(crate) const RECORDS_KEY: &str = "tradejoin.records";

/// What to make of the fields of trades that come as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// They pass as they came in; only keys are interpreted. For an output that
    /// is text itself.
    #[default]
    AsText,
    /// They pass with their record as a whole; only keys are interpreted. For an
    /// output of the same text format. A block then has one column, of records,
    /// and its source's schema tells their fields.
    InRecord,
    /// Known columns get their types. For an output with types.
    Typed,
}

/// A column of trades that is the id of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyColumn {
    pub(crate) column: usize,
    /// Whether each trade must have one.
    pub(crate) required: bool,
}

/// Where the keys of all tables stand in trades.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyColumns {
    /// The ids, in the order of their tables.
    pub(crate) ids: Vec<KeyColumn>,
    /// The columns of each key that is a text, in the order of their tables.
    pub(crate) texts: Vec<Vec<usize>>,
    /// Of each table in order, whether its key is a text.
    pub(crate) are_texts: Vec<bool>,
}

impl KeyColumns {
    /// The key columns of tables, in their order.
    pub(crate) fn find(
        source_name: &Arc<str>,
        header: &Header,
        keys: &[TradeKey],
    ) -> Result<Self, OpenError> {
        let find = |name: &String| header.require(source_name, name, TRADE_COLUMNS);
        let mut found = Self::default();
        for key in keys {
            found.are_texts.push(matches!(key, TradeKey::Texts(_)));
            match key {
                TradeKey::Id(name) => {
                    let column = find(name)?;
                    let required = header.names[column] == INSTRUMENT_ID;
                    found.ids.push(KeyColumn { column, required });
                }
                TradeKey::Texts(names) => {
                    found.texts.push(names.iter().map(find).collect::<Result<_, _>>()?);
                }
            }
        }
        Ok(found)
    }

    /// The columns that any key is in.
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> {
        self.ids.iter().map(|key| key.column).chain(self.texts.iter().flatten().copied())
    }

    /// Keys by table, out of those of each kind.
    pub(crate) fn by_table(
        &self,
        ids: impl IntoIterator<Item = UInt32Array>,
        texts: impl IntoIterator<Item = TextColumn>,
    ) -> Vec<Keys> {
        let (mut ids, mut texts) = (ids.into_iter(), texts.into_iter());
        let next = |&is_text: &bool| {
            if is_text { texts.next().map(Keys::from) } else { ids.next().map(Keys::from) }
        };
        self.are_texts.iter().filter_map(next).collect()
    }
}

/// The columns of trades in a text format, and what is made of them.
#[derive(Clone, Debug)]
pub(crate) struct TradeLayout {
    pub(crate) header: Header,
    pub(crate) dialect: Dialect,
    pub(crate) fields: Fields,
    pub(crate) keys: KeyColumns,
    /// The column with the time of each trade, if that is needed.
    pub(crate) time: Option<usize>,
    /// The trades' own columns.
    pub(crate) schema: SchemaRef,
    /// What a block has.
    pub(crate) block_schema: SchemaRef,
}

impl TradeLayout {
    pub(crate) fn new(header: Header, dialect: Dialect, fields: Fields, keys: KeyColumns) -> Self {
        let encoding = if dialect == Dialect::Csv { ENCODING_CSV } else { ENCODING_JSON };
        let field = |(column, name): (usize, &String)| match fields {
            Fields::Typed => Field::new(name, typed(header.kind(column)), true),
            Fields::AsText | Fields::InRecord => {
                let marked = [(ENCODING_KEY.to_owned(), encoding.to_owned())];
                Field::new(name, DataType::Utf8, true).with_metadata(marked)
            }
        };
        let own = header.names.iter().enumerate().map(field);
        let schema = Arc::new(Schema::new(own.collect::<Vec<_>>()));
        let block_schema = match fields {
            Fields::AsText | Fields::Typed => Arc::clone(&schema),
            Fields::InRecord => {
                let records = vec![Field::new("record", DataType::Binary, false)];
                let marked = [(RECORDS_KEY.to_owned(), encoding.to_owned())];
                Arc::new(Schema::new_with_metadata(records, marked))
            }
        };
        Self { header, dialect, fields, keys, time: None, schema, block_schema }
    }

    /// The trades' own columns with the types of [`Fields::Typed`].
    pub(crate) fn typed_schema(&self) -> SchemaRef {
        let names = self.header.names.iter().enumerate();
        let fields = names.map(|(column, name)| Field::new(name, typed(self.header.kind(column)), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Reads the time of each trade.
    ///
    /// # Errors
    /// If trades have none.
    pub(crate) fn require_times(&mut self, source_name: &Arc<str>) -> Result<(), OpenError> {
        self.time = Some(time_column(source_name, &self.header)?);
        Ok(())
    }

    /// The columns whose cells are looked into: those of the keys, then that of the
    /// time.
    pub(crate) fn read_columns(&self) -> impl Iterator<Item = usize> {
        self.keys.columns().chain(self.time)
    }

    pub(crate) fn columns(&self) -> &[String] {
        &self.header.names
    }

    /// The name of each column as JSON writes it, with a colon behind it.
    pub(crate) fn member_names(&self) -> Vec<Vec<u8>> {
        self.columns().iter().map(|name| json_name(name)).collect()
    }

    /// The ids of a row, in the order of their tables.
    pub(crate) fn parse_keys<'a>(
        &self,
        cell: impl Fn(usize) -> &'a str,
        keys: &mut Vec<Option<u32>>,
    ) -> Result<(), Flaw> {
        keys.clear();
        for key in &self.keys.ids {
            let name = &self.header.names[key.column];
            keys.push(parse_key(name, self.dialect, cell(key.column), key.required)?);
        }
        Ok(())
    }

    /// The time of a row; `None` if it has none, or none is asked for.
    pub(crate) fn parse_time<'a>(&self, cell: impl Fn(usize) -> &'a str) -> Result<Option<i64>, Flaw> {
        let Some(column) = self.time else { return Ok(None) };
        // An empty text is none in any dialect: so a CSV field comes out as JSON.
        match self.dialect.text(cell(column)).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => match parse::timestamp(&text) {
                Ok(time) => Ok(Some(time)),
                Err(reason) => Err(Flaw::cell(&self.header.names[column], &text, reason)),
            },
        }
    }
}

/// Where the time of a trade stands.
///
/// # Errors
/// If there is no such column.
pub(crate) fn time_column(source_name: &Arc<str>, header: &Header) -> Result<usize, OpenError> {
    header.find(TIMESTAMP).ok_or_else(|| OpenError::ModeColumn {
        source_name: Arc::clone(source_name),
        column: TIMESTAMP.to_owned(),
        what: AS_OF_TRADE,
        found: header.names.clone(),
    })
}

/// The type that a column has where columns have types.
fn typed(kind: KnownKind) -> DataType {
    match kind {
        KnownKind::Id | KnownKind::TradeNumber | KnownKind::Decimal | KnownKind::Timestamp => kind.arrow(),
        // No other kind stands among the columns of trades.
        _ => DataType::Utf8,
    }
}

/// The key in a cell; `None` if it is empty and need not be there.
pub(crate) fn parse_key(
    column: &str,
    dialect: Dialect,
    raw: &str,
    required: bool,
) -> Result<Option<u32>, Flaw> {
    // An empty text is none in any dialect, as in [`TradeLayout::parse_time`].
    match dialect.text(raw).filter(|text| !text.is_empty()) {
        Some(text) => match parse::id(&text) {
            Ok(key) => Ok(Some(key)),
            Err(reason) => Err(Flaw::cell(column, &text, reason)),
        },
        None if required => Err(Flaw::empty(column)),
        None => Ok(None),
    }
}
