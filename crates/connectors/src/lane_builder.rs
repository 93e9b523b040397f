//! Changes of a table out of cells, whatever they come from.

use std::borrow::Cow;
use std::sync::Arc;

use tradejoin_model::{
    ChangeKind, ChangeLane, Column, ColumnType, Expiry, INSTRUMENT_COLUMNS, INSTRUMENT_ID, INTEGER_NULL, Key,
    KnownColumn, KnownKind, OccSymbol, OptionType, Strike, TableSpec, TextColumn, Ticker, Turns,
    USER_COLUMNS, USER_ID, Validity,
};

use crate::error::OpenError;
use crate::flaw::{Flaw, Reason};
use crate::header::Header;
use crate::mode::{Stamp, StampColumns, TableMode};
use crate::parse;
use crate::values::ValueEncoding;

/// A table that can be read from files and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// Options by `instrument_id`. Field 0 of their changes is
    /// [`Column::Options`].
    Instruments,
    /// Users by `user_id`. Field 0 of their changes is the username, a
    /// [`Column::Text`].
    Users,
}

impl TableKind {
    /// Every kind, in the order of the tables of a run.
    pub const ALL: [Self; 2] = [Self::Instruments, Self::Users];

    /// The table's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instruments => "instruments",
            Self::Users => "users",
        }
    }

    /// The `type` of a message that is a row of the table.
    #[must_use]
    pub const fn message_type(self) -> &'static str {
        match self {
            Self::Instruments => "instrument",
            Self::Users => "user",
        }
    }

    /// The column that holds the key, in the table and in trades.
    #[must_use]
    pub const fn key_column(self) -> &'static str {
        match self {
            Self::Instruments => INSTRUMENT_ID,
            Self::Users => USER_ID,
        }
    }

    /// The columns that are known by name.
    #[must_use]
    pub const fn known_columns(self) -> &'static [KnownColumn] {
        match self {
            Self::Instruments => INSTRUMENT_COLUMNS,
            Self::Users => USER_COLUMNS,
        }
    }

    /// Those of [`TableKind::known_columns`] that a table must have: the key,
    /// then what field 0 is made of.
    pub(crate) fn required_columns(self) -> &'static [KnownColumn] {
        match self {
            Self::Instruments => &INSTRUMENT_COLUMNS[..5],
            Self::Users => USER_COLUMNS,
        }
    }

    /// The table with its default output and distribution.
    #[must_use]
    pub fn spec(self) -> TableSpec {
        match self {
            Self::Instruments => TableSpec::instruments(),
            Self::Users => TableSpec::users(),
        }
    }

    fn base_column(self) -> Column {
        match self {
            Self::Instruments => Column::Options(Vec::new()),
            Self::Users => Column::Text(TextColumn::default()),
        }
    }
}

/// The column that says whether a row is removed.
pub(crate) const DELETED: &str = "deleted";

/// A column of a table beyond those that field 0 is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name in the file.
    pub name: String,
    /// Its type as an output.
    pub column_type: ColumnType,
    /// What its values stand for.
    pub encoding: ValueEncoding,
}

impl TableColumn {
    /// A column of values that stand for themselves.
    #[must_use]
    pub fn plain(name: &str, column_type: ColumnType) -> Self {
        Self { name: name.to_owned(), column_type, encoding: ValueEncoding::Plain }
    }

    /// The type as an output of a column that comes as text.
    pub(crate) fn type_of_text(kind: KnownKind) -> ColumnType {
        match kind {
            KnownKind::Timestamp => ColumnType::Timestamp,
            KnownKind::Boolean => ColumnType::Boolean,
            KnownKind::Id => ColumnType::Integer,
            _ => ColumnType::Text,
        }
    }
}

/// Where the columns of a table stand in its file.
#[derive(Clone, Debug)]
struct Layout {
    /// As [`TableKind::required_columns`].
    required: Vec<usize>,
    deleted: Option<usize>,
    stamp: StampColumns,
    extra: Vec<(Option<usize>, ColumnType)>,
}

/// What a row says about field 0 and the others, before it is appended.
enum Base {
    Options(OccSymbol),
    Text(Option<String>),
}

#[derive(Clone)]
enum Extra {
    Text(Option<String>),
    Integer(i64),
}

/// A cell: its text, or `None` if it has no value.
pub(crate) type CellText<'a> = Option<Cow<'a, str>>;

/// Collects the changes of one table.
#[derive(Clone)]
pub(crate) struct LaneBuilder {
    kind: TableKind,
    header: Header,
    layout: Layout,
    lane: ChangeLane,
    row: Vec<Extra>,
}

