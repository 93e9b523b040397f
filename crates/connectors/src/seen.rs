//! Where the rows of a table stand, to tell of two that may not be there both.

use std::collections::BTreeMap;

use tradejoin_model::{ChangeKind, History};

use crate::flaw::{Flaw, Overlapping, Place, Reason};
use crate::mode::Stamp;

/// The places of rows, by their keys.
pub(crate) struct Seen<K> {
    /// Where each key stands, if it may stand once alone, with what tells its rows
    /// apart.
    lines: Option<BTreeMap<(K, i64), Place>>,
    /// Where the rows of each key stand, if they may not overlap.
    pub(crate) histories: Option<BTreeMap<K, History<Place>>>,
}

impl<K: Clone + Ord> Seen<K> {
    /// Rows that may overlap; with `once` no two may be the same.
    pub(crate) fn new(once: bool) -> Self {
        Self { lines: once.then(BTreeMap::new), histories: None }
    }

    /// Whether anything is kept in mind.
    pub(crate) fn is_needed(&self) -> bool {
        self.lines.is_some() || self.histories.is_some()
    }

    /// Notes where a row stands, as the table itself will have it. Gives the place of
    /// an earlier one that it is the same as and may not be.
    ///
    /// # Errors
    /// If the row overlaps another.
    pub(crate) fn note(
        &mut self,
        key: &K,
        change: ChangeKind,
        stamp: Stamp,
        place: Place,
        key_column: &str,
        shown: impl FnOnce() -> String,
    ) -> Result<Option<Place>, Flaw> {
        if let (Some(histories), Stamp::Validity(validity)) = (&mut self.histories, stamp) {
            let history = histories.entry(key.clone()).or_default();
            match change {
                ChangeKind::Upsert => {
                    history.put(validity, place).map_err(|overlap| {
                        let (first, first_validity) = (overlap.value, overlap.validity);
                        let reason =
                            Reason::Overlap(Box::new(Overlapping { validity, first, first_validity }));
                        Flaw::cell(key_column, &shown(), reason)
                    })?;
                }
                ChangeKind::Delete => drop(history.delete(validity)),
            }
        }
        let lines = self.lines.as_mut();
        Ok(lines.and_then(|lines| lines.insert((key.clone(), stamp.identity()), place)))
    }
}
