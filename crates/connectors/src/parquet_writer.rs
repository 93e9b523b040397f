//! Rows as Parquet: the columns of a row group are encoded side by side, and row
//! groups too where there are many cores; they are written in order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DECIMAL64_MAX_PRECISION, DataType, FieldRef, SchemaRef};
use arrow_select::concat::concat;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use crate::target::Packer;

/// Rows of a row group: what is held in memory until it is written.
const ROW_GROUP_LEN: usize = 65_536;
/// Threads for each row group that may be under way, beside the one that fills:
/// its columns keep about as many busy, and each group is memory.
const THREADS_PER_GROUP: usize = 4;

/// The chunks of a row group's columns, encoded and packed.
type Group = Result<Vec<ArrowColumnChunk>, ParquetError>;

/// A Parquet file. Its bytes depend on the rows alone, not on how they are cut
/// into batches or on how many threads there are.
pub(crate) struct ParquetWriter {
    schema: SchemaRef,
    file: SerializedFileWriter<Packer>,
    factory: ArrowRowGroupWriterFactory,
    /// The rows of the group that fills, fewer than [`ROW_GROUP_LEN`].
    filling: Vec<RecordBatch>,
    rows_filling: usize,
    /// Groups that are being encoded, in their order.
    under_way: VecDeque<Receiver<Group>>,
    groups_begun: usize,
    groups_max: usize,
}

impl ParquetWriter {
    /// Begins a file of rows of `schema`.
    pub(crate) fn new(schema: &SchemaRef, packer: Packer) -> Result<Self, ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_LEN));
        let fixed = schema.fields().iter().filter(|field| is_fixed_length(field.data_type()));
        // The library's smallest and largest value of such a column share the
        // memory of the whole block that they are from, until the file's end.
        let properties = fixed.fold(properties, |properties, field| {
            let column = ColumnPath::new(vec![field.name().clone()]);
            properties.set_column_statistics_enabled(column, EnabledStatistics::None)
        });
        let writer = ArrowWriter::try_new(packer, Arc::clone(schema), Some(properties.build()))?;
        let (file, factory) = writer.into_serialized_writer()?;
        Ok(Self {
            schema: Arc::clone(schema),
            file,
            factory,
            filling: Vec::new(),
            rows_filling: 0,
            under_way: VecDeque::new(),
            groups_begun: 0,
            groups_max: rayon::current_num_threads().div_ceil(THREADS_PER_GROUP),
        })
    }

    /// Takes the next rows. An error may be that of rows before.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = (batch.num_rows() - start).min(ROW_GROUP_LEN - self.rows_filling);
            self.filling.push(batch.slice(start, rows));
            self.rows_filling += rows;
            start += rows;
            if self.rows_filling == ROW_GROUP_LEN {
                self.begin_group()?;
            }
        }
        Ok(())
    }

    /// Has the rows so far encoded as a group, by the threads of rayon's pool.
    fn begin_group(&mut self) -> Result<(), ParquetError> {
        if self.under_way.len() == self.groups_max {
            self.write_group()?;
        }
        let columns = self.factory.create_column_writers(self.groups_begun)?;
        self.groups_begun += 1;
        self.rows_filling = 0;
        let (schema, batches) = (Arc::clone(&self.schema), std::mem::take(&mut self.filling));
        let (sender, receiver) = sync_channel(1);
        rayon::spawn(move || {
            // A panic would end the process; without an answer it is an error.
            let group = catch_unwind(AssertUnwindSafe(|| encode(&schema, batches, columns)));
            if let Ok(group) = group {
                // Nobody waits for it if the run has failed meanwhile.
                let _ = sender.send(group);
            }
        });
        self.under_way.push_back(receiver);
        Ok(())
    }

    /// Writes the group that was begun first.
    fn write_group(&mut self) -> Result<(), ParquetError> {
        let Some(receiver) = self.under_way.pop_front() else { return Ok(()) };
        let lost = |_| ParquetError::General("the encoder of a row group failed unexpectedly".to_owned());
        let chunks = receiver.recv().map_err(lost)??;
        let mut group = self.file.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        Ok(())
    }

    /// Writes what is left, and the index at the end.
    pub(crate) fn finish(mut self) -> Result<Packer, ParquetError> {
        if self.rows_filling > 0 {
            self.begin_group()?;
        }
        while !self.under_way.is_empty() {
            self.write_group()?;
        }
        self.file.into_inner()
    }
}

/// Encodes rows as one group.
fn encode(schema: &SchemaRef, batches: Vec<RecordBatch>, writers: Vec<ArrowColumnWriter>) -> Group {
    let columns = (0..schema.fields().len())
        .map(|at| batches.iter().map(|batch| Arc::clone(batch.column(at))).collect::<Vec<_>>());
    let columns: Vec<_> = schema.fields().iter().zip(columns).collect();
    drop(batches);
    if writers.len() == columns.len() {
        let columns = columns.into_par_iter().zip(writers);
        let encoded = columns.map(|((field, pieces), mut writer)| {
            encode_column(field, pieces, &mut std::iter::once(&mut writer))?;
            writer.close()
        });
        return encoded.collect();
    }
    // Some columns are nested, and have a writer for each leaf.
    let mut writers = writers;
    let mut leaves = writers.iter_mut();
    for (field, pieces) in columns {
        encode_column(field, pieces, &mut leaves)?;
    }
    writers.into_iter().map(ArrowColumnWriter::close).collect()
}

/// Encodes a column with the next writers, one for each of its leaves. Its pieces
/// are put together first: where the library ends a page depends on how it is
/// given them.
fn encode_column<'a>(
    field: &FieldRef,
    pieces: Vec<ArrayRef>,
    writers: &mut impl Iterator<Item = &'a mut ArrowColumnWriter>,
) -> Result<(), ParquetError> {
    let column = concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
    drop(pieces);
    for (leaf, writer) in compute_leaves(field, &column)?.iter().zip(writers) {
        writer.write(leaf)?;
    }
    Ok(())
}

/// Whether Parquet has the type as byte arrays of one length: decimals that do
/// not fit 64 bits, among others.
fn is_fixed_length(ty: &DataType) -> bool {
    match ty {
        DataType::Decimal128(precision, _) => *precision > DECIMAL64_MAX_PRECISION,
        DataType::Decimal256(..)
        | DataType::FixedSizeBinary(_)
        | DataType::Interval(_)
        | DataType::Float16 => true,
        _ => false,
    }
}