impl LaneBuilder {
    /// # Errors
    /// If a required column is missing.
    pub(crate) fn new(source_name: &Arc<str>, kind: TableKind, header: Header) -> Result<Self, OpenError> {
        let find = |column: &KnownColumn| header.require(source_name, column.name, kind.known_columns());
        let required = kind.required_columns().iter().map(find).collect::<Result<_, _>>()?;
        let (deleted, stamp) = (header.find(DELETED), StampColumns::None);
        let layout = Layout { required, deleted, stamp, extra: Vec::new() };
        let mut builder = Self { kind, header, layout, lane: ChangeLane::default(), row: Vec::new() };
        builder.lane.fields = builder.empty_fields();
        Ok(builder)
    }

    /// Adds fields behind field 0. What the file has not is null.
    pub(crate) fn set_extra(&mut self, extra: &[TableColumn]) {
        let place = |column: &TableColumn| (self.header.find(&column.name), column.column_type);
        self.layout.extra = extra.iter().map(place).collect();
        self.lane.fields = self.empty_fields();
    }

    /// Reads the columns of `mode`.
    ///
    /// # Errors
    /// If one is missing that must be there.
    pub(crate) fn set_mode(&mut self, source_name: &Arc<str>, mode: &TableMode) -> Result<(), OpenError> {
        self.layout.stamp = StampColumns::find(source_name, &self.header, mode)?;
        Ok(())
    }

    /// Adds a column behind the others, unless it is there.
    pub(crate) fn add_column(&mut self, name: &str) {
        if self.header.find(name).is_none() {
            self.header.names.push(name.to_owned());
            self.header.known.push(None);
        }
    }

    /// Reads whether a row is removed, also of a table that does not know such a column.
    pub(crate) fn read_removals(&mut self) {
        self.add_column(DELETED);
        self.layout.deleted = self.header.find(DELETED);
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The columns that are not only there to make field 0.
    pub(crate) fn other_columns(&self) -> impl Iterator<Item = usize> {
        let base = &self.layout.required[1..];
        (0..self.header.names.len()).filter(move |column| !base.contains(column))
    }

    /// The columns whose cells are asked for.
    pub(crate) fn is_read(&self, column: usize) -> bool {
        self.layout.required.contains(&column)
            || self.layout.deleted == Some(column)
            || self.layout.stamp.is_read(column)
            || self.layout.extra.iter().any(|(place, _)| *place == Some(column))
    }

    pub(crate) fn len(&self) -> usize {
        self.lane.len()
    }

    /// Appends a change, or nothing if the row is bad, on its own or to `check`,
    /// which is shown what there is to see without its values.
    pub(crate) fn push<'a>(
        &mut self,
        at_row: u32,
        cell: &dyn Fn(usize) -> CellText<'a>,
        check: impl FnOnce(Key, ChangeKind, Stamp) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        // Only a column of texts has a use for an empty one.
        let value = |column: usize| cell(column).filter(|text| !text.is_empty());
        let name = |column: usize| self.header.names[column].as_str();
        let key_column = self.layout.required[0];
        let key = value(key_column).ok_or_else(|| Flaw::empty(name(key_column)))?;
        let key = Key(parse::id(&key).map_err(|reason| Flaw::cell(name(key_column), &key, reason))?);
        let deleted = match self.layout.deleted.and_then(|column| Some((column, value(column)?))) {
            Some((column, text)) => {
                parse::boolean(&text).map_err(|reason| Flaw::cell(name(column), &text, reason))?
            }
            None => false,
        };
        let terms = &self.layout.required[1..];
        // Of a row that goes, the key is enough.
        let bare = deleted && terms.iter().all(|&column| value(column).is_none());
        let base = match self.kind {
            TableKind::Instruments if bare => Base::Options(no_terms()),
            TableKind::Instruments => Base::Options(options(terms, &value, &name)?),
            TableKind::Users => Base::Text(cell(terms[0]).map(Cow::into_owned)),
        };
        self.row.clear();
        for &(column, ty) in &self.layout.extra {
            self.row.push(match column {
                None => Extra::null(ty),
                Some(column) if ty == ColumnType::Text => Extra::Text(cell(column).map(Cow::into_owned)),
                Some(column) => match value(column) {
                    None => Extra::null(ty),
                    Some(text) => Extra::Integer(
                        integer(ty, &text).map_err(|reason| Flaw::cell(name(column), &text, reason))?,
                    ),
                },
            });
        }
        let kind = if deleted { ChangeKind::Delete } else { ChangeKind::Upsert };
        let stamp = self.layout.stamp.read(kind, &value, &name)?;
        check(key, kind, stamp)?;
        self.append(at_row, key, kind, stamp, &base);
        Ok(())
    }

