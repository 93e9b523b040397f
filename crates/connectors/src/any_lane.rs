//! Rows of a table of any kind, out of text or typed columns.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, StringArray};
use arrow_buffer::NullBuffer;
use arrow_cast::cast;
use arrow_row::Rows;
use arrow_schema::{ArrowError, DataType};
use tradejoin_model::{ChangeKind, ChangeLane, Column, ColumnType, TextColumn};

use crate::error::OpenError;
use crate::flaw::Flaw;
use crate::header::Header;
use crate::json_values::JsonValues;
use crate::key_text::{KeyPart, KeyText};
use crate::lane_builder::{CellText, DELETED, TableColumn};
use crate::mode::{Stamp, StampColumns, Stamps, TableMode};
use crate::parse::{self, Dialect};
use crate::render::Cells;
use crate::table_def::AnyTable;
use crate::values::{ValueCodec, ValueEncoding};

/// Collects rows of one table as changes. All its fields are texts, or values in
/// their encoding.
pub(crate) struct AnyLane {
    header: Header,
    /// The columns of the key.
    key: Vec<usize>,
    /// What can be asked for: where it stands, and what it is.
    offers: Vec<(usize, TableColumn)>,
    /// What was asked for.
    fields: Vec<Field>,
    stamp: StampColumns,
    stamps: Stamps,
    /// The column that says whether a row is removed, where rows may be.
    deleted: Option<usize>,
    kinds: Vec<ChangeKind>,
    keys: TextColumn,
    key_text: KeyText,
    /// Of the row that is being checked, what was made of its tokens.
    made: Vec<Option<Vec<u8>>>,
}

struct Field {
    column: usize,
    /// For values that have no text.
    codec: Option<Arc<ValueCodec>>,
    /// What becomes of a token.
    tokens: Tokens,
    values: TextColumn,
}

/// What becomes of the JSON token of a value.
enum Tokens {
    /// It is the value.
    AsTheyAre,
    /// Its text is.
    Texts,
    /// A value of the column's type is made of it.
    Typed(Box<JsonValues>),
}

/// A block of typed rows, ready to be taken one by one.
pub(crate) struct AnyBlock {
    key: Vec<KeyPart>,
    /// The columns of the mode, each with its place.
    stamp: Vec<(usize, Cells<'static>)>,
    fields: Vec<FieldBlock>,
}

enum FieldBlock {
    Texts(StringArray),
    Encoded(Rows, Option<NullBuffer>),
}

impl AnyLane {
    /// Rows of a file with the columns `names`, held as `held` says of each.
    ///
    /// # Errors
    /// If a column of the key, or one that is chosen, is missing.
    pub(crate) fn new(
        source_name: &Arc<str>,
        table: &AnyTable,
        names: Vec<String>,
        held: impl Fn(usize) -> (ColumnType, ValueEncoding),
    ) -> Result<Self, OpenError> {
        let header = Header::new(source_name, names, &[])?;
        let find = |name: &str| header.require(source_name, name, &[]);
        let key = table.key_columns().into_iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let chosen: Vec<(usize, String)> = if table.columns.is_empty() {
            let others = (0..header.names.len()).filter(|column| !key.contains(column));
            others.map(|column| (column, header.names[column].clone())).collect()
        } else {
            let choose = |choice: &crate::ColumnChoice| Ok((find(&choice.column)?, choice.name.clone()));
            table.columns.iter().map(choose).collect::<Result<_, OpenError>>()?
        };
        let offer = |(column, name)| {
            let (column_type, encoding) = held(column);
            (column, TableColumn { name, column_type, encoding })
        };
        let offers = chosen.into_iter().map(offer).collect();
        Ok(Self::with(header, key, offers))
    }

    /// Changes, as tokens of JSON, of a table that was loaded with these fields.
    ///
    /// # Errors
    /// If JSON has no values of the type of a column.
    pub(crate) fn of_changes(
        source_name: &Arc<str>,
        table: &AnyTable,
        fields: &[TableColumn],
        mode: &TableMode,
    ) -> Result<Self, OpenError> {
        let mut names: Vec<String> = Vec::new();
        let mut place = |name: &str| {
            names.iter().position(|other| other == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            })
        };
        let key = table.key_columns().into_iter().map(&mut place).collect();
        let in_file = |field: &TableColumn| {
            let choice = table.columns.iter().find(|choice| choice.name == field.name);
            choice.map_or(&field.name, |choice| &choice.column).clone()
        };
        let offers = fields.iter().map(|field| (place(&in_file(field)), field.clone())).collect();
        for column in mode.columns() {
            place(column);
        }
        let deleted = place(DELETED);
        let mut lane = Self::with(Header::new(source_name, names, &[])?, key, offers);
        lane.deleted = Some(deleted);
        lane.set_mode(source_name, mode)?;
        let unheld = |column: &TableColumn, source| OpenError::ChangeColumn {
            source_name: Arc::clone(source_name),
            table: table.name.clone(),
            column: column.name.clone(),
            source,
        };
        for field in fields {
            lane.set_field(field).map_err(|error| unheld(field, error))?;
            let Some(field_of) = lane.fields.last_mut() else { continue };
            field_of.tokens = match (&field.encoding, &field_of.codec) {
                (ValueEncoding::Arrow(ty), Some(codec)) => {
                    let values = JsonValues::new(ty, Arc::clone(codec));
                    Tokens::Typed(Box::new(values.map_err(|error| unheld(field, error))?))
                }
                (ValueEncoding::JsonToken, _) => Tokens::AsTheyAre,
                _ => Tokens::Texts,
            };
        }
        Ok(lane)
    }

