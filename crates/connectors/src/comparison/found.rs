//! The rows that an output has.

use std::collections::VecDeque;

use arrow_schema::Schema;
use tradejoin_flow::BoxError;

use crate::arrow_blocks::ArrowBlocks;
use crate::chunks::Chunks;
use crate::encoding::Format;
use crate::error::OpenError;
use crate::input::{Input, InputOptions};
use crate::text_rows::TextRows;

use super::rows::{Row, push_batch, push_text};

/// An output that is open for reading.
pub(super) struct Found {
    format: Format,
    columns: Vec<String>,
    rows: Rows,
    /// Rows that were read.
    pub(super) rows_read: u64,
}

enum Rows {
    Text(Chunks),
    Arrow(ArrowBlocks),
}

impl Found {
    /// Opens an output that should have these columns.
    pub(super) fn open(input: InputOptions, expected: &[String]) -> Result<Self, OpenError> {
        let format = input.encoding.format;
        let input = Input::open(input)?;
        let (columns, rows) = match format {
            // A member that no row has is not missed by any.
            Format::JsonLines => (expected.to_vec(), Rows::Text(Chunks::new(input.into_text()?, format))),
            Format::Csv => {
                let rows = TextRows::open(input.into_text()?, format)?;
                (rows.columns, Rows::Text(rows.chunks))
            }
            Format::Parquet | Format::Arrow => {
                let blocks = ArrowBlocks::open(input)?;
                (typed(&blocks.schema), Rows::Arrow(blocks))
            }
        };
        Ok(Self { format, columns, rows, rows_read: 0 })
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The columns, with their types if the format has such.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Reads more rows; `false` at the end.
    pub(super) fn fill(&mut self, rows: &mut VecDeque<Row>) -> Result<bool, BoxError> {
        let before = rows.len();
        match &mut self.rows {
            Rows::Text(chunks) => {
                let Some(chunk) = chunks.next(InputOptions::BATCH_LEN)? else { return Ok(false) };
                push_text(&chunk, self.format, &self.columns, rows);
            }
            Rows::Arrow(blocks) => {
                let Some(block) = blocks.next()? else { return Ok(false) };
                push_batch(&block.decode()?, rows)?;
            }
        }
        self.rows_read += (rows.len() - before) as u64;
        Ok(true)
    }
}

/// Columns with their types.
pub(super) fn typed(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}
