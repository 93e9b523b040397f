//! The rows of a key, by the rules of each mode.

use std::cmp::Ordering;

use tradejoin_model::{ColumnType, INTEGER_NULL, TableLedger, TableSpec};

/// A row of a key, or in a table with versions that there is none.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) version: i64,
    pub(crate) values: Option<Vec<Option<Vec<u8>>>>,
}

/// What has become of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is where none was.
    Added,
    /// It is in the place of another.
    Replaced,
    /// It counts, and is none.
    Removed,
    /// It does not count.
    Not,
}

/// Puts a row in the place of any other of its key.
pub(crate) fn put_latest(rows: &mut Vec<Row>, row: Row) -> Put {
    let put = if rows.is_empty() { Put::Added } else { Put::Replaced };
    rows.clear();
    if row.values.is_none() {
        return Put::Removed;
    }
    rows.push(row);
    put
}

/// Puts a row in the place of one with a lower version, or with the same one and
/// lesser content; that there is no row is the greatest content.
pub(crate) fn put_version(spec: &TableSpec, rows: &mut Vec<Row>, row: Row, account: &mut TableLedger) -> Put {
    let is_some = row.values.is_some();
    let Some(old) = rows.first() else {
        rows.push(row);
        return if is_some { Put::Added } else { Put::Removed };
    };
    let was_some = old.values.is_some();
    let content = match (&row.values, &old.values) {
        (Some(new), Some(old)) => compare(spec, new, old),
        (new, old) => new.is_none().cmp(&old.is_none()),
    };
    match row.version.cmp(&old.version) {
        Ordering::Less => account.stale += 1,
        Ordering::Equal if content == Ordering::Equal => return Put::Not,
        Ordering::Equal => account.conflicts += 1,
        Ordering::Greater => {}
    }
    if row.version.cmp(&old.version).then(content) == Ordering::Greater {
        rows[0] = row;
        return match (is_some, was_some) {
            (true, true) => Put::Replaced,
            (true, false) => Put::Added,
            (false, _) => Put::Removed,
        };
    }
    Put::Not
}

fn compare(spec: &TableSpec, new: &[Option<Vec<u8>>], old: &[Option<Vec<u8>>]) -> Ordering {
    let number = |value: &Option<Vec<u8>>| {
        value.as_ref().map(|digits| String::from_utf8_lossy(digits).parse::<i64>().expect("a number"))
    };
    let columns = spec.outputs.iter().zip(new.iter().zip(old));
    let mut orders = columns.map(|(output, (new, old))| match output.column_type {
        ColumnType::Text | ColumnType::Bytes => new.cmp(old),
        _ => number(new).cmp(&number(old)),
    });
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Puts a row among those of other times, or in the place of that with the same
/// beginning; a row that overlaps another is refused.
pub(crate) fn put_as_of(rows: &mut Vec<Row>, row: Row, account: &mut TableLedger) -> Put {
    if row.values.is_none() {
        let len = rows.len();
        rows.retain(|other| row.from != INTEGER_NULL && other.from != row.from);
        return if rows.len() < len { Put::Removed } else { Put::Not };
    }
    let holds =
        |row: &Row, other: &Row| row.to != INTEGER_NULL && row.from < other.from && other.from < row.to;
    if rows.iter().any(|other| holds(other, &row) || holds(&row, other)) {
        account.overlaps += 1;
        return Put::Not;
    }
    let len = rows.len();
    rows.retain(|other| other.from != row.from);
    let replaced = rows.len() < len;
    rows.push(row);
    if replaced { Put::Replaced } else { Put::Added }
}

/// Whether of `rows`, all those of a key, `row` is the one that a trade at `time`
/// sees.
pub(crate) fn is_seen(row: &Row, rows: &[Row], time: i64, tolerance: Option<u64>) -> bool {
    let next = rows.iter().map(|other| other.from).filter(|&from| from > row.from).min();
    let end = if row.to == INTEGER_NULL { next } else { Some(row.to) };
    let age = i128::from(time) - i128::from(row.from);
    let is_recent = tolerance.is_none_or(|most| row.from != INTEGER_NULL && age <= i128::from(most));
    row.from <= time && end.is_none_or(|end| time < end) && is_recent
}
