//! Chunks of text as trades, on any thread.

use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memchr_iter};
use tradejoin_model::{ChangeLane, Messages};

use crate::bad::Refusals;
use crate::bad_letter::Raw;
use crate::chunks::{Chunk, Records};
use crate::csv_rows::{self, CsvCells, CsvText};
use crate::encoding::Format;
use crate::error::{OpenError, ReadError};
use crate::flaw::Flaw;
use crate::json_rows::{Members, UnknownMembers};
use crate::limits::Limits;
use crate::trade_builder::{Block, TradeBuilder};
use crate::trade_layout::{Fields, TradeLayout};

/// What it takes to decode trades.
#[derive(Clone, Debug)]
pub(crate) struct TradeDecoder {
    pub(crate) format: Format,
    pub(crate) layout: TradeLayout,
    /// The columns whose cells are looked into.
    read_columns: Vec<usize>,
}

impl TradeDecoder {
    pub(crate) fn new(format: Format, layout: TradeLayout) -> Self {
        let read_columns = layout.read_columns().collect();
        Self { format, layout, read_columns }
    }

    /// Reads the time of each trade.
    ///
    /// # Errors
    /// If trades have none.
    pub(crate) fn require_times(&mut self, source_name: &Arc<str>) -> Result<(), OpenError> {
        self.layout.require_times(source_name)?;
        self.read_columns = self.layout.read_columns().collect();
        Ok(())
    }

    /// The trades of a chunk. What is bad is told to `refusals`, those of this
    /// chunk alone.
    pub(crate) fn decode(&self, chunk: &Chunk, mut refusals: Refusals) -> Result<Messages, ReadError> {
        let mut builder = TradeBuilder::new(&self.layout, chunk.records, chunk.bytes.len());
        match self.format {
            Format::JsonLines => self.decode_json(chunk, &mut builder, &mut refusals)?,
            _ => self.decode_csv(chunk, &mut builder, &mut refusals)?,
        }
        let block = builder.finish();
        let Block { trades, keys, times } =
            block.map_err(|error| ReadError::corrupt(&refusals.source_name, error))?;
        let lanes = keys.iter().map(|_| ChangeLane::default()).collect();
        let refused = refusals.take();
        Ok(Messages { trades, keys, lanes, times, rejected: refused.len() as u64, refused, loading: false })
    }

    fn decode_csv<'l>(
        &'l self,
        chunk: &Chunk,
        builder: &mut TradeBuilder<'l>,
        refusals: &mut Refusals,
    ) -> Result<(), ReadError> {
        let mut records = Records::new(chunk, self.format);
        let text = CsvText::new(&chunk.bytes);
        let has_quotes = memchr(b'"', &chunk.bytes).is_some();
        let mut cells = CsvCells::with_capacity(self.layout.columns().len());
        let mut read_cells = Vec::with_capacity(self.read_columns.len());
        while let Some(range) = records.next() {
            let pushed = text.record(range.clone(), self.layout.columns(), chunk.limits).and_then(|record| {
                let plain = !has_quotes || memchr(b'"', record.as_bytes()).is_none();
                if plain && self.layout.fields == Fields::InRecord {
                    self.find_cells(record, &mut read_cells, chunk.limits)?;
                    builder.push_record(record, |column| &record[self.cell(column, &read_cells)])?;
                    builder.push_texts(|column| &record[self.cell(column, &read_cells)]);
                } else {
                    csv_rows::split_within(record, &mut cells, chunk.limits)?;
                    csv_rows::check_count(cells.len(), self.layout.columns())?;
                    builder.push(|column| &cells[column])?;
                    builder.push_texts(|column| &cells[column]);
                }
                Ok(())
            });
            if let Err(flaw) = pushed {
                let raw = Raw::Text(&chunk.bytes[range.clone()]);
                refusals.refuse(records.place(&range), flaw, builder.len(), raw)?;
            }
        }
        Ok(())
    }

    /// Finds the cells that are looked into, in the order of `read_columns`, in a
    /// record without quotes.
    fn find_cells(&self, record: &str, cells: &mut Vec<Range<usize>>, limits: Limits) -> Result<(), Flaw> {
        let bytes = record.as_bytes();
        cells.clear();
        for &column in &self.read_columns {
            // A second key mostly stands behind the first, but need not.
            let start = match column {
                0 => 0,
                column => memchr_iter(b',', bytes).nth(column - 1).map_or(bytes.len(), |comma| comma + 1),
            };
            let end = memchr(b',', &bytes[start..]).map_or(bytes.len(), |len| start + len);
            cells.push(start..end);
        }
        csv_rows::check_count_within(memchr_iter(b',', bytes).count() + 1, self.layout.columns(), limits)
    }

    fn cell(&self, column: usize, cells: &[Range<usize>]) -> Range<usize> {
        let place = self.read_columns.iter().position(|&read| read == column);
        place.map(|place| cells[place].clone()).unwrap_or_default()
    }

    fn decode_json<'l>(
        &'l self,
        chunk: &Chunk,
        builder: &mut TradeBuilder<'l>,
        refusals: &mut Refusals,
    ) -> Result<(), ReadError> {
        let mut records = Records::new(chunk, self.format);
        let mut members = Members::within(chunk.limits);
        let columns = self.layout.columns();
        while let Some(range) = records.next() {
            let line = members.scan(&chunk.bytes[range.clone()]).map_err(Flaw::record);
            let pushed = line.and_then(|line| {
                let mut cells = Vec::with_capacity(columns.len());
                members.place(line, columns, None, UnknownMembers::Refuse, &mut cells)?;
                if builder.is_canonical(line, &cells) {
                    builder.push_record(line, |column| cells[column])?;
                } else {
                    builder.push(|column| cells[column])?;
                }
                builder.push_texts(|column| cells[column]);
                Ok(())
            });
            if let Err(flaw) = pushed {
                let raw = Raw::line(&chunk.bytes[range.clone()]);
                refusals.refuse(records.place(&range), flaw, builder.len(), raw)?;
            }
        }
        Ok(())
    }
}
