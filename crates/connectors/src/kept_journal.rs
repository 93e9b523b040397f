//! A journal beside checkpoints: what is in it at a checkpoint is durable with it, and what
//! was written behind it is written again.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_schema::Schema;
use tradejoin_flow::{BoxError, Cut, End, Keep};
use tradejoin_model::{ChangeLane, LookUp};

use crate::difference::Fingerprints;
use crate::encoding::{Compression, Encoding, Format, Location};
use crate::error::CreateError;
use crate::journal::{JournalEntry, JournalLines, LoadedTable};
use crate::output::{Output, OutputOptions, OutputPiece};
use crate::prepared::Kept;

/// Keeps a run, and a [journal](crate::Journal) of its changes with it.
///
/// The journal is an output of the run: it has its name when it is whole, and says the same
/// however often the run was killed. Changes of one table at one place are on several lines
/// if they were read in several blocks.
pub struct KeptJournal<K> {
    keep: K,
    output: Output,
    lines: JournalLines,
    /// The tables as they are loaded; `None` once the journal has begun.
    loading: Option<Vec<(LoadedTable, Fingerprints)>>,
    piece: OutputPiece,
}

impl<K: Keep> KeptJournal<K> {
    /// Makes the journal of a run with these tables, whose rows and digests are yet to be
    /// known, or takes up that of an earlier one.
    ///
    /// # Errors
    /// If it cannot be made, or what is there is not what was kept.
    pub fn new(
        keep: K,
        location: Location,
        kept: Kept,
        tables: Vec<(LoadedTable, LookUp)>,
    ) -> Result<Self, CreateError> {
        let has_begun = kept.from.as_ref().is_some_and(|from| from.bytes > 0);
        let encoding = Encoding { format: Format::JsonLines, compression: Compression::None };
        let options = OutputOptions::new(location, encoding, Arc::new(Schema::empty()));
        let output = Output::create(OutputOptions { kept: Some(kept), ..options })?;
        let lines = JournalLines::new(tables.iter().map(|(table, _)| table.name.clone()).collect());
        let of_none = |(table, look_up)| (table, Fingerprints::new(look_up));
        let loading = (!has_begun).then(|| tables.into_iter().map(of_none).collect());
        Ok(Self { keep, output, lines, loading, piece: OutputPiece::default() })
    }

    /// Writes the first line, when all tables are loaded and none has changed.
    fn begin(&mut self) -> io::Result<()> {
        let Some(loading) = self.loading.take() else { return Ok(()) };
        let counted = |(table, rows): (_, Fingerprints)| LoadedTable {
            rows: rows.len(),
            digest: rows.digest(),
            ..table
        };
        let tables = loading.into_iter().map(counted).collect();
        self.write(|lines, to| lines.begin(tables, to))
    }

    fn write(
        &mut self,
        lines: impl FnOnce(&JournalLines, &mut Pieces<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Self { output, piece, lines: journal, .. } = self;
        let mut pieces = Pieces { output, piece };
        lines(journal, &mut pieces)?;
        pieces.flush()
    }
}

/// Lines on their way to the output: a line of many changes is never in memory whole.
struct Pieces<'j> {
    output: &'j mut Output,
    piece: &'j mut OutputPiece,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const LEN: usize = 64 << 10;
        self.piece.text().extend_from_slice(bytes);
        if self.piece.text().len() >= LEN {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.write_piece(self.piece).map_err(io::Error::other)?;
        self.piece.text().clear();
        Ok(())
    }
}

impl<K: Keep> Keep for KeptJournal<K> {
    fn rows(&mut self, table: usize, lane: &ChangeLane) -> Result<(), BoxError> {
        if let Some(loading) = &mut self.loading {
            loading[table].1.take(lane);
        }
        self.keep.rows(table, lane)
    }

    fn changes(&mut self, trades_before: u64, lanes: &[ChangeLane]) -> Result<(), BoxError> {
        self.begin()?;
        let entries = entries(trades_before, lanes);
        self.write(|lines, to| entries.iter().try_for_each(|entry| lines.update(entry, to)))?;
        self.keep.changes(trades_before, lanes)
    }

    fn keep(&mut self, cut: Cut) -> Result<u64, BoxError> {
        self.begin()?;
        if cut.end == Some(End::Complete) {
            self.write(|lines, to| lines.end(cut.trades, to))?;
        }
        let journal = self.output.prepare(cut.end)?;
        self.keep.keep(Cut { output: Box::new((cut.output, journal)), ..cut })
    }
}

/// The changes of a batch in their order, those of one table that follow each other at one
/// place together.
fn entries(trades_before: u64, lanes: &[ChangeLane]) -> Vec<JournalEntry> {
    let mut order: Vec<_> = lanes
        .iter()
        .enumerate()
        .flat_map(|(table, lane)| {
            // A lane has no more changes than 32 bits can count.
            (0..lane.len()).map(move |change| (lane.at_rows[change], lane.turn(change), table, change as u32))
        })
        .collect();
    order.sort_unstable();
    let together =
        |a: &(u32, u32, usize, u32), b: &(u32, u32, usize, u32)| (a.0, a.1, a.2) == (b.0, b.1, b.2);
    let entry = |run: &[(u32, u32, usize, u32)]| {
        let (row, _, table, _) = run[0];
        let rows: Vec<_> = run.iter().map(|&(.., change)| change).collect();
        let mut changes = ChangeLane::default();
        changes.append_rows(&lanes[table], &rows);
        JournalEntry { trades_before: trades_before + u64::from(row), table, changes }
    };
    order.chunk_by(together).map(entry).collect()
}
