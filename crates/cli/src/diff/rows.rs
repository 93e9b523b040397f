//! The first rows of each kind of change, with what they said before.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use tradejoin_connectors::{ChangeText, ChangeTexts, Difference, TableReader};
use tradejoin_model::{ChangeKeys, ChangeKind, ChangeLane, INTEGER_NULL, OwnedKey};

/// What the keys of a table look like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyForm {
    integers: u64,
    texts: u64,
}

/// The first rows of each kind.
#[derive(Debug, Default, Serialize)]
pub(super) struct Rows {
    pub(super) added: Vec<Row>,
    pub(super) changed: Vec<Row>,
    pub(super) removed: Vec<Row>,
    pub(super) duplicates: Vec<Row>,
}

/// A row.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) key: String,
    /// When it begins, in a table that is looked up by time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) valid_from: Option<String>,
    /// The columns that changed, or those of a row that is added or stands twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) columns: Vec<Cell>,
}

/// A value before and after; `None` for null, or for none.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    pub(super) column: String,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
}

impl KeyForm {
    pub(super) fn take(&mut self, lane: &ChangeLane, changes: Range<usize>) {
        let is_integer = |text: &[u8]| {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
        };
        match &lane.keys {
            // Whatever is no integer is refused.
            ChangeKeys::Ids(_) => self.integers += changes.len() as u64,
            ChangeKeys::Texts(texts) => {
                for change in changes {
                    let is_integer = is_integer(texts.get(change).unwrap_or_default());
                    *(if is_integer { &mut self.integers } else { &mut self.texts }) += 1;
                }
            }
        }
    }

    /// How keys that are new differ from these, if all of these are of one form and all
    /// of those of the other.
    pub(super) fn changed_to(self, new: &Self) -> Option<[&'static str; 2]> {
        match (self, *new) {
            (Self { integers: 1.., texts: 0 }, Self { integers: 0, texts: 1.. }) => {
                Some(["integers", "texts"])
            }
            (Self { integers: 0, texts: 1.. }, Self { integers: 1.., texts: 0 }) => {
                Some(["texts", "integers"])
            }
            _ => None,
        }
    }
}

/// The first `show` rows of each kind. `old` opens the file in force, which is read if a
/// row of it changes.
pub(super) fn first_rows(
    difference: &Difference,
    texts: &ChangeTexts,
    show: usize,
    old: impl FnOnce() -> anyhow::Result<TableReader>,
) -> anyhow::Result<Rows> {
    let lane = &difference.changes;
    // The file is no larger than a lane can count.
    let (removed, added, end) = (difference.removed as u32, difference.added_from as u32, lane.len() as u32);
    let is_row = |change: &u32| {
        let is_twice = difference.twice.binary_search(change).is_ok();
        !is_twice && lane.kinds[*change as usize] == ChangeKind::Upsert
    };
    let changed: Vec<u32> = (removed..added).filter(is_row).take(show).collect();
    let added: Vec<u32> = (added..end).filter(is_row).take(show).collect();
    let removed: Vec<u32> = (0..removed).take(show).collect();
    let twice: Vec<u32> = difference.twice.iter().copied().take(show).collect();
    let new_row = |text: ChangeText| row(texts, None, text);
    Ok(Rows {
        added: texts.texts(lane, &added)?.into_iter().map(new_row).collect(),
        removed: texts.texts(lane, &removed)?.into_iter().map(Row::of_key).collect(),
        duplicates: texts.texts(lane, &twice)?.into_iter().map(new_row).collect(),
        changed: changed_rows(lane, &changed, texts, old)?,
    })
}

fn changed_rows(
    lane: &ChangeLane,
    changed: &[u32],
    texts: &ChangeTexts,
    old: impl FnOnce() -> anyhow::Result<TableReader>,
) -> anyhow::Result<Vec<Row>> {
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let identity = |lane: &ChangeLane, change: usize| (lane.keys.get(change), lane.validity(change).from);
    let wanted = changed.iter().map(|&change| (identity(lane, change as usize), (INTEGER_NULL, None)));
    let mut before: BTreeMap<(OwnedKey, i64), (i64, Option<ChangeText>)> = wanted.collect();
    let mut old = old()?;
    while let Some(rows) = old.read()? {
        for change in 0..rows.len() {
            let row = before.get_mut(&identity(&rows, change));
            // The last one counts, or of versions the highest, as when the table is loaded.
            if let Some((version, text)) = row.filter(|row| row.0 <= rows.version(change)) {
                (*version, *text) = (rows.version(change), texts.texts(&rows, &[change as u32])?.pop());
            }
        }
    }
    let after = texts.texts(lane, changed)?.into_iter().zip(changed);
    let row = |(after, &change)| {
        row(texts, before.remove(&identity(lane, change as usize)).and_then(|before| before.1), after)
    };
    Ok(after.map(row).collect())
}

/// A row with the columns in which it differs from what it was.
fn row(texts: &ChangeTexts, before: Option<ChangeText>, after: ChangeText) -> Row {
    let ChangeText { key, valid_from, values } = after;
    let old = before.map(|before| before.values);
    let cells = texts.names().iter().zip(values).enumerate().map(|(index, (column, new))| {
        let old = old.as_ref().and_then(|old| old[index].clone());
        Cell { column: column.clone(), old, new }
    });
    Row { key, valid_from, columns: cells.filter(|cell| cell.old != cell.new).collect() }
}

impl Row {
    fn of_key(text: ChangeText) -> Self {
        Self { key: text.key, valid_from: text.valid_from, columns: Vec::new() }
    }
}
