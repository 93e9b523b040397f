//! The fields of enriched trades, one at a time.

use std::borrow::Cow;

use arrow_array::BinaryArray;
use arrow_array::cast::AsArray;
use arrow_schema::{ArrowError, Schema};
use tradejoin_model::Enriched;

use crate::csv_rows::{self, CsvCells};
use crate::json_rows::Members;
use crate::limits::Limits;
use crate::output::AddedColumn;
use crate::parse::{day, is_json_number, json_text, timestamp};
use crate::render::{Cells, Form, form_of_csv};
use crate::trade_layout::{ENCODING_CSV, RECORDS_KEY};
use crate::values::AddedValues;

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldText<'t> {
    /// There is none.
    None,
    /// Text.
    Text(Cow<'t, str>),
    /// A number, true, false, or a nested value: as JSON has it.
    Json(Cow<'t, str>),
}

impl FieldText<'_> {
    /// The text of the field; empty if there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::None => "",
            Self::Text(text) | Self::Json(text) => text,
        }
    }

    fn of(text: Cow<'_, str>, form: Form) -> FieldText<'_> {
        let is_number = |text: &str| is_json_number(text.as_bytes());
        match form {
            Form::NumberText | Form::OptionalText if text.is_empty() => FieldText::None,
            Form::Bare => FieldText::Json(text),
            Form::Float | Form::NumberText if is_number(&text) => FieldText::Json(text),
            Form::Token | Form::ValueToken => match json_text(&text) {
                None => FieldText::None,
                Some(_) if text.starts_with('"') => {
                    FieldText::Text(json_text(&text).unwrap_or_default().into_owned().into())
                }
                Some(_) => FieldText::Json(text),
            },
            _ => FieldText::Text(text),
        }
    }
}

/// The fields of the trades of a batch: their own, and behind them those that were added.
pub struct RowTexts<'a> {
    trade: Trade<'a>,
    added: Vec<Cells<'a>>,
    row: usize,
}

/// Where the fields of trades are.
enum Trade<'a> {
    Columns(Vec<Cells<'a>>),
    /// In whole records of text, the fields of one of which are known.
    Csv(&'a BinaryArray, Vec<Form>, Option<CsvCells<'a>>),
    Json(&'a BinaryArray, Vec<String>, Option<(&'a str, Members)>),
}

impl<'a> RowTexts<'a> {
    /// Those of a batch. `schema` is that of the trades' source, `added` what the output
    /// adds. A column that cannot be shown has notes that say so.
    ///
    /// # Errors
    /// If a column that was added has a type that no output can have.
    pub fn new(enriched: &'a Enriched, schema: &Schema, added: &[AddedColumn]) -> Result<Self, ArrowError> {
        let trades = enriched.trades();
        let values = AddedValues::of_all(added)?;
        let cells = added.iter().zip(&values);
        let cells = cells.map(|(added, values)| Cells::of_added_json(&enriched.columns[added.index], values));
        let len = trades.num_rows();
        let added = cells.map(|cells| Cells::or_note(cells, len)).collect();
        let names = || schema.fields().iter().map(|field| field.name());
        let records = trades.columns().first().and_then(|column| column.as_binary_opt::<i32>());
        let trade = match (records, trades.schema_ref().metadata().get(RECORDS_KEY)) {
            (Some(records), Some(encoding)) if encoding == ENCODING_CSV => {
                Trade::Csv(records, names().map(|name| form_of_csv(name)).collect(), None)
            }
            (Some(records), Some(_)) => Trade::Json(records, names().cloned().collect(), None),
            _ => {
                let columns = schema.fields().iter().zip(trades.columns());
                let cells = columns.map(|(field, array)| Cells::of_json(array, field));
                Trade::Columns(cells.map(|cells| Cells::or_note(cells, len)).collect())
            }
        };
        Ok(Self { trade, added, row: 0 })
    }

    /// Goes to a row of the batch.
    pub fn go_to(&mut self, row: usize) {
        self.row = row;
        match &mut self.trade {
            Trade::Columns(_) => {}
            Trade::Csv(.., cells) => *cells = None,
            Trade::Json(.., members) => *members = None,
        }
    }

    /// The field of a column, by its place.
    ///
    /// # Panics
    /// If there is no such column.
    pub fn field(&mut self, column: usize) -> FieldText<'_> {
        let row = self.row;
        let of_cells = |cells: &Cells<'_>| match cells.to_text(row) {
            None => FieldText::None,
            Some(text) => FieldText::of(text.into(), cells.form),
        };
        let own = self.trade.len();
        if column >= own {
            return of_cells(&self.added[column - own]);
        }
        match &mut self.trade {
            Trade::Columns(columns) => of_cells(&columns[column]),
            Trade::Csv(records, forms, cells) => {
                let cells = cells.get_or_insert_with(|| {
                    let mut cells = CsvCells::new();
                    // It came out of a text that is UTF-8.
                    csv_rows::split(std::str::from_utf8(records.value(row)).unwrap_or_default(), &mut cells);
                    cells
                });
                let text = cells.get(column).map_or("", |cell| cell.as_ref());
                FieldText::of(text.into(), forms[column])
            }
            Trade::Json(records, names, members) => {
                let (text, members) = members.get_or_insert_with(|| {
                    let mut members = Members::within(Limits::NONE);
                    let text = members.scan(records.value(row)).unwrap_or_default();
                    (text, members)
                });
                let token = members.get(text, &names[column]).unwrap_or_default();
                FieldText::of(token.into(), Form::Token)
            }
        }
    }
}

impl Trade<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Columns(columns) => columns.len(),
            Self::Csv(_, forms, _) => forms.len(),
            Self::Json(_, names, _) => names.len(),
        }
    }
}

/// The point in time that a text means, a date its midnight, in nanoseconds since
/// 1970-01-01 UTC; `None` for text that means none.
#[must_use]
pub fn instant_of_text(text: &str) -> Option<i64> {
    if !text.contains('-') {
        return None;
    }
    let midnight = || day(text).ok()?.checked_mul(86_400 * 1_000_000_000);
    timestamp(text).ok().or_else(midnight)
}
