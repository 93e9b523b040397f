//! Trades that are written again, to a file of any format.

use arrow_schema::ArrowError;
use arrow_select::concat::concat_batches;
use tradejoin_flow::{BoxError, End, Prepared, Revise, Sink as _};
use tradejoin_model::{Column, Revised};

use crate::encoding::{Compression, Encoding};
use crate::error::{CreateError, WriteError};
use crate::output::{AddedColumn, Output, OutputEncoder, OutputOptions, OutputPiece};

/// Rows that are given to a format whose bytes depend on how rows are cut.
const PIECE_ROWS: usize = 8_192;

/// A file of trades that were written and are written again: their columns in the
/// output, and behind these [`Revised::COLUMNS`]. It is made as an [`Output`] is, and its
/// bytes depend on the rows alone; those of a packed one that is kept, and its parts, on the
/// checkpoints, too.
pub struct CorrectionFile {
    output: Output,
    encoder: OutputEncoder,
    piece: OutputPiece,
    /// Rows that are held back until there are [`PIECE_ROWS`]; `None` if none has come.
    held: Option<Revised>,
    holds_back: bool,
}

impl CorrectionFile {
    /// Makes the file, which may stay without rows. `options` are those of the output,
    /// but for location and encoding; the engine's columns, `columns` of them, are those
    /// of an enriched batch.
    ///
    /// # Errors
    /// If it cannot be made, or the format has no place for a column.
    pub fn create(options: OutputOptions, columns: usize) -> Result<Self, CreateError> {
        let Encoding { format, compression } = options.encoding;
        let more = Revised::COLUMNS.iter().enumerate();
        let more = more.map(|(at, &(name, ty))| AddedColumn::plain(name, ty, columns + at));
        let added = options.added.iter().cloned().chain(more).collect();
        let output = Output::create(OutputOptions { added, ..options })?;
        let encoder = output.encoder();
        let holds_back = !(format.is_text() && compression == Compression::None);
        Ok(Self { output, encoder, piece: OutputPiece::default(), held: None, holds_back })
    }

    fn put(&mut self, revised: &Revised) -> Result<(), WriteError> {
        self.encoder.encode_columns(&revised.trades, &revised.columns, &mut self.piece)?;
        self.output.write_piece(&mut self.piece)
    }

    /// Writes what is held back.
    fn put_held(&mut self) -> Result<(), WriteError> {
        match self.held.take().filter(|held| held.trades.num_rows() > 0) {
            Some(held) => self.put(&held),
            None => Ok(()),
        }
    }

    fn hold_back(&mut self, revised: Revised) -> Result<(), BoxError> {
        let mut all = match self.held.take() {
            Some(held) => joined(held, revised)?,
            None => revised,
        };
        while all.trades.num_rows() >= PIECE_ROWS {
            let (first, rest) = cut(&all, PIECE_ROWS);
            self.put(&first)?;
            all = rest;
        }
        self.held = Some(all);
        Ok(())
    }
}

impl Revise for CorrectionFile {
    fn write(&mut self, revised: Revised) -> Result<(), BoxError> {
        if self.holds_back { self.hold_back(revised) } else { Ok(self.put(&revised)?) }
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        self.put_held()?;
        Ok(self.output.prepare(end)?)
    }
}

/// The rows of both.
fn joined(mut first: Revised, second: Revised) -> Result<Revised, ArrowError> {
    first.trades = concat_batches(&first.trades.schema(), [&first.trades, &second.trades])?;
    for (column, other) in first.columns.iter_mut().zip(&second.columns) {
        column.append_rows(other, &rows(0..other.len()));
    }
    Ok(first)
}

/// The first `len` rows, and the others.
fn cut(revised: &Revised, len: usize) -> (Revised, Revised) {
    let all = revised.trades.num_rows();
    let part = |from: usize, to: usize| Revised {
        trades: revised.trades.slice(from, to - from),
        columns: revised.columns.iter().map(|column| part_of(column, from..to)).collect(),
    };
    (part(0, len), part(len, all))
}

fn part_of(column: &Column, range: std::ops::Range<usize>) -> Column {
    let mut part = column.none_of_kind();
    part.append_rows(column, &rows(range));
    part
}

/// Numbers of rows, of which a piece has few.
fn rows(range: std::ops::Range<usize>) -> Vec<u32> {
    range.map(|row| row as u32).collect()
}
