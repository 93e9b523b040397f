//! Which tables there are, and what joins them to trades.

use std::sync::Arc;

use tradejoin_model::TableSpec;

use crate::lane_builder::TableKind;

/// A table that can be read from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableDefinition {
    /// One that is known by name, with its key and columns.
    Preset(TableKind),
    /// Any other.
    Any(Arc<AnyTable>),
}

/// A table of which no more is known than what the user says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyTable {
    /// Its name.
    pub name: String,
    /// What joins it to trades; at least one pair. Values are compared by their
    /// text: that of a text as it stands, an integer in decimal.
    pub key: Vec<KeyPair>,
    /// What it adds unless something else is asked for, and all that can be asked
    /// for; every column but those of the key if it is empty.
    pub columns: Vec<ColumnChoice>,
}

/// Two columns that must be equal for a row to be a trade's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The column of the trades.
    pub trades: String,
    /// The column of the table.
    pub table: String,
}

/// A column of a table, and its name in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnChoice {
    /// Its name in the file.
    pub column: String,
    /// Its name in the output.
    pub name: String,
    /// Whether a file may be without it: its values are null then, and texts in any
    /// other, whatever they are there.
    pub is_optional: bool,
}

/// What of a trade is its key in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TradeKey {
    /// The id in a column.
    Id(String),
    /// The texts of one column or more, together.
    Texts(Vec<String>),
}

impl From<&str> for TradeKey {
    /// The id in a column.
    fn from(column: &str) -> Self {
        Self::Id(column.to_owned())
    }
}

impl From<TableKind> for TableDefinition {
    fn from(kind: TableKind) -> Self {
        Self::Preset(kind)
    }
}

impl From<AnyTable> for TableDefinition {
    fn from(table: AnyTable) -> Self {
        Self::Any(Arc::new(table))
    }
}

impl TableDefinition {
    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Preset(kind) => kind.name(),
            Self::Any(table) => &table.name,
        }
    }

    /// What of a trade is its key.
    #[must_use]
    pub fn trade_key(&self) -> TradeKey {
        match self {
            Self::Preset(kind) => kind.key_column().into(),
            Self::Any(table) => TradeKey::Texts(table.key.iter().map(|pair| pair.trades.clone()).collect()),
        }
    }

    /// The table without outputs, spread as the engine finds best.
    #[must_use]
    pub fn spec(&self) -> TableSpec {
        match self {
            Self::Preset(kind) => TableSpec { outputs: Vec::new(), ..kind.spec() },
            Self::Any(table) => TableSpec::new(&table.name, &table.key_columns().join("+")),
        }
    }
}

impl AnyTable {
    /// The key's columns in the table.
    pub(crate) fn key_columns(&self) -> Vec<&str> {
        self.key.iter().map(|pair| pair.table.as_str()).collect()
    }

    /// Adds to the members that the first lines have what may still come: all of them
    /// where there are no lines, and else the optional ones, which are given.
    pub(crate) fn late_members(&self, names: &mut Vec<String>) -> Vec<String> {
        if names.is_empty() {
            // No line, no column: nothing is missing from it.
            let key = self.key_columns();
            names.extend(key.iter().map(|&column| column.to_owned()));
            let chosen = self.columns.iter().map(|choice| choice.column.clone());
            names.extend(chosen.filter(|column| !key.contains(&column.as_str())));
        }
        let optional = self.columns.iter().filter(|choice| choice.is_optional);
        let late = optional.map(|choice| &choice.column).filter(|column| !names.contains(column));
        let late: Vec<_> = late.cloned().collect();
        names.extend(late.iter().cloned());
        late
    }
}
