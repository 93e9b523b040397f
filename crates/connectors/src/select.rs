//! Which columns of the tables the output gets.

use std::collections::BTreeMap;

use tradejoin_model::{ColumnType, OptionPart, OutputColumn, OutputSource, TableSpec};

use crate::lane_builder::{TableColumn, TableKind};
use crate::output::AddedColumn;
use crate::select_error::SelectError;
use crate::table_def::TableDefinition;
use crate::values::ValueEncoding;

/// What one table of a run has to offer.
#[derive(Clone, Debug)]
pub struct TableColumns {
    /// Which table it is.
    pub table: TableDefinition,
    /// Columns beyond those that the table always offers: those of
    /// [`TableReader::columns`](crate::TableReader::columns).
    pub columns: Vec<TableColumn>,
}

impl TableColumns {
    /// What a table offers that comes with the messages, and not from a file.
    #[must_use]
    pub fn of_messages(kind: TableKind) -> Self {
        let other = kind.known_columns().iter().skip(kind.required_columns().len());
        let column = |column: &tradejoin_model::KnownColumn| {
            TableColumn::plain(column.name, TableColumn::type_of_text(column.kind))
        };
        Self { table: kind.into(), columns: other.map(column).collect() }
    }

    /// What `name` stands for.
    fn offer(&self, name: &str) -> Option<Offer<'_>> {
        let required = match &self.table {
            TableDefinition::Preset(kind) => kind.required_columns(),
            TableDefinition::Any(_) => &[],
        };
        // A required column may be asked for by any of its names.
        let canonical = required.iter().find(|c| c.is_named(name)).map_or(name, |c| c.name);
        let base = self.base().iter().find(|(offered, ..)| *offered == canonical);
        base.map(|&(name, source, ty)| Offer::Base(name, source, ty))
            .or_else(|| self.columns.iter().find(|column| column.name == name).map(Offer::Extra))
    }

    /// What field 0 offers.
    fn base(&self) -> &'static [(&'static str, OutputSource, ColumnType)] {
        macro_rules! part {
            ($name:literal, $part:ident) => {{
                const PART: OptionPart = OptionPart::$part;
                ($name, OutputSource::Option(0, PART), PART.column_type())
            }};
        }
        let kind = match &self.table {
            TableDefinition::Preset(kind) => kind,
            TableDefinition::Any(_) => return &[],
        };
        match kind {
            TableKind::Instruments => {
                const {
                    &[
                        part!("instrument", Compact),
                        part!("instrument_padded", Padded),
                        part!("ticker", Ticker),
                        part!("strike", Strike),
                        part!("expiry", Expiry),
                        part!("option_type", OptionType),
                    ]
                }
            }
            TableKind::Users => {
                const {
                    &[
                        ("user", OutputSource::Field(0), ColumnType::Text),
                        ("username", OutputSource::Field(0), ColumnType::Text),
                    ]
                }
            }
        }
    }

    /// What the table adds if nothing is asked for: the name in the output, the
    /// request that would ask for it, and what it is.
    fn defaults(&self) -> impl Iterator<Item = (String, String, Offer<'_>)> {
        let preset = match &self.table {
            TableDefinition::Preset(TableKind::Instruments) => Some("instrument"),
            TableDefinition::Preset(TableKind::Users) => Some("user"),
            TableDefinition::Any(_) => None,
        };
        let base = preset.and_then(|name| Some((name.to_owned(), name.to_owned(), self.offer(name)?)));
        let others = self.columns.iter().filter(move |_| preset.is_none());
        let request = |name: &str| format!("{}.{name}", self.table.name());
        let other =
            move |column| (TableColumn::clone(column).name, request(&column.name), Offer::Extra(column));
        base.into_iter().chain(others.map(other))
    }

    /// What keys are held as.
    fn held_key(&self) -> (String, String) {
        let held = match &self.table {
            TableDefinition::Preset(_) => "id",
            TableDefinition::Any(_) => "text",
        };
        (format!("table {}: key", self.table.name()), held.to_owned())
    }

    /// What the field is held as that is read for an output; `None` for field 0 of a preset.
    fn held_field(&self, offer: &Offer<'_>) -> Option<(String, String)> {
        let Offer::Extra(column) = offer else { return None };
        let held = match (&column.encoding, column.column_type) {
            (ValueEncoding::JsonToken, _) => "JSON".to_owned(),
            (ValueEncoding::Arrow(ty), _) => ty.to_string(),
            (ValueEncoding::Plain, ty) => format!("{ty:?}").to_lowercase(),
        };
        Some((format!("table {}: column {}", self.table.name(), column.name), held))
    }

    /// What an output is made of, by its names in the table and in the file.
    fn origin(&self, offer: &Offer<'_>) -> String {
        let name = match offer {
            Offer::Base(name, ..) => name,
            Offer::Extra(column) => column.name.as_str(),
        };
        let choices = match &self.table {
            TableDefinition::Preset(_) => &[],
            TableDefinition::Any(any) => any.columns.as_slice(),
        };
        let in_file = choices.iter().find(|choice| choice.name == name).map(|choice| choice.column.as_str());
        match in_file.filter(|column| *column != name) {
            Some(column) => format!("{}.{column} as {name}", self.table.name()),
            None => format!("{}.{name}", self.table.name()),
        }
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let base = self.base().iter().map(|(name, ..)| *name);
        let extra = self.columns.iter().map(|column| column.name.as_str());
        base.chain(extra).map(|name| format!("{}.{name}", self.table.name()))
    }
}

