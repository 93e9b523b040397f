//! A few changes of a table as text, for people to look at.

use arrow_schema::ArrowError;
use tradejoin_model::{ChangeLane, Column, ColumnType, INTEGER_NULL, LookUp, TableSpec, VALID_TO};

use crate::key_text::key_for_people;
use crate::lane_builder::{TableColumn, TableKind};
use crate::mode::{TableMode, Time};
use crate::output::AddedColumn;
use crate::render::Cells;
use crate::table_def::TableDefinition;
use crate::values::AddedValues;

/// What it takes to show the changes of one table.
pub struct ChangeTexts {
    spec: TableSpec,
    names: Vec<String>,
    values: Vec<AddedValues>,
    mode: TableMode,
}

/// A change as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeText {
    /// The key, of several columns with commas between.
    pub key: String,
    /// When the row begins, where that tells it from others; `None` since ever.
    pub valid_from: Option<String>,
    /// A value for each of [`ChangeTexts::names`]; `None` for null.
    pub values: Vec<Option<String>>,
}

impl ChangeTexts {
    /// Of a table that is read in a mode, with the fields that
    /// [`TableReader::load`](crate::TableReader::load) was given.
    ///
    /// # Errors
    /// If a column has a type that cannot be shown.
    pub fn new(
        table: &TableDefinition,
        fields: &[TableColumn],
        mode: &TableMode,
    ) -> Result<Self, ArrowError> {
        let base = match table {
            TableDefinition::Preset(TableKind::Instruments) => Some("instrument"),
            TableDefinition::Preset(TableKind::Users) => Some("username"),
            TableDefinition::Any(_) => None,
        };
        let base = base.map(|name| TableColumn::plain(name, ColumnType::Text));
        let fields: Vec<&TableColumn> = base.iter().chain(fields).collect();
        let added = |field: &&TableColumn| AddedColumn {
            encoding: field.encoding.clone(),
            ..AddedColumn::plain(&field.name, field.column_type, 0)
        };
        let values = AddedValues::of_all(&fields.iter().map(added).collect::<Vec<_>>())?;
        let mut names: Vec<_> = fields.iter().map(|field| field.name.clone()).collect();
        match mode {
            TableMode::Latest => {}
            TableMode::LatestVersion { column } => names.push(column.clone()),
            TableMode::AsOf { .. } => names.push(VALID_TO.to_owned()),
        }
        Ok(Self { spec: table.spec(), names, values, mode: mode.clone() })
    }

    /// The names of the values: each field, and what the mode reads but for when a row
    /// begins.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// These of the changes, in order.
    ///
    /// # Errors
    /// If a value cannot be shown.
    ///
    /// # Panics
    /// If there are no such changes, or they are of another table.
    pub fn texts(&self, lane: &ChangeLane, changes: &[u32]) -> Result<Vec<ChangeText>, ArrowError> {
        let mut few = ChangeLane::default();
        few.append_rows(lane, changes);
        let columns = few.fields.iter().zip(&self.values).map(|(column, values)| texts(column, values));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let text = |change: usize| {
            let validity = few.validity(change);
            let time = |time| (time != INTEGER_NULL).then(|| Time(time).to_string());
            let mut values: Vec<_> = columns.iter().map(|column| column[change].clone()).collect();
            match &self.mode {
                TableMode::Latest => {}
                TableMode::LatestVersion { .. } => values.push(Some(few.version(change).to_string())),
                TableMode::AsOf { .. } => values.push(time(validity.to)),
            }
            let key = key_for_people(&few.keys.get(change), &self.spec);
            let is_as_of = matches!(self.mode.look_up(), LookUp::AsOf { .. });
            ChangeText { key, valid_from: time(validity.from).filter(|_| is_as_of), values }
        };
        Ok((0..few.len()).map(text).collect())
    }
}

fn texts(column: &Column, values: &AddedValues) -> Result<Vec<Option<String>>, ArrowError> {
    if let Column::Options(symbols) = column {
        return Ok(symbols.iter().map(|symbol| Some(symbol.to_string())).collect());
    }
    let cells = Cells::of_added_csv(column, values)?;
    Ok((0..column.len()).map(|row| cells.to_text(row)).collect())
}
