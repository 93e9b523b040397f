//! How trades wait, and how many did.

/// How trades wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldConfig {
    /// How many may wait: over it, those that came first leave early.
    pub rows_max: u64,
    /// How many bytes they may take, estimated for each from its values alone.
    pub bytes_max: u64,
    /// Whether trades behind one that waits stand in line, so that the output has
    /// the order of the input.
    pub in_line: bool,
    /// Whether a column behind all others says how many trades were read while a
    /// trade waited.
    pub wait_column: bool,
}

impl Default for HoldConfig {
    /// 2,000,000 trades, 512 MiB, nobody in line, no column.
    fn default() -> Self {
        Self { rows_max: 2_000_000, bytes_max: 512 << 20, in_line: false, wait_column: false }
    }
}

/// The most trades that waited at a time, and the most bytes that they were counted
/// with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldPeak {
    /// Trades.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}
