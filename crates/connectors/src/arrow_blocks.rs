//! Parquet and Arrow IPC as record batches.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::encoding::Format;
use crate::error::{OpenError, ReadError};
use crate::input::{Cut, Input, Progress};

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// Record batches of an input, of at most so many rows.
pub(crate) struct ArrowBlocks {
    pub(crate) schema: SchemaRef,
    batches: Batches,
    name: Arc<str>,
    cut: Cut,
    batch_len: usize,
    /// What is left of a batch that was too long.
    rest: Option<RecordBatch>,
    share: Option<RowShare>,
}

/// What part of a file one row stands for, where bytes are not read in order.
struct RowShare {
    progress: Progress,
    bytes: u64,
    rows: u64,
    rows_read: u64,
}

impl RowShare {
    fn advance(&mut self, rows: u64) {
        let at = |rows: u64| u128::from(self.bytes) * u128::from(rows) / u128::from(self.rows.max(1));
        let bytes = at(self.rows_read + rows).saturating_sub(at(self.rows_read));
        self.progress.add(u64::try_from(bytes).unwrap_or(0));
        self.rows_read += rows;
    }
}

impl ArrowBlocks {
    pub(crate) fn open(mut input: Input) -> Result<Self, OpenError> {
        let name = Arc::clone(&input.name);
        let batch_len = input.options.batch_len.max(1);
        let cut = input.raw.cut();
        let (schema, batches, share) = match input.options.encoding.format {
            Format::Parquet => {
                let bytes = input.file_bytes;
                let progress = input.options.progress.clone();
                let file = if bytes.is_some() { input.raw.file } else { spool(&name, &mut input.raw)? };
                let (schema, batches, rows) = guarded(&name, || {
                    open_parquet(file, batch_len).map_err(|e| ReadError::corrupt(&name, e))
                })?;
                let share = bytes.map(|bytes| RowShare { progress, bytes, rows, rows_read: 0 });
                (schema, batches, share)
            }
            _ => {
                let (schema, batches) = open_ipc(&name, input)?;
                (schema, batches, None)
            }
        };
        Ok(Self { schema, batches, name, cut, batch_len, rest: None, share })
    }

    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        let batch = match self.rest.take() {
            Some(batch) => batch,
            None => match self.decode()? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        if batch.num_rows() <= self.batch_len {
            return Ok(Some(batch));
        }
        self.rest = Some(batch.slice(self.batch_len, batch.num_rows() - self.batch_len));
        Ok(Some(batch.slice(0, self.batch_len)))
    }

    /// The next batch that has rows.
    fn decode(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        loop {
            let (batches, name) = (&mut self.batches, &self.name);
            let next = guarded(name, || batches.next().transpose().map_err(|error| of_arrow(name, error)));
            match next {
                _ if self.cut.is_set() => return Ok(None),
                Ok(Some(batch)) if batch.num_rows() == 0 => {}
                Ok(Some(batch)) => {
                    if let Some(share) = &mut self.share {
                        share.advance(batch.num_rows() as u64);
                    }
                    return Ok(Some(batch));
                }
                other => return other,
            }
        }
    }
}

fn of_arrow(name: &Arc<str>, error: ArrowError) -> ReadError {
    match error {
        ArrowError::IoError(_, error) => ReadError::of_io(name, error),
        error => ReadError::corrupt(name, error),
    }
}

/// Decoders check most of what a broken file can do to them, but not all.
fn guarded<T>(name: &Arc<str>, decode: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(ReadError::corrupt(name, "the decoder gave up on what it found")))
}

fn open_parquet(
    file: File,
    batch_len: usize,
) -> Result<(SchemaRef, Batches, u64), parquet::errors::ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let schema = Arc::clone(builder.schema());
    let reader = builder.with_batch_size(batch_len).build()?;
    Ok((schema, Box::new(reader), rows))
}

fn open_ipc(name: &Arc<str>, mut input: Input) -> Result<(SchemaRef, Batches), OpenError> {
    const MAGIC: &[u8] = b"ARROW1";
    let mut start = Vec::new();
    let io = |error| ReadError::of_io(name, error);
    input.raw.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start).map_err(io)?;
    let is_file_format = start == MAGIC;
    if is_file_format && input.file_bytes.is_some() {
        input.raw.rewind().map_err(io)?;
        return Ok(guarded(name, || ipc_file(name, input.raw))?);
    }
    let mut bytes = Cursor::new(start).chain(input.raw);
    if is_file_format {
        let file = spool(name, &mut bytes)?;
        return Ok(guarded(name, || ipc_file(name, file))?);
    }
    let reader = guarded(name, || {
        StreamReader::try_new(BufReader::new(bytes), None).map_err(|error| of_arrow(name, error))
    })?;
    Ok((reader.schema(), Box::new(reader)))
}

fn ipc_file(
    name: &Arc<str>,
    file: impl Read + Seek + Send + 'static,
) -> Result<(SchemaRef, Batches), ReadError> {
    let reader = FileReader::try_new(BufReader::new(file), None).map_err(|error| of_arrow(name, error))?;
    Ok((reader.schema(), Box::new(reader)))
}

/// Copies a stream to a temporary file without a name, for formats that are
/// read from their end.
fn spool(name: &Arc<str>, bytes: &mut impl Read) -> Result<File, OpenError> {
    let failed = |source: io::Error| OpenError::Spool { source_name: Arc::clone(name), source };
    let mut file = tempfile::tempfile().map_err(failed)?;
    io::copy(bytes, &mut file).map_err(failed)?;
    file.rewind().map_err(failed)?;
    Ok(file)
}
