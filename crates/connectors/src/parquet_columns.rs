//! The columns of a Parquet file, which threads decode side by side.

use std::error::Error;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ProjectionMask};
use parquet::basic::ConvertedType;
use parquet::errors::ParquetError;

use crate::arrow_blocks::GAVE_UP;
use crate::error::{OpenError, ReadError};
use crate::foreign::unmarked;
use crate::int96::{self, FarTime};
use crate::shared_file::SharedFile;

/// A file as blocks of one length, whatever its row groups and pages.
///
/// Each column has a reader of its own, and a thread takes the columns of its
/// block in turn: two that decode blocks which follow each other are at different
/// columns. Every page is unpacked once, and no more is held than by one reader.
pub(crate) struct ParquetColumns {
    pub(crate) schema: SchemaRef,
    pub(crate) cut: BlockCut,
    name: Arc<str>,
    file: SharedFile,
    metadata: ArrowReaderMetadata,
    /// For columns with timestamps that are looked at twice.
    in_seconds: Option<ArrowReaderMetadata>,
    columns: Vec<Mutex<Column>>,
}

/// Where the blocks of a file begin and end.
#[derive(Clone, Copy)]
pub(crate) struct BlockCut {
    /// How many rows the file says that it has.
    pub(crate) rows: u64,
    /// The row that the first block begins with.
    first: u64,
    block_len: usize,
}

impl BlockCut {
    /// How many rows a block has; none behind the last.
    pub(crate) fn rows_of(self, block: u64) -> usize {
        let start = self.first.saturating_add(block.saturating_mul(self.block_len as u64));
        let rows = self.rows.saturating_sub(start).min(self.block_len as u64);
        usize::try_from(rows).unwrap_or(self.block_len)
    }
}

impl ParquetColumns {
    pub(crate) fn open(name: &Arc<str>, file: Arc<File>, block_len: usize) -> Result<Self, ParquetError> {
        let file = SharedFile::new(file)?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default())?;
        let schema = unmarked(metadata.schema());
        let groups = metadata.metadata().row_groups().iter();
        let rows = groups
            .fold(0_u64, |rows, group| rows.saturating_add(u64::try_from(group.num_rows()).unwrap_or(0)));
        let cut = BlockCut { rows, first: 0, block_len };
        let in_seconds = int96::in_seconds(&metadata)?;
        let name = Arc::clone(name);
        Self { schema, cut, name, file, metadata, in_seconds, columns: Vec::new() }.behind(0)
    }

    /// Refuses intervals that are not Arrow's: of their months, days and milliseconds the library
    /// reads the last two.
    pub(crate) fn check_types(&self) -> Result<(), OpenError> {
        let parquet = self.metadata.parquet_schema();
        let keys = self.metadata.metadata().file_metadata().key_value_metadata();
        let is_arrows = keys.is_some_and(|keys| keys.iter().any(|key| key.key == ARROW_SCHEMA_META_KEY));
        let mut leaves = parquet.columns().iter().enumerate();
        match leaves.find(|(_, leaf)| leaf.converted_type() == ConvertedType::INTERVAL) {
            Some((index, _)) if !is_arrows => Err(OpenError::LossyType {
                source_name: Arc::clone(&self.name),
                column: parquet.get_column_root(index).name().to_owned(),
                found: "INTERVAL",
            }),
            _ => Ok(()),
        }
    }

    /// The same file as blocks that begin behind so many rows. Row groups before them are not
    /// read.
    pub(crate) fn behind(&self, rows: u64) -> Result<Self, ParquetError> {
        let Self { schema, file, metadata, in_seconds, .. } = self;
        let cut = BlockCut { first: rows, ..self.cut };
        let groups = metadata.metadata().row_groups();
        let (mut group, mut skipped) = (0, 0_u64);
        while let Some(of_group) = groups.get(group).and_then(|group| u64::try_from(group.num_rows()).ok())
            && skipped + of_group <= rows
        {
            (group, skipped) = (group + 1, skipped + of_group);
        }
        let reader = |index, metadata: &ArrowReaderMetadata| -> Result<_, ParquetError> {
            let mask = ProjectionMask::roots(metadata.parquet_schema(), [index]);
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata.clone());
            let builder = builder.with_projection(mask).with_batch_size(cut.block_len);
            let builder = match rows {
                0 => builder,
                // Less than the rows of a group.
                _ => builder
                    .with_row_groups((group..groups.len()).collect())
                    .with_offset((rows - skipped) as usize),
            };
            builder.build()
        };
        let column = |index: usize| -> Result<_, ParquetError> {
            let is_int96 = int96::is_int96(metadata.parquet_schema(), index);
            let seconds = in_seconds.as_ref().filter(|_| is_int96);
            let seconds = seconds.map(|metadata| reader(index, metadata)).transpose()?;
            let (name, reader) = (schema.field(index).name().clone(), reader(index, metadata)?);
            Ok(Mutex::new(Column { name, reader, seconds, next: 0, waiting: Vec::new(), failure: None }))
        };
        let columns = (0..schema.fields().len()).map(column).collect::<Result<_, _>>()?;
        let (schema, name) = (Arc::clone(schema), Arc::clone(&self.name));
        let (file, metadata, in_seconds) = (file.clone(), metadata.clone(), in_seconds.clone());
        Ok(Self { schema, cut, name, file, metadata, in_seconds, columns })
    }

    /// The rows of a block. Each is asked for once, by any thread; of blocks that
    /// are asked for side by side, no more are held than there are threads.
    pub(crate) fn decode(&self, block: u64) -> Result<RecordBatch, ReadError> {
        let arrays = self.take(block).into_iter().collect::<Result<Vec<_>, _>>();
        let arrays = arrays.map_err(|failure| match failure.downcast_ref() {
            Some(FarTime { column }) => {
                ReadError::FarTime { source_name: Arc::clone(&self.name), column: column.clone() }
            }
            None => ReadError::corrupt(&self.name, failure),
        })?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.cut.rows_of(block)));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| ReadError::corrupt(&self.name, error))
    }

    /// A block of each column: first of those that nobody is at.
    fn take(&self, block: u64) -> Vec<Result<ArrayRef, Failure>> {
        let mut taken: Vec<_> = self.columns.iter().map(|_| None).collect();
        let mut left = self.columns.len();
        while left > 0 {
            let left_before = left;
            for (column, array) in self.columns.iter().zip(&mut taken).filter(|(_, array)| array.is_none()) {
                if let Ok(mut column) = column.try_lock() {
                    *array = Some(column.take(block, self.cut));
                    left -= 1;
                }
            }
            let busy = self.columns.iter().zip(&mut taken).find(|(_, array)| array.is_none());
            if let Some((column, array)) = busy.filter(|_| left == left_before) {
                *array = Some(column.lock().unwrap_or_else(PoisonError::into_inner).take(block, self.cut));
                left -= 1;
            }
        }
        taken.into_iter().flatten().collect()
    }
}

