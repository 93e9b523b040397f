//! Lines that change a row, as changes of its table, whatever that was loaded from.

use std::sync::Arc;

use tradejoin_model::{ChangeLane, TIMESTAMP};

use crate::any_lane::AnyLane;
use crate::error::OpenError;
use crate::flaw::{Flaw, Reason};
use crate::header::Header;
use crate::json_rows::Members;
use crate::lane_builder::{DELETED, LaneBuilder, TableColumn};
use crate::messages::TYPE;
use crate::mode::TableMode;
use crate::parse::{is_sound_token, json_text};
use crate::table_def::TableDefinition;

/// A table whose rows may change, as it was loaded.
#[derive(Clone, Debug)]
pub struct ChangeTable {
    /// Which table it is.
    pub table: TableDefinition,
    /// The fields that [`TableReader::load`](crate::TableReader::load) took.
    pub fields: Vec<TableColumn>,
    /// How it is looked up.
    pub mode: TableMode,
    /// The columns of its file, if a member that is none of them is to be refused; it is
    /// passed over otherwise.
    pub known: Option<Vec<String>>,
}

impl ChangeTable {
    /// The `type` of a line that is a row of the table.
    #[must_use]
    pub fn message_type(&self) -> &str {
        match &self.table {
            TableDefinition::Preset(kind) => kind.message_type(),
            TableDefinition::Any(table) => &table.name,
        }
    }
}

/// Collects the changes of one table.
pub(crate) struct ChangeRows {
    rows: Rows,
    known: Option<Vec<String>>,
}

enum Rows {
    Preset(Box<LaneBuilder>),
    Any(Box<AnyLane>),
}

impl ChangeRows {
    /// # Errors
    /// If a column of the table can have no values here.
    pub(crate) fn new(source_name: &Arc<str>, table: &ChangeTable) -> Result<Self, OpenError> {
        let ChangeTable { table, fields, mode, known } = table;
        let rows = match table {
            TableDefinition::Preset(kind) => {
                let names = kind.known_columns().iter().map(|column| column.name.to_owned()).collect();
                let header = Header::new(source_name, names, kind.known_columns())?;
                let mut builder = LaneBuilder::new(source_name, *kind, header)?;
                fields.iter().for_each(|field| builder.add_column(&field.name));
                mode.columns().into_iter().for_each(|column| builder.add_column(column));
                builder.set_extra(fields);
                builder.set_mode(source_name, mode)?;
                builder.read_removals();
                Rows::Preset(Box::new(builder))
            }
            TableDefinition::Any(table) => {
                Rows::Any(Box::new(AnyLane::of_changes(source_name, table, fields, mode)?))
            }
        };
        Ok(Self { rows, known: known.clone() })
    }

    /// Appends the change that a line is, or tells what is wrong with it.
    pub(crate) fn push(&mut self, members: &Members, text: &str) -> Result<(), Flaw> {
        let known = self.known.as_deref();
        match &mut self.rows {
            Rows::Preset(builder) => {
                let cells = row_cells(builder.header(), members, text, known)?;
                builder.push(0, &|i| json_text(cells[i]), |_, _, _| Ok(()))
            }
            Rows::Any(lane) => {
                let cells = row_cells(lane.header(), members, text, known)?;
                lane.push_tokens(&cells)
            }
        }
    }

    /// The changes so far; begins anew.
    pub(crate) fn take(&mut self) -> ChangeLane {
        match &mut self.rows {
            Rows::Preset(builder) => builder.take(),
            Rows::Any(lane) => lane.take(),
        }
    }
}

/// The tokens of a tagged row, by column. Members that have none are not asked for; where
/// it is known which there may be, any other is refused.
pub(crate) fn row_cells<'a>(
    header: &Header,
    members: &'a Members,
    text: &'a str,
    known: Option<&[String]>,
) -> Result<Vec<&'a str>, Flaw> {
    let mut cells = vec![""; header.names.len()];
    for (name, token) in members.iter(text).filter(|(name, _)| *name != TYPE) {
        let Some(column) = header.find(name) else {
            let is_known = |known: &[String]| known.iter().any(|known| known == name);
            if known.is_some_and(|known| name != TIMESTAMP && name != DELETED && !is_known(known)) {
                return Err(Flaw::cell(name, token, Reason::NoColumn));
            }
            continue;
        };
        if !cells[column].is_empty() {
            return Err(Flaw::cell(name, token, Reason::DuplicateMember));
        }
        if !is_sound_token(token) {
            return Err(Flaw::cell(name, token, Reason::NotUtf8));
        }
        cells[column] = token;
    }
    Ok(cells)
}
