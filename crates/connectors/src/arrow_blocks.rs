//! Parquet and Arrow IPC as record batches.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};
use tradejoin_flow::InputPosition;

use crate::arrow_lengths::{Messages, check_file};
use crate::encoding::Format;
use crate::error::{OpenError, ReadError};
use crate::flaw::Place;
use crate::foreign::{unmarked, with_schema};
use crate::input::{Cut, Input, Progress};
use crate::last_read::LastRead;
use crate::limits::TooMuch;
use crate::parquet_columns::ParquetColumns;
use crate::shared_file::SharedFile;
use crate::stored_file::{Growth, StoredFile, Unlike};

/// What a panic of a decoder is told as.
pub(crate) const GAVE_UP: &str = "the decoder gave up on what it found";

type IpcBatches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// The rows of an input, cut into blocks of at most so many.
pub(crate) struct ArrowBlocks {
    pub(crate) schema: SchemaRef,
    batches: Batches,
    name: Arc<str>,
    stored: Option<Arc<StoredFile>>,
    cut: Cut,
    batch_len: usize,
    last_read: Option<LastRead>,
    rows_read: u64,
}

enum Batches {
    Parquet {
        columns: Arc<ParquetColumns>,
        /// The index of the next block.
        next: u64,
        share: Option<RowShare>,
    },
    Ipc {
        batches: IpcBatches,
        /// What is left of a batch that was too long.
        rest: Option<RecordBatch>,
    },
}

/// The next rows of an input, which any thread may decode.
pub(crate) struct ArrowBlock {
    pub(crate) rows: usize,
    encoded: Encoded,
}

enum Encoded {
    Parquet(Arc<ParquetColumns>, u64),
    Ipc(RecordBatch),
}

impl ArrowBlock {
    /// A block of decoded rows.
    pub(crate) fn of(batch: RecordBatch) -> Self {
        Self { rows: batch.num_rows(), encoded: Encoded::Ipc(batch) }
    }