    /// Notes the turn of the change that was appended last, which is of this table.
    pub(crate) fn note_turn(&mut self, turns: &mut Turns, table: usize) {
        let Some(&at_row) = self.lane.at_rows.last() else { return };
        let last = self.lane.len() - 1;
        turns.note(at_row, table, last, &mut self.lane.turns);
    }

    fn append(&mut self, at_row: u32, key: Key, kind: ChangeKind, stamp: Stamp, base: &Base) {
        self.lane.at_rows.push(at_row);
        self.lane.keys.push(key);
        self.lane.kinds.push(kind);
        match stamp {
            Stamp::None => {}
            Stamp::Version(version) => self.lane.versions.push(version),
            Stamp::Validity(Validity { from, to }) => {
                self.lane.valid_from.push(from);
                self.lane.valid_to.push(to);
            }
        }
        match (&mut self.lane.fields[0], base) {
            (Column::Options(symbols), Base::Options(symbol)) => symbols.push(*symbol),
            (Column::Text(texts), Base::Text(text)) => texts.push(text.as_deref()),
            _ => unreachable!("field 0 is what its table makes it"),
        }
        for (field, value) in self.lane.fields[1..].iter_mut().zip(&self.row) {
            match (field, value) {
                (Column::Text(texts), Extra::Text(text)) => texts.push(text.as_deref()),
                (Column::Integers(values), Extra::Integer(value)) => values.push(*value),
                _ => unreachable!("a field holds values of its type"),
            }
        }
    }

    /// The changes so far; begins anew.
    pub(crate) fn take(&mut self) -> ChangeLane {
        let fields = self.empty_fields();
        std::mem::replace(&mut self.lane, ChangeLane { fields, ..ChangeLane::default() })
    }

    fn empty_fields(&self) -> Vec<Column> {
        let extra = self.layout.extra.iter().map(|&(_, ty)| Column::new(ty));
        std::iter::once(self.kind.base_column()).chain(extra).collect()
    }
}

impl Extra {
    fn null(ty: ColumnType) -> Self {
        if ty == ColumnType::Text { Self::Text(None) } else { Self::Integer(INTEGER_NULL) }
    }
}

/// What stands in field 0 of a deletion that says no more than its key.
pub(crate) fn no_terms() -> OccSymbol {
    OccSymbol {
        ticker: Ticker::from_bytes(b"NONE").expect("four letters are a ticker"),
        expiry: Expiry::from_epoch_days(10_957).expect("the first day of 2000 is an expiry"),
        option_type: OptionType::Call,
        strike: Strike::MAX,
    }
}

/// The terms of an option in the columns ticker, strike, expiry, option type.
fn options<'a, 'n>(
    columns: &[usize],
    value: &impl Fn(usize) -> CellText<'a>,
    name: &impl Fn(usize) -> &'n str,
) -> Result<OccSymbol, Flaw> {
    let (ticker, strike, expiry, option_type) = (columns[0], columns[1], columns[2], columns[3]);
    Ok(OccSymbol {
        ticker: term(ticker, value, name, |text| Ok(text.parse()?))?,
        expiry: term(expiry, value, name, parse::expiry)?,
        option_type: term(option_type, value, name, |text| Ok(text.parse()?))?,
        strike: term(strike, value, name, |text| Ok(text.parse()?))?,
    })
}

fn term<'a, 'n, T>(
    column: usize,
    value: &impl Fn(usize) -> CellText<'a>,
    name: &impl Fn(usize) -> &'n str,
    parse: impl Fn(&str) -> Result<T, Reason>,
) -> Result<T, Flaw> {
    let text = value(column).ok_or_else(|| Flaw::empty(name(column)))?;
    parse(&text).map_err(|reason| Flaw::cell(name(column), &text, reason))
}

/// A value that a [`Column::Integers`] holds.
fn integer(ty: ColumnType, text: &str) -> Result<i64, Reason> {
    match ty {
        ColumnType::Integer | ColumnType::Text | ColumnType::Bytes => parse::integer(text),
        ColumnType::Strike => Ok(i64::from(text.parse::<Strike>()?.thousandths())),
        ColumnType::Date => parse::day(text),
        ColumnType::Timestamp => parse::timestamp(text),
        ColumnType::Boolean => parse::boolean(text).map(i64::from),
    }
}