enum Offer<'a> {
    Base(&'static str, OutputSource, ColumnType),
    Extra(&'a TableColumn),
}

/// What was selected.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Each table with its outputs, in the order of the tables.
    pub tables: Vec<SelectedTable>,
    /// All outputs in the order asked for: what
    /// [`OutputOptions::added`](crate::OutputOptions) takes.
    pub added: Vec<AddedColumn>,
    /// What the keys and fields of the tables are held as, and what each output is made of, in
    /// words: rows that were kept mean the same to a run of which all of it is the same.
    pub held: BTreeMap<String, String>,
}

/// One table of a [`Selection`].
#[derive(Clone, Debug)]
pub struct SelectedTable {
    /// The table with its outputs and its default distribution.
    pub spec: TableSpec,
    /// The fields that [`TableReader::load`](crate::TableReader::load) takes.
    pub fields: Vec<TableColumn>,
}

/// Selects outputs among what the tables offer, by requests of the form
/// `NAME`, `TABLE.NAME` or either with ` as ALIAS`. Without requests, each
/// table has its default output: `instrument`, `user`, or all that it offers.
///
/// The instruments table always offers `instrument` (the compact symbol),
/// `instrument_padded`, `ticker`, `strike`, `expiry` and `option_type`, the
/// users table `username`, also as `user`.
///
/// # Errors
/// If no table has the column, more than one has, or the output has one of that
/// name already.
pub fn select_outputs<'a>(
    tables: &[TableColumns],
    trade_columns: impl IntoIterator<Item = &'a str>,
    requested: &[String],
) -> Result<Selection, SelectError> {
    let mut taken: Vec<String> = trade_columns.into_iter().map(str::to_owned).collect();
    let mut selected: Vec<_> = tables.iter().map(|table| Selected::new(&table.table)).collect();
    let mut order = Vec::new();
    let mut wanted = Vec::new();
    let mut held: BTreeMap<_, _> = tables.iter().map(TableColumns::held_key).collect();
    for (index, table) in tables.iter().enumerate().filter(|_| requested.is_empty()) {
        wanted.extend(table.defaults().map(|(name, request, offer)| (index, name, request, offer)));
    }
    for request in requested.iter().map(|text| Request::parse(text)) {
        let Found { table, name, offer } = request.find(tables)?;
        wanted.push((table, request.alias.unwrap_or(name).to_owned(), request.column.to_owned(), offer));
    }
    for (table, name, request, offer) in wanted {
        if taken.contains(&name) {
            return Err(SelectError::Collision { name, request });
        }
        order.push((table, selected[table].add(&name, &offer)));
        held.insert(format!("output column {name}"), tables[table].origin(&offer));
        held.extend(tables[table].held_field(&offer));
        taken.push(name);
    }
    let mut first = Vec::new();
    let mut columns = 0;
    for table in &selected {
        first.push(columns);
        columns += table.table.spec.outputs.len();
    }
    let added = order.into_iter().map(|(table, output)| {
        let OutputColumn { name, column_type, .. } = &selected[table].table.spec.outputs[output];
        let encoding = selected[table].encodings[output].clone();
        AddedColumn { name: name.clone(), column_type: *column_type, encoding, index: first[table] + output }
    });
    let added = added.collect();
    Ok(Selection { tables: selected.into_iter().map(|selected| selected.table).collect(), added, held })
}