    pub(crate) fn decode(self) -> Result<RecordBatch, ReadError> {
        match self.encoded {
            Encoded::Parquet(columns, block) => columns.decode(block),
            Encoded::Ipc(batch) => Ok(batch),
        }
    }
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
        let (batch_len, fields_max) = (input.options.batch_len.max(1), input.options.limits.fields);
        let cut = input.raw.cut();
        let (last_read, stored) = (input.options.last_read.clone(), input.raw.stored.clone());
        let (schema, batches) = match input.options.encoding.format {
            Format::Parquet => {
                let bytes = input.file_bytes;
                let progress = input.options.progress.clone();
                let file =
                    if bytes.is_some() { input.raw.file } else { spool(&name, &mut input.raw)?.into() };
                let columns = guarded(&name, || {
                    ParquetColumns::open(&name, file, batch_len).map_err(|e| ReadError::corrupt(&name, e))
                })?;
                columns.check_types()?;
                let share =
                    bytes.map(|bytes| RowShare { progress, bytes, rows: columns.cut.rows, rows_read: 0 });
                let schema = Arc::clone(&columns.schema);
                (schema, Batches::Parquet { columns: Arc::new(columns), next: 0, share })
            }
            _ => {
                let (schema, batches) = open_ipc(&name, input)?;
                (schema, Batches::Ipc { batches, rest: None })
            }
        };
        if schema.fields().len() > fields_max {
            return Err(ReadError::too_much(&name, TooMuch::Columns(fields_max)).into());
        }
        Ok(Self { schema, batches, name, stored, cut, batch_len, last_read, rows_read: 0 })
    }

    /// The place behind so many rows; `None` if the file cannot be looked at.
    pub(crate) fn position(&self, rows: u64) -> Option<InputPosition> {
        let name = self.name.to_string();
        let mut position = InputPosition { name, records: rows, ..InputPosition::default() };
        self.stored.as_ref().map_or(Ok(()), |file| file.stamp(&mut position, None)).ok()?;
        Some(position)
    }

    /// Whether it is no file.
    pub(crate) fn is_stream(&self) -> bool {
        self.stored.is_none()
    }

    /// Goes to where another reader of the same file has been, before the first block.
    pub(crate) fn go_on_from(&mut self, position: &InputPosition) -> Result<(), ReadError> {
        if let Some(file) = &self.stored {
            let compared = file.compare(position, Growth::None);
            let compared = compared.map_err(|error| ReadError::of_io(&self.name, error))?;
            compared.map_err(|unlike| ReadError::other_input(&self.name, unlike))?;
        }
        self.rows_read = position.records;
        self.skip(position.records)
    }

    fn skip(&mut self, rows: u64) -> Result<(), ReadError> {
        let Self { batches, name, cut, .. } = self;
        let too_few = |has| ReadError::other_input(name, Unlike::Rows { before: rows, rows: has });
        match batches {
            Batches::Parquet { columns, share, .. } => {
                let has = columns.cut.rows;
                if has < rows {
                    return Err(too_few(has));
                }
                let behind = guarded(name, || columns.behind(rows).map_err(|e| ReadError::corrupt(name, e)))?;
                *columns = Arc::new(behind);
                share.iter_mut().for_each(|share| share.advance(rows));
            }
            Batches::Ipc { batches, rest } => {
                let mut left = rows;
                while left > 0 {
                    let Some(batch) = next_ipc(name, batches, cut)? else {
                        return if cut.is_set() { Ok(()) } else { Err(too_few(rows - left)) };
                    };
                    let len = batch.num_rows() as u64;
                    if len > left {
                        // Less than the rows of a batch.
                        let taken = left as usize;
                        *rest = Some(batch.slice(taken, batch.num_rows() - taken));
                    }
                    left = left.saturating_sub(len);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn next(&mut self) -> Result<Option<ArrowBlock>, ReadError> {
        let block = self.next_block()?;
        if let (Some(last_read), Some(block)) = (&self.last_read, &block) {
            last_read.set(&self.name, Place::Row(self.rows_read + 1));
            self.rows_read += block.rows as u64;
        }
        Ok(block)
    }

    fn next_block(&mut self) -> Result<Option<ArrowBlock>, ReadError> {
        match &mut self.batches {
            Batches::Parquet { columns, next, share } => {
                let rows = columns.cut.rows_of(*next);
                if rows == 0 || self.cut.is_set() {
                    return self.check_whole().map(|()| None);
                }
                if let Some(share) = share {
                    share.advance(rows as u64);
                }
                let encoded = Encoded::Parquet(Arc::clone(columns), *next);
                *next += 1;
                Ok(Some(ArrowBlock { rows, encoded }))
            }
            Batches::Ipc { batches, rest } => {
                let batch = match rest.take() {
                    Some(batch) => Some(batch),
                    None => next_ipc(&self.name, batches, &self.cut)?,
                };
                let Some(batch) = batch else { return self.check_whole().map(|()| None) };
                let rows = batch.num_rows().min(self.batch_len);
                if rows < batch.num_rows() {
                    *rest = Some(batch.slice(rows, batch.num_rows() - rows));
                }
                Ok(Some(ArrowBlock { rows, encoded: Encoded::Ipc(batch.slice(0, rows)) }))
            }
        }
    }

    /// At the end: nothing was cut off meanwhile.
    fn check_whole(&self) -> Result<(), ReadError> {
        let checked = self.stored.as_ref().map_or(Ok(()), |file| file.check_whole());
        checked.map_err(|error| ReadError::of_io(&self.name, error))
    }
}

/// The next batch that has rows.
fn next_ipc(name: &Arc<str>, batches: &mut IpcBatches, cut: &Cut) -> Result<Option<RecordBatch>, ReadError> {
    loop {
        let next = guarded(name, || batches.next().transpose().map_err(|error| of_arrow(name, error)));
        match next {
            _ if cut.is_set() => return Ok(None),
            Ok(Some(batch)) if batch.num_rows() == 0 => {}
            other => return other,
        }
    }
}

fn of_arrow(name: &Arc<str>, error: ArrowError) -> ReadError {
    match error {
        ArrowError::IoError(_, error) => ReadError::of_io(name, error),
        error => ReadError::corrupt(name, error),
    }
}

/// Decodes something. Decoders check most of what a broken file can do to them, but not all.
pub(crate) fn guarded<T>(
    name: &Arc<str>,
    decode: impl FnOnce() -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err(ReadError::corrupt(name, GAVE_UP)))
}

fn open_ipc(name: &Arc<str>, mut input: Input) -> Result<(SchemaRef, IpcBatches), OpenError> {
    let limits = input.options.limits;
    const MAGIC: &[u8] = b"ARROW1";
    let mut start = Vec::new();
    let io = |error| ReadError::of_io(name, error);
    input.raw.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start).map_err(io)?;
    let is_file_format = start == MAGIC;
    if is_file_format && input.file_bytes.is_some() {
        SharedFile::new(Arc::clone(&input.raw.file))
            .and_then(|file| check_file(&file, limits))
            .map_err(io)?;
        input.raw.rewind().map_err(io)?;
        return Ok(guarded(name, || ipc_file(name, input.raw))?);
    }
    let mut bytes = Cursor::new(start).chain(input.raw);
    if is_file_format {
        let file = Arc::new(spool(name, &mut bytes)?);
        SharedFile::new(Arc::clone(&file)).and_then(|file| check_file(&file, limits)).map_err(io)?;
        return Ok(guarded(name, || ipc_file(name, file))?);
    }
    let reader = guarded(name, || {
        StreamReader::try_new(Messages::new(BufReader::new(bytes), limits), None)
            .map_err(|error| of_arrow(name, error))
    })?;
    Ok(unmarked_batches(reader.schema(), reader))
}

fn ipc_file(
    name: &Arc<str>,
    file: impl Read + Seek + Send + 'static,
) -> Result<(SchemaRef, IpcBatches), ReadError> {
    let reader = FileReader::try_new(BufReader::new(file), None).map_err(|error| of_arrow(name, error))?;
    Ok(unmarked_batches(reader.schema(), reader))
}

fn unmarked_batches(
    schema: SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static,
) -> (SchemaRef, IpcBatches) {
    let plain = unmarked(&schema);
    if plain == schema {
        return (schema, Box::new(batches));
    }
    let of_batch = Arc::clone(&plain);
    (plain, Box::new(batches.map(move |batch| with_schema(&batch?, &of_batch))))
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
