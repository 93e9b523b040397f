//! Trades that were written, and are written again since their rows have changed.

use std::ops::AddAssign;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::column::{Column, ColumnType};

/// Why a trade is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RevisionReason {
    /// It had found nothing.
    Late,
    /// It finds another row than before.
    Changed,
    /// The row that it had found is gone.
    Deleted,
}

impl RevisionReason {
    /// The name in the output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
        }
    }
}

/// Trades with what they find now, in the order of the changes that revise them.
#[derive(Clone, Debug)]
pub struct Revised {
    /// The trades' own columns.
    pub trades: RecordBatch,
    /// The columns of an [`Enriched`](crate::Enriched) batch, and behind them those of
    /// [`Revised::COLUMNS`].
    pub columns: Vec<Column>,
}

impl Revised {
    /// What a revision says of itself: the number of the trade among those read, from
    /// 1, how often it has been written again, and the [reason](RevisionReason).
    pub const COLUMNS: [(&'static str, ColumnType); 3] = [
        ("trade_number", ColumnType::Integer),
        ("revision", ColumnType::Integer),
        ("reason", ColumnType::Text),
    ];
}

/// How often trades were written again, and which could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrectionLedger {
    /// Revisions of trades that had found nothing.
    pub late: u64,
    /// Revisions of trades that find another row.
    pub changed: u64,
    /// Revisions of trades whose row is gone.
    pub deleted: u64,
    /// Trades that were not recent as long as was asked for, because others needed
    /// the room.
    pub early: u64,
    /// Trades that never were, since they have no time to go by.
    pub untimed: u64,
}

impl CorrectionLedger {
    /// All revisions.
    #[must_use]
    pub fn revisions(&self) -> u64 {
        self.late + self.changed + self.deleted
    }

    /// Counts a revision.
    pub fn count(&mut self, reason: RevisionReason) {
        *match reason {
            RevisionReason::Late => &mut self.late,
            RevisionReason::Changed => &mut self.changed,
            RevisionReason::Deleted => &mut self.deleted,
        } += 1;
    }
}

impl AddAssign for CorrectionLedger {
    fn add_assign(&mut self, other: Self) {
        self.late += other.late;
        self.changed += other.changed;
        self.deleted += other.deleted;
        self.early += other.early;
        self.untimed += other.untimed;
    }
}