struct Selected {
    table: SelectedTable,
    /// What the values of each output stand for.
    encodings: Vec<ValueEncoding>,
    /// The first field that is one of `fields`.
    first_field: usize,
}

impl Selected {
    fn new(table: &TableDefinition) -> Self {
        let first_field = match table {
            TableDefinition::Preset(_) => 1,
            TableDefinition::Any(_) => 0,
        };
        let table = SelectedTable { spec: table.spec(), fields: Vec::new() };
        Self { table, encodings: Vec::new(), first_field }
    }

    /// Adds an output, and its field if there is none yet; tells its place.
    fn add(&mut self, name: &str, offer: &Offer<'_>) -> usize {
        let SelectedTable { spec, fields } = &mut self.table;
        let (source, column_type, encoding) = match offer {
            Offer::Base(_, source, ty) => (*source, *ty, ValueEncoding::Plain),
            Offer::Extra(column) => {
                let at = fields.iter().position(|field| field == *column).unwrap_or_else(|| {
                    fields.push((*column).clone());
                    fields.len() - 1
                });
                let source = OutputSource::Field(self.first_field + at);
                (source, column.column_type, column.encoding.clone())
            }
        };
        self.encodings.push(encoding);
        spec.outputs.push(OutputColumn { name: name.to_owned(), source, column_type });
        spec.outputs.len() - 1
    }
}

struct Request<'a> {
    /// `NAME` or `TABLE.NAME`.
    column: &'a str,
    alias: Option<&'a str>,
}

/// What a request means.
struct Found<'a, 't> {
    table: usize,
    /// Without the table.
    name: &'a str,
    offer: Offer<'t>,
}

impl<'a> Request<'a> {
    fn parse(text: &'a str) -> Self {
        // The last ` as ` in any case of letters.
        let at = text.to_ascii_lowercase().rfind(" as ");
        let (column, alias) = match at {
            Some(at) => (text[..at].trim(), Some(text[at + 4..].trim())),
            None => (text.trim(), None),
        };
        Self { column, alias }
    }

