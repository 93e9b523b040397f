//! What becomes of a trade that finds no row in a table.

use std::time::Duration;

/// What becomes of a trade that misses in a table.
///
/// A trade that misses in several tables is judged by the one that decides most:
/// [`Fail`](Self::Fail), then [`DeadLetter`](Self::DeadLetter), then
/// [`Drop`](Self::Drop), then [`Hold`](Self::Hold), which waits for all tables
/// that hold, then [`Keep`](Self::Keep).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissPolicy {
    /// It is dropped, and counted.
    #[default]
    Drop,
    /// It is passed on with that table's columns empty, and counted.
    Keep,
    /// It ends the run with an error that names it.
    Fail,
    /// It is put aside with its reason.
    DeadLetter,
    /// It waits for its key.
    Hold(Hold),
}

/// How long a trade waits for a missing key, and what becomes of it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How long.
    pub limit: HoldLimit,
    /// What becomes of it when its key has not come by then.
    pub then: Expired,
}

/// How long a trade waits for a missing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldLimit {
    /// Until so many trades have been read behind it: the same in every run over
    /// the same input.
    Rows(u64),
    /// Until a trade has been read whose time is more than so many nanoseconds
    /// behind its own: the same in every run over the same input.
    EventTime(u64),
    /// For this time on the clock: what comes of that no two runs need have in
    /// common.
    Processing(Duration),
}

/// What becomes of a trade whose key has not come in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expired {
    /// It is passed on with the columns of the table empty.
    Keep,
    /// It is dropped.
    Drop,
    /// It is put aside with its reason.
    #[default]
    DeadLetter,
}

impl MissPolicy {
    /// The name of the policy on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Keep => "keep",
            Self::Fail => "fail",
            Self::DeadLetter => "dead-letter",
            Self::Hold(_) => "hold",
        }
    }

    /// The hold, if that is the policy.
    #[must_use]
    pub const fn hold(self) -> Option<Hold> {
        match self {
            Self::Hold(hold) => Some(hold),
            _ => None,
        }
    }

    /// Whether trades need a time to wait.
    #[must_use]
    pub const fn needs_time(self) -> bool {
        matches!(self, Self::Hold(Hold { limit: HoldLimit::EventTime(_), .. }))
    }

    /// What a miss comes to; a trade that nothing could be found for, such as one
    /// without a key, waits for nothing.
    #[must_use]
    pub const fn verdict(self, can_wait: bool) -> Verdict {
        match self {
            Self::Keep => Verdict::Keep,
            Self::Hold(_) if can_wait => Verdict::Hold,
            Self::Hold(hold) => hold.then.verdict(),
            Self::Drop => Verdict::Drop,
            Self::DeadLetter => Verdict::DeadLetter,
            Self::Fail => Verdict::Fail,
        }
    }
}

impl Expired {
    /// The name of the outcome on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::DeadLetter => "dead-letter",
        }
    }

    /// What a miss comes to in the end.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Keep => Verdict::Keep,
            Self::Drop => Verdict::Drop,
            Self::DeadLetter => Verdict::DeadLetter,
        }
    }
}

/// What the misses of one trade come to: the highest of its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is passed on.
    Keep,
    /// It waits.
    Hold,
    /// It is dropped.
    Drop,
    /// It is put aside.
    DeadLetter,
    /// It ends the run.
    Fail,
}
