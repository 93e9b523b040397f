//! Rows as Parquet: the columns of a row group are encoded side by side, and row
//! groups too where there are many cores; they are written in order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, FieldRef, SchemaRef};
use arrow_select::concat::concat;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use crate::block_parts::ARRAY_BYTES;
use crate::parquet_plan;
use crate::target::Packer;

/// Rows of a row group: what is held in memory until it is written.
const ROW_GROUP_LEN: usize = 65_536;
/// Rows that the library is given at once: what it makes of them, such as an
/// object for each long decimal, stays in the processor's cache.
const STEP_LEN: usize = 8_192;
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
    /// Made when the first group is there.
    factory: Option<ArrowRowGroupWriterFactory>,
    /// The rows of the group that fills, fewer than [`ROW_GROUP_LEN`].
    filling: Vec<RecordBatch>,
    rows_filling: usize,
    /// Groups that are being encoded, in their order.
    under_way: VecDeque<Receiver<Group>>,
    groups_begun: usize,
    groups_max: usize,
    /// Bytes of texts that become one array.
    array_bytes: usize,
}

impl ParquetWriter {
    /// Begins a file of rows of `schema`.
    pub(crate) fn new(schema: &SchemaRef, packer: Packer) -> Result<Self, ParquetError> {
        let properties = parquet_plan::general(schema, ROW_GROUP_LEN).build();
        let writer = ArrowWriter::try_new(packer, Arc::clone(schema), Some(properties))?;
        let (file, _) = writer.into_serialized_writer()?;
        Ok(Self {
            schema: Arc::clone(schema),
            file,
            factory: None,
            filling: Vec::new(),
            rows_filling: 0,
            under_way: VecDeque::new(),
            groups_begun: 0,
            groups_max: rayon::current_num_threads().div_ceil(THREADS_PER_GROUP),
            array_bytes: ARRAY_BYTES,
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
        let (schema, batches) = (Arc::clone(&self.schema), std::mem::take(&mut self.filling));
        self.rows_filling = 0;
        let columns = columns_of(&schema, batches);
        let factory = match self.factory.take() {
            Some(factory) => factory,
            None => factory_for(&schema, &columns)?,
        };
        let writers = factory.create_column_writers(self.groups_begun)?;
        self.factory = Some(factory);
        self.groups_begun += 1;
        let array_bytes = self.array_bytes;
        let (sender, receiver) = sync_channel(1);
        rayon::spawn(move || {
            // A panic would end the process; without an answer it is an error.
            let group = catch_unwind(AssertUnwindSafe(|| encode(&schema, columns, writers, array_bytes)));
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

/// The pieces of each column.
fn columns_of(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Vec<Vec<ArrayRef>> {
    (0..schema.fields().len())
        .map(|at| batches.iter().map(|batch| Arc::clone(batch.column(at))).collect())
        .collect()
}

/// Makes the writers of all groups of a file whose first has these columns.
fn factory_for(
    schema: &SchemaRef,
    columns: &[Vec<ArrayRef>],
) -> Result<ArrowRowGroupWriterFactory, ParquetError> {
    let properties = parquet_plan::general(schema, ROW_GROUP_LEN);
    let properties = parquet_plan::with_encodings(properties, schema, columns);
    // The library has no other way to one; the file has begun with its own writer.
    let writer = ArrowWriter::try_new(std::io::sink(), Arc::clone(schema), Some(properties))?;
    Ok(writer.into_serialized_writer()?.1)
}

/// Encodes columns as one group.
fn encode(
    schema: &SchemaRef,
    columns: Vec<Vec<ArrayRef>>,
    writers: Vec<ArrowColumnWriter>,
    array_bytes: usize,
) -> Group {
    let columns: Vec<_> = schema.fields().iter().zip(columns).collect();
    if writers.len() == columns.len() {
        let columns = columns.into_par_iter().zip(writers);
        let encoded = columns.map(|((field, pieces), mut writer)| {
            encode_column(field, pieces, &mut std::iter::once(&mut writer), array_bytes)?;
            writer.close()
        });
        return encoded.collect();
    }
    // Some columns are nested, and have a writer for each leaf.
    let mut writers = writers;
    let mut leaves = writers.iter_mut();
    for (field, pieces) in columns {
        encode_column(field, pieces, &mut leaves, array_bytes)?;
    }
    writers.into_iter().map(ArrowColumnWriter::close).collect()
}

/// Encodes a column with the next writers, one for each of its leaves.
fn encode_column<'a>(
    field: &FieldRef,
    pieces: Vec<ArrayRef>,
    writers: &mut impl Iterator<Item = &'a mut ArrowColumnWriter>,
    array_bytes: usize,
) -> Result<(), ParquetError> {
    let mut own: Vec<&mut ArrowColumnWriter> = Vec::new();
    for_each_array(pieces, array_bytes, &mut |column| {
        for start in (0..column.len()).step_by(STEP_LEN) {
            let step = column.slice(start, STEP_LEN.min(column.len() - start));
            let leaves = compute_leaves(field, &step)?;
            if own.is_empty() {
                own.extend(writers.by_ref().take(leaves.len()));
            }
            for (leaf, writer) in leaves.iter().zip(&mut own) {
                writer.write(leaf)?;
            }
        }
        Ok(())
    })
}

/// Puts the pieces of a column together: where the library ends a page depends on how it is
/// given them. What is too long for one array becomes one for each half of the rows, and so
/// on, whatever the pieces are.
fn for_each_array(
    pieces: Vec<ArrayRef>,
    array_bytes: usize,
    take: &mut impl FnMut(&ArrayRef) -> Result<(), ParquetError>,
) -> Result<(), ParquetError> {
    let rows: usize = pieces.iter().map(|piece| piece.len()).sum();
    if rows < 2 || pieces.iter().map(text_bytes).sum::<usize>() <= array_bytes {
        match concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>()) {
            // Texts within lists and structs are not counted before.
            Err(ArrowError::OffsetOverflowError(_)) if rows > 1 => {}
            column => {
                drop(pieces);
                return take(&column?);
            }
        }
    }
    let (mut front, mut back, mut left) = (Vec::new(), Vec::new(), rows / 2);
    for piece in pieces {
        let len = left.min(piece.len());
        front.push(piece.slice(0, len));
        back.push(piece.slice(len, piece.len() - len));
        left -= len;
    }
    for mut half in [front, back] {
        half.retain(|piece| !piece.is_empty());
        for_each_array(half, array_bytes, take)?;
    }
    Ok(())
}

/// Bytes of texts, or bytes, that Arrow counts in 31 bits.
fn text_bytes(array: &ArrayRef) -> usize {
    let offsets = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().offsets(),
        DataType::Binary => array.as_binary::<i32>().offsets(),
        _ => return 0,
    };
    (offsets[array.len()] - offsets[0]) as usize
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::{BinaryArray, StringArray, UInt32Array};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::encoding::{Compression, Location};
    use crate::target::{OutputHandle, Target};

    fn rows(len: usize) -> RecordBatch {
        let text = |row: usize| (!row.is_multiple_of(7)).then(|| "x".repeat(row * 31 % 400));
        let mut lists = ListBuilder::new(StringBuilder::new());
        (0..len).for_each(|row| lists.append_value([text(row), text(row + 1)]));
        let columns: [(&str, ArrayRef); 4] = [
            ("id", Arc::new((0..len as u32).collect::<UInt32Array>())),
            ("text", Arc::new((0..len).map(text).collect::<StringArray>())),
            ("bytes", Arc::new((0..len).map(|row| text(row + 3)).collect::<BinaryArray>())),
            ("list", Arc::new(lists.finish())),
        ];
        RecordBatch::try_from_iter(columns).expect("as long")
    }

    #[test]
    fn arrays_are_halved_until_they_are_short_whatever_the_pieces() {
        let all = rows(1_000);
        let arrays = |column: &ArrayRef, piece_len: usize, array_bytes| {
            let pieces = (0..1_000).step_by(piece_len);
            let pieces = pieces.map(|start| column.slice(start, piece_len.min(1_000 - start))).collect();
            let mut arrays = Vec::new();
            let taken = for_each_array(pieces, array_bytes, &mut |array| {
                arrays.push(Arc::clone(array));
                Ok(())
            });
            taken.map(|()| arrays).expect("of one type")
        };
        for column in &all.columns()[1..3] {
            let whole = text_bytes(column);
            assert_eq!(arrays(column, 1_000, whole), [Arc::clone(column)]);
            assert_eq!(arrays(column, 37, whole - 1).len(), 2);
            for array_bytes in [1, 500, 10_000] {
                let halved = arrays(column, 37, array_bytes);
                assert_eq!(halved, arrays(column, 1_000, array_bytes));
                assert!(halved.iter().all(|array| array.len() == 1 || text_bytes(array) <= array_bytes));
                let together = concat(&halved.iter().map(AsRef::as_ref).collect::<Vec<_>>());
                assert_eq!(&together.expect("of one type"), column);
            }
        }
    }

    #[test]
    fn long_texts_are_written_in_parts_that_the_rows_alone_decide() {
        let folder = tempfile::tempdir().expect("a folder");
        let all = rows(20_000);
        let written = |batch_len: usize, array_bytes| {
            let path = folder.path().join("out.parquet");
            let (mut target, file) =
                Target::create(&Location::Path(path.clone()), OutputHandle::default()).expect("made");
            let packer = Packer::new(file, Compression::None).expect("made");
            let mut writer = ParquetWriter::new(&all.schema(), packer).expect("begun");
            writer.array_bytes = array_bytes;
            for start in (0..all.num_rows()).step_by(batch_len) {
                let len = batch_len.min(all.num_rows() - start);
                writer.write(&all.slice(start, len)).expect("written");
            }
            writer.finish().and_then(|packer| Ok(packer.finish()?)).expect("finished");
            target.settle(tradejoin_flow::End::Complete).expect("named");
            std::fs::read(path).expect("there")
        };
        for array_bytes in [1, 1_000, 100_000, ARRAY_BYTES] {
            let bytes = written(all.num_rows(), array_bytes);
            assert!(written(777, array_bytes) == bytes, "{array_bytes}");
            let reader =
                ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).expect("Parquet");
            let read: Vec<_> = reader.build().expect("read").map(|batch| batch.expect("rows")).collect();
            let read = arrow_select::concat::concat_batches(&read[0].schema(), &read).expect("alike");
            assert!(read.columns() == all.columns(), "{array_bytes}");
        }
    }
}
