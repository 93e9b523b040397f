//! Why a trade found nothing.

use tradejoin_model::{ChangeKind, INTEGER_NULL, LookUp, TableSpec, Validity};

use super::find::Trade;
use super::trace::Event;

/// Why, with the rows that show it.
#[derive(Clone, Debug)]
pub(super) struct Why<'e> {
    pub(super) reason: Reason,
    /// Those of the reason: the removal, or the rows of other times.
    pub(super) rows: Vec<&'e Event>,
    /// The first row behind the trade that it would have found.
    pub(super) later: Option<&'e Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    NoKey,
    NoTime,
    NeverThere,
    /// It comes behind the trade, and was not there before.
    Later,
    Removed,
    OtherTimes,
    TooOld,
}

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NoKey => "no-key",
            Self::NoTime => "no-time",
            Self::NeverThere => "never-there",
            Self::Later => "later",
            Self::Removed => "removed",
            Self::OtherTimes => "other-times",
            Self::TooOld => "too-old",
        }
    }
}

/// Why `trade` found nothing in a table; `events` are all in the sequence.
pub(super) fn why<'e>(trade: &Trade, table: usize, spec: &TableSpec, events: &'e [Event]) -> Why<'e> {
    let only = |reason| Why { reason, rows: Vec::new(), later: None };
    let Some(key) = &trade.keys[table] else { return only(Reason::NoKey) };
    let of_key = events.iter().filter(|event| event.table == table && event.key == *key);
    let (before, behind): (Vec<_>, Vec<_>) = of_key.partition(|event| event.trades_before < trade.number);
    let upserts = |event: &&&Event| event.kind == ChangeKind::Upsert;
    let later = |is_found: &dyn Fn(Validity) -> bool| {
        behind.iter().filter(upserts).find(|event| is_found(event.validity)).copied()
    };
    let was_there = before.iter().any(|event| event.kind == ChangeKind::Upsert);
    let removal = before.iter().rev().find(|event| event.kind == ChangeKind::Delete);
    let (reason, rows, later) = match (spec.look_up, trade.time) {
        (LookUp::AsOf { .. }, None) => return only(Reason::NoTime),
        (LookUp::AsOf { tolerance }, Some(time)) => {
            let later = later(&|validity| validity.is_found_at(time, tolerance));
            let rows = in_force(&before);
            let valid = rows.iter().rev().find(|row| row.validity.from <= time);
            match valid.filter(|row| row.validity.is_found_at(time, None)) {
                Some(row) => (Reason::TooOld, vec![*row], later),
                None if !rows.is_empty() => (Reason::OtherTimes, rows, later),
                None => (absence(was_there, later), removal.copied().into_iter().collect(), later),
            }
        }
        (LookUp::Latest, _) => {
            let later = later(&|_| true);
            (absence(was_there, later), removal.copied().into_iter().collect(), later)
        }
        (LookUp::LatestVersion, _) => {
            let removals = before.iter().filter(|event| event.kind == ChangeKind::Delete);
            let removal = removals.max_by_key(|event| event.version).copied();
            // Only a row of a higher version brings it back.
            let is_higher = |event: &&&Event| removal.is_none_or(|removal| event.version > removal.version);
            let later = behind.iter().filter(upserts).find(is_higher).copied();
            (absence(was_there, later), removal.into_iter().collect(), later)
        }
    };
    Why { reason, rows: if reason == Reason::Later { Vec::new() } else { rows }, later }
}

fn absence(was_there: bool, later: Option<&Event>) -> Reason {
    match later {
        _ if was_there => Reason::Removed,
        Some(_) => Reason::Later,
        None => Reason::NeverThere,
    }
}

/// The rows of a key by their beginnings, as the changes before a trade have made them.
fn in_force<'e>(changes: &[&'e Event]) -> Vec<&'e Event> {
    let mut rows: Vec<&Event> = Vec::new();
    for &change in changes {
        let from = change.validity.from;
        if change.kind == ChangeKind::Delete {
            rows.retain(|row| from != INTEGER_NULL && row.validity.from != from);
            continue;
        }
        let holds = |row: Validity, other: Validity| {
            row.to != INTEGER_NULL && row.from < other.from && other.from < row.to
        };
        // A row that overlaps another was refused.
        if rows.iter().any(|row| holds(row.validity, change.validity) || holds(change.validity, row.validity))
        {
            continue;
        }
        rows.retain(|row| row.validity.from != from);
        rows.push(change);
    }
    rows.sort_by_key(|row| row.validity.from);
    rows
}
