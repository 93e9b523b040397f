//! Rows in the types of a columnar file, and Arrow IPC.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow_cast::cast;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;

use crate::render::Cells;
use crate::target::Packer;
use crate::text_encoder::Added;
use crate::trade_layout::{ENCODING_JSON, ENCODING_KEY};

/// The schema that a file has, and how blocks are brought to it.
pub(crate) struct Shape {
    pub(crate) schema: SchemaRef,
}

impl Shape {
    pub(crate) fn new<'a>(trades: &Schema, added: impl Iterator<Item = (&'a str, DataType)>) -> Self {
        let own = trades.fields().iter().map(plain_field);
        let added = added.map(|(name, ty)| Arc::new(Field::new(name, ty, true)));
        Self { schema: Arc::new(Schema::new(own.chain(added).collect::<Fields>())) }
    }

    /// The rows of a block that are kept, in the types of the file.
    pub(crate) fn batch(
        &self,
        trades: &RecordBatch,
        added: &[Added<'_>],
        kept: Option<&[bool]>,
    ) -> Result<RecordBatch, ArrowError> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for ((array, from), to) in
            trades.columns().iter().zip(trades.schema_ref().fields()).zip(self.schema.fields())
        {
            columns.push(plain_array(array, from, to.data_type())?);
        }
        for (column, values) in added {
            columns.push(values.to_arrow(column)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(trades.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        match kept {
            None => Ok(batch),
            Some(kept) => filter_record_batch(&batch, &BooleanArray::from(kept.to_vec())),
        }
    }
}

/// A field that other programs read well: no views, and no dictionaries, which
/// may change from block to block where a file has only one.
fn plain_field(field: &FieldRef) -> FieldRef {
    let mut metadata = field.metadata().clone();
    metadata.remove(ENCODING_KEY);
    let ty = plain_type(field.data_type());
    let field = Field::new(field.name(), ty.into_owned(), field.is_nullable());
    Arc::new(field.with_metadata(metadata))
}

pub(crate) fn plain_type(ty: &DataType) -> Cow<'_, DataType> {
    let plain = match ty {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values).into_owned(),
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, len) => DataType::FixedSizeList(plain_field(item), *len),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        other => return Cow::Borrowed(other),
    };
    Cow::Owned(plain)
}

fn plain_array(array: &ArrayRef, field: &Field, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if field.metadata().get(ENCODING_KEY).is_some_and(|encoding| encoding == ENCODING_JSON) {
        // Tokens are for JSON: here the text that they stand for.
        let cells = Cells::of_csv(array, field)?;
        let texts = (0..array.len()).map(|row| {
            let token = cells.to_text(row)?;
            crate::parse::json_text(&token).map(Cow::into_owned)
        });
        return Ok(Arc::new(texts.collect::<StringArray>()));
    }
    if array.data_type() == to { Ok(Arc::clone(array)) } else { cast(array, to) }
}

/// An Arrow IPC file or stream.
pub(crate) enum IpcWriter {
    File(FileWriter<Packer>),
    Stream(StreamWriter<Packer>),
}

impl IpcWriter {
    /// Begins with `schema`. `seekable` says that readers can begin at the end:
    /// then it is the file format.
    pub(crate) fn new(schema: &SchemaRef, packer: Packer, seekable: bool) -> Result<Self, ArrowError> {
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD))?;
        Ok(if seekable {
            Self::File(FileWriter::try_new_with_options(packer, schema, options)?)
        } else {
            Self::Stream(StreamWriter::try_new_with_options(packer, schema, options)?)
        })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::File(writer) => writer.write(batch),
            Self::Stream(writer) => writer.write(batch),
        }
    }

    pub(crate) fn finish(self) -> Result<Packer, ArrowError> {
        match self {
            Self::File(writer) => writer.into_inner(),
            Self::Stream(writer) => writer.into_inner(),
        }
    }
}