    fn with(header: Header, key: Vec<usize>, offers: Vec<(usize, TableColumn)>) -> Self {
        Self {
            header,
            key,
            offers,
            fields: Vec::new(),
            stamp: StampColumns::None,
            stamps: Stamps::default(),
            deleted: None,
            kinds: Vec::new(),
            keys: TextColumn::default(),
            key_text: KeyText::default(),
            made: Vec::new(),
        }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// What can be asked for.
    pub(crate) fn columns(&self) -> Vec<TableColumn> {
        self.offers.iter().map(|(_, column)| column.clone()).collect()
    }

    /// The name and the place of each column of the key.
    pub(crate) fn key_columns(&self) -> impl Iterator<Item = (&str, usize)> {
        self.key.iter().map(|&column| (self.header.names[column].as_str(), column))
    }

    /// The names of the key's columns, with `+` between.
    pub(crate) fn key_name(&self) -> String {
        self.key_columns().map(|(name, _)| name).collect::<Vec<_>>().join("+")
    }

    /// Adds a column behind the others, unless it is there, which is told.
    pub(crate) fn add_column(&mut self, name: &str) -> bool {
        let is_new = self.header.find(name).is_none();
        if is_new {
            self.header.names.push(name.to_owned());
            self.header.known.push(None);
        }
        is_new
    }

    /// Reads the columns of `mode`.
    ///
    /// # Errors
    /// If one is missing that must be there.
    pub(crate) fn set_mode(&mut self, source_name: &Arc<str>, mode: &TableMode) -> Result<(), OpenError> {
        self.stamp = StampColumns::find(source_name, &self.header, mode)?;
        Ok(())
    }

    /// Makes these the fields of the changes.
    ///
    /// # Errors
    /// If the values of a column cannot be held.
    pub(crate) fn set_fields(&mut self, columns: &[TableColumn]) -> Result<(), ArrowError> {
        self.fields.clear();
        columns.iter().try_for_each(|column| self.set_field(column))
    }

    /// Adds a field.
    fn set_field(&mut self, column: &TableColumn) -> Result<(), ArrowError> {
        let found = self.offers.iter().find(|(_, offer)| offer == column);
        let place = found.map(|(place, _)| *place);
        let codec = match &column.encoding {
            ValueEncoding::Arrow(ty) => Some(Arc::new(ValueCodec::new(ty)?)),
            _ => None,
        };
        let column = place.ok_or_else(|| ArrowError::SchemaError(format!("no column {}", column.name)))?;
        self.fields.push(Field { column, codec, tokens: Tokens::AsTheyAre, values: TextColumn::default() });
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Appends a row of text, or nothing if it is bad, on its own or to `check`.
    pub(crate) fn push(
        &mut self,
        cells: &[Cow<'_, str>],
        dialect: Dialect,
        check: impl FnOnce(&KeyText, Stamp) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        let Self { header, key, fields, stamp, stamps, kinds, keys, key_text, .. } = self;
        let name = |column: usize| header.names[column].as_str();
        let part = |place: usize| dialect.text(&cells[key[place]]);
        key_text.of(key.len(), part).map_err(|place| Flaw::empty(name(key[place])))?;
        let value = |column: usize| dialect.text(&cells[column]).filter(|text| !text.is_empty());
        let stamp = stamp.read(ChangeKind::Upsert, &value, &name)?;
        check(key_text, stamp)?;
        keys.push_bytes(Some(key_text.bytes()));
        kinds.push(ChangeKind::Upsert);
        stamps.push(stamp);
        for Field { column, values, .. } in fields {
            let cell = cells[*column].as_ref();
            let has_value = dialect == Dialect::Csv || !(cell.is_empty() || cell == "null");
            values.push(has_value.then_some(cell));
        }
        Ok(())
    }

    /// Appends a change of these tokens, or nothing if it is bad.
    pub(crate) fn push_tokens(&mut self, tokens: &[&str]) -> Result<(), Flaw> {
        let Self { header, key, fields, stamp, stamps, deleted, kinds, keys, key_text, made, .. } = self;
        let name = |column: usize| header.names[column].as_str();
        let part = |place: usize| parse::json_text(tokens[key[place]]);
        key_text.of(key.len(), part).map_err(|place| Flaw::empty(name(key[place])))?;
        let value = |column: usize| parse::json_text(tokens[column]).filter(|text| !text.is_empty());
        let kind = deleted.map_or(Ok(ChangeKind::Upsert), |column| kind(column, &value, &name))?;
        let stamp = stamp.read(kind, &value, &name)?;
        // Of a row that goes, the key is enough.
        let token = |column: usize| Some(tokens[column]).filter(|_| kind == ChangeKind::Upsert);
        let token = |column: usize| token(column).filter(|token| !(token.is_empty() || *token == "null"));
        made.clear();
        for Field { column, tokens, .. } in fields.iter_mut() {
            made.push(match (tokens, token(*column)) {
                (_, None) => None,
                (Tokens::AsTheyAre, Some(token)) => Some(token.as_bytes().to_vec()),
                (Tokens::Texts, Some(token)) => {
                    parse::json_text(token).map(|text| text.into_owned().into_bytes())
                }
                (Tokens::Typed(values), Some(token)) => {
                    let shown = || parse::json_text(token).unwrap_or_default();
                    let bytes = values.read(token);
                    Some(bytes.map_err(|reason| Flaw::cell(name(*column), &shown(), reason))?)
                }
            });
        }
        keys.push_bytes(Some(key_text.bytes()));
        kinds.push(kind);
        stamps.push(stamp);
        for (field, value) in fields.iter_mut().zip(made) {
            field.values.push_bytes(value.as_deref());
        }
        Ok(())
    }

    /// What [`Self::push_row`] takes of a batch.
    pub(crate) fn block(&self, batch: &RecordBatch) -> Result<AnyBlock, ArrowError> {
        let key = self.key.iter().map(|&column| KeyPart::new(batch.column(column)));
        let field = |field: &Field| {
            let array = batch.column(field.column);
            Ok(match &field.codec {
                Some(codec) => FieldBlock::Encoded(codec.encode(array)?, array.logical_nulls()),
                None => FieldBlock::Texts(cast(array, &DataType::Utf8)?.as_string().clone()),
            })
        };
        let fields = self.fields.iter().map(field).collect::<Result<_, ArrowError>>()?;
        let places = (0..batch.num_columns()).filter(|&column| self.stamp.is_read(column));
        let stamp = places.map(|column| Ok((column, Cells::of_table(batch.column(column))?)));
        let stamp = stamp.collect::<Result<_, ArrowError>>()?;
        Ok(AnyBlock { key: key.collect::<Result<_, _>>()?, stamp, fields })
    }

    /// Appends a row of a block, or nothing if it is bad, on its own or to `check`.
    pub(crate) fn push_row(
        &mut self,
        block: &AnyBlock,
        row: usize,
        check: impl FnOnce(&KeyText, Stamp) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        let Self { header, key, fields, stamp, stamps, kinds, keys, key_text, .. } = self;
        let name = |column: usize| header.names[column].as_str();
        let part = |place: usize| block.key[place].text(row);
        key_text.of(key.len(), part).map_err(|place| Flaw::empty(name(key[place])))?;
        let value = |column: usize| {
            let cells = block.stamp.iter().find(|(place, _)| *place == column);
            let text = cells.and_then(|(_, cells)| cells.to_text(row));
            text.filter(|text| !text.is_empty()).map(Cow::Owned)
        };
        let stamp = stamp.read(ChangeKind::Upsert, &value, &name)?;
        check(key_text, stamp)?;
        keys.push_bytes(Some(key_text.bytes()));
        kinds.push(ChangeKind::Upsert);
        stamps.push(stamp);
        for (field, block) in fields.iter_mut().zip(&block.fields) {
            match block {
                FieldBlock::Texts(texts) => {
                    field.values.push(texts.is_valid(row).then(|| texts.value(row)));
                }
                FieldBlock::Encoded(rows, nulls) => {
                    let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                    field.values.push_bytes((!is_null).then(|| rows.row(row).data()));
                }
            }
        }
        Ok(())
    }

    /// The key of the row that was appended last, for people to read.
    pub(crate) fn last_key_shown(&self) -> String {
        self.key_text.shown(self.key.len())
    }

    /// The rows so far; begins anew.
    pub(crate) fn take(&mut self) -> ChangeLane {
        let rows = self.len();
        let fields = self.fields.iter_mut().map(|field| Column::Text(std::mem::take(&mut field.values)));
        let Stamps { valid_from, valid_to, versions } = std::mem::take(&mut self.stamps);
        ChangeLane {
            at_rows: vec![0; rows],
            keys: std::mem::take(&mut self.keys).into(),
            kinds: std::mem::take(&mut self.kinds),
            fields: fields.collect(),
            valid_from,
            valid_to,
            versions,
            ..ChangeLane::default()
        }
    }
}

/// Whether a row is removed.
fn kind<'a, 'n>(
    column: usize,
    value: &impl Fn(usize) -> CellText<'a>,
    name: &impl Fn(usize) -> &'n str,
) -> Result<ChangeKind, Flaw> {
    let Some(text) = value(column) else { return Ok(ChangeKind::Upsert) };
    match parse::boolean(&text) {
        Ok(true) => Ok(ChangeKind::Delete),
        Ok(false) => Ok(ChangeKind::Upsert),
        Err(reason) => Err(Flaw::cell(name(column), &text, reason)),
    }
}
