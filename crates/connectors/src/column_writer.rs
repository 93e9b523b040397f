//! Files of columns in types.

use std::error::Error;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::columnar_encoder::IpcWriter;
use crate::encoding::{Compression, Format};
use crate::parquet_writer::ParquetWriter;
use crate::target::{Counted, Packer};

type AnyError = Box<dyn Error + Send + Sync>;

/// A file of columns, which is whole when it is finished.
pub(crate) enum ColumnWriter {
    Parquet(Box<ParquetWriter>),
    Arrow(Box<IpcWriter>),
}

impl ColumnWriter {
    /// Begins a file. `is_named` says that it is one with a name, whose readers can begin
    /// at its end.
    pub(crate) fn new(
        format: Format,
        schema: &SchemaRef,
        file: Counted,
        is_named: bool,
    ) -> Result<Self, AnyError> {
        let packer = Packer::new(file, Compression::None)?;
        Ok(match format {
            Format::Parquet => Self::Parquet(Box::new(ParquetWriter::new(schema, packer)?)),
            _ => Self::Arrow(Box::new(IpcWriter::new(schema, packer, is_named)?)),
        })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), AnyError> {
        match self {
            Self::Parquet(writer) => writer.write(batch)?,
            Self::Arrow(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Writes the rest, and gives the file back.
    pub(crate) fn finish(self) -> Result<Counted, AnyError> {
        let packer = match self {
            Self::Parquet(writer) => writer.finish()?,
            Self::Arrow(writer) => writer.finish()?,
        };
        Ok(packer.finish()?)
    }
}