    /// The column that is meant. One of the whole name goes before one whose
    /// name starts behind the point.
    fn find<'t>(&self, tables: &'t [TableColumns]) -> Result<Found<'a, 't>, SelectError> {
        let matches = |(i, table): (usize, &'t TableColumns)| {
            let own = self.column.strip_prefix(table.table.name()).and_then(|rest| rest.strip_prefix('.'));
            let found = |name: &'a str| Some(Found { table: i, name, offer: table.offer(name)? });
            found(self.column).or_else(|| found(own?))
        };
        let mut found: Vec<_> = tables.iter().enumerate().filter_map(matches).collect();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(SelectError::Unknown {
                name: self.column.to_owned(),
                known: tables.iter().flat_map(TableColumns::names).collect(),
            }),
            _ => Err(SelectError::Ambiguous {
                name: self.column.to_owned(),
                choices: found
                    .iter()
                    .map(|found| format!("{}.{}", tables[found.table].table.name(), found.name))
                    .collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, TimeUnit};

    use super::*;
    use crate::table_def::{AnyTable, ColumnChoice, KeyPair};

    fn tables() -> Vec<TableColumns> {
        let column = TableColumn::plain;
        vec![
            TableColumns {
                table: TableKind::Instruments.into(),
                columns: vec![column("desk", ColumnType::Text), column("lot", ColumnType::Integer)],
            },
            TableColumns { table: TableKind::Users.into(), columns: vec![column("desk", ColumnType::Text)] },
        ]
    }

    fn select(requested: &[&str]) -> Result<Selection, SelectError> {
        let requested: Vec<_> = requested.iter().map(|&text| text.to_owned()).collect();
        select_outputs(&tables(), ["instrument_id", "price"], &requested)
    }

    fn added(selection: &Selection) -> Vec<(&str, usize)> {
        selection.added.iter().map(|added| (added.name.as_str(), added.index)).collect()
    }

    #[test]
    fn by_default_there_are_a_symbol_and_a_user() {
        assert_eq!(added(&select(&[]).expect("defaults")), [("instrument", 0), ("user", 1)]);
    }

    #[test]
    fn the_order_asked_for_is_that_of_the_output() {
        let requested = ["users.desk as user_desk", "lot", "username", "instruments.desk", "right AS kind"];
        let selection = select(&requested).expect("known columns");
        let expected = [("user_desk", 3), ("lot", 0), ("username", 4), ("desk", 1), ("kind", 2)];
        assert_eq!(added(&selection), expected);
        assert_eq!(selection.tables[0].fields.len(), 2);
        assert_eq!(selection.tables[0].spec.outputs[0].source, OutputSource::Field(1));
        assert_eq!(selection.tables[1].spec.outputs[1].source, OutputSource::Field(0));
    }

    /// They stand in checkpoints, and a later version that has other words refuses those.
    #[test]
    fn what_is_held_is_told_in_the_same_words_by_every_version() {
        let arrow = |name: &str, ty: DataType| TableColumn {
            name: name.to_owned(),
            column_type: ColumnType::Bytes,
            encoding: ValueEncoding::Arrow(ty),
        };
        let zoned = DataType::Timestamp(TimeUnit::Millisecond, Some("+02:00".into()));
        let list = DataType::new_list(DataType::Int32, true);
        let mut columns = vec![
            arrow("a", DataType::Int64),
            arrow("b", DataType::Timestamp(TimeUnit::Millisecond, None)),
            arrow("c", zoned),
            arrow("d", DataType::Decimal128(38, 4)),
            arrow("e", list),
            TableColumn::plain("f", ColumnType::Text),
        ];
        columns.push(TableColumn {
            encoding: ValueEncoding::JsonToken,
            ..TableColumn::plain("g", ColumnType::Text)
        });
        let key = KeyPair { trades: "k".to_owned(), table: "k".to_owned() };
        let choice = ColumnChoice { column: "aa".to_owned(), name: "a".to_owned(), is_optional: false };
        let any = AnyTable { name: "x".to_owned(), key: vec![key], columns: vec![choice] };
        let mut tables = tables();
        tables.push(TableColumns { table: any.into(), columns });
        let requested = ["x.a", "b as y", "c", "d", "e", "f", "g", "lot", "right as kind", "user"];
        let requested: Vec<_> = requested.iter().map(|&text| text.to_owned()).collect();
        let held = select_outputs(&tables, ["price"], &requested).expect("known columns").held;
        let held: Vec<_> = held.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        assert_eq!(
            held,
            [
                "output column a = x.aa as a",
                "output column c = x.c",
                "output column d = x.d",
                "output column e = x.e",
                "output column f = x.f",
                "output column g = x.g",
                "output column kind = instruments.option_type",
                "output column lot = instruments.lot",
                "output column user = users.user",
                "output column y = x.b",
                "table instruments: column lot = integer",
                "table instruments: key = id",
                "table users: key = id",
                "table x: column a = Int64",
                "table x: column b = Timestamp(ms)",
                "table x: column c = Timestamp(ms, \"+02:00\")",
                "table x: column d = Decimal128(38, 4)",
                "table x: column e = List(Int32)",
                "table x: column f = text",
                "table x: column g = JSON",
                "table x: key = text",
            ]
        );
    }

    #[test]
    fn what_cannot_be_selected_is_explained() {
        let error = select(&["colour"]).expect_err("unknown").to_string();
        assert!(error.contains("instruments.instrument_padded") && error.contains("users.desk"), "{error}");
        let error = select(&["desk"]).expect_err("in both tables").to_string();
        assert!(error.contains("instruments.desk, users.desk"), "{error}");
        let error = select(&["lot as price"]).expect_err("taken").to_string();
        assert!(error.contains("\"lot as NAME\""), "{error}");
        assert!(select(&["lot", "lot"]).is_err());
    }
}