/// One column, with all below it if it is nested.
struct Column {
    name: String,
    reader: ParquetRecordBatchReader,
    /// The same column in seconds, if it has timestamps that may have wrapped around.
    seconds: Option<ParquetRecordBatchReader>,
    /// The block that the reader comes to next.
    next: u64,
    /// Blocks that a thread has passed over on its way to a later one: another one
    /// is about to ask for them.
    waiting: Vec<(u64, ArrayRef)>,
    /// Why there is nothing from the next block on.
    failure: Option<Failure>,
}

type Failure = Arc<dyn Error + Send + Sync>;

impl Column {
    fn take(&mut self, block: u64, cut: BlockCut) -> Result<ArrayRef, Failure> {
        if let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == block) {
            return Ok(self.waiting.swap_remove(at).1);
        }
        loop {
            if let Some(failure) = &self.failure {
                return Err(Arc::clone(failure));
            }
            match self.decode(cut.rows_of(self.next)) {
                Ok(array) => {
                    self.next += 1;
                    if self.next > block {
                        return Ok(array);
                    }
                    self.waiting.push((self.next - 1, array));
                }
                Err(failure) => self.failure = Some(failure),
            }
        }
    }

    /// The next block, of so many rows.
    fn decode(&mut self, rows: usize) -> Result<ArrayRef, Failure> {
        let failure = |text: &str| Failure::from(Box::<dyn Error + Send + Sync>::from(text));
        let next = |reader: &mut ParquetRecordBatchReader| {
            let next = catch_unwind(AssertUnwindSafe(|| reader.next()));
            match next.map_err(|_| failure(GAVE_UP))?.transpose() {
                Ok(Some(batch)) if batch.num_rows() == rows => Ok(Arc::clone(batch.column(0))),
                Ok(_) => Err(failure("a column has fewer rows than the file says")),
                Err(error) => Err(Failure::from(Box::<dyn Error + Send + Sync>::from(error))),
            }
        };
        let values = next(&mut self.reader)?;
        if let Some(seconds) = &mut self.seconds
            && !int96::are_whole(&values, &next(seconds)?)
        {
            return Err(Arc::new(FarTime { column: self.name.clone() }));
        }
        Ok(values)
    }
}
