//! Enriched trades to a file of any format.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tradejoin_flow::{BoxError, End, Sink};
use tradejoin_model::{ColumnType, Enriched};

use crate::columnar_encoder::{ArrowEncoder, ParquetEncoder, Shape};
use crate::encoding::{Encoding, Format, Location};
use crate::error::{CreateError, WriteError};
use crate::target::{OutputHandle, Packer, Target};
use crate::text_encoder::{Added, JsonEncoder, csv_header, csv_rows};

/// A column that tables add to the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedColumn {
    /// Its name in the output.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Where it stands in [`Enriched::columns`].
    pub index: usize,
}

/// What to write, and where.
#[derive(Clone, Debug)]
pub struct OutputOptions {
    /// Where to.
    pub location: Location,
    /// In what encoding.
    pub encoding: Encoding,
    /// The trades' own columns: what their source says that it has.
    pub schema: SchemaRef,
    /// The columns behind them, in order.
    pub added: Vec<AddedColumn>,
}

/// A file, or standard output, that enriched trades are written to: a [`Sink`]
/// whose errors are [`WriteError`]s.
///
/// A file is written under the name `<name>.partial` and gets its own when it is
/// finished; what stood there before stays until then. Interrupted, it keeps the
/// partial name; dropped before that, it leaves nothing behind. No file that is
/// there already is taken for the partial one: the next is `<name>.2.partial`.
/// Devices and pipes are written to directly.
///
/// Arrow IPC is written in the file format to a file with a name, and in the
/// stream format to standard output, devices and pipes.
pub struct Output {
    name: Arc<str>,
    added: Vec<AddedColumn>,
    handle: OutputHandle,
    encoder: Encoder,
    /// Behind `encoder`: what it holds goes before the file's name.
    target: Target,
    buffer: Vec<u8>,
}

enum Encoder {
    /// With the header, until the first rows are written: a run that fails
    /// before that leaves standard output empty.
    Csv(Packer, Vec<u8>),
    Json(JsonEncoder, Packer),
    Parquet(Box<ParquetEncoder>),
    Arrow(Box<ArrowEncoder>),
    Finished,
}

impl Output {
    /// Makes the output; its header is written also if no row follows.
    ///
    /// # Errors
    /// If the file cannot be made, or the format has no place for a column.
    pub fn create(options: OutputOptions) -> Result<Self, CreateError> {
        let OutputOptions { location, encoding, schema, added } = options;
        let name: Arc<str> = match &location {
            Location::Path(path) => path.display().to_string().into(),
            Location::Standard => "standard output".into(),
        };
        let failed = |source: io::Error| CreateError::Io { target_name: Arc::clone(&name), source };
        let handle = OutputHandle::default();
        let (target, file, named) = Target::create(&location, handle.clone()).map_err(failed)?;
        let packer = Packer::new(file, encoding.compression).map_err(failed)?;
        let encoder = Encoder::new(encoding.format, &schema, &added, packer, named);
        let encoder = encoder.map_err(|source| match source.downcast::<io::Error>() {
            Ok(source) => failed(*source),
            Err(source) => CreateError::Schema { target_name: Arc::clone(&name), source },
        })?;
        Ok(Self { name, added, handle, encoder, target, buffer: Vec::new() })
    }

    /// The handle by which the output can be asked after it was given away.
    #[must_use]
    pub fn handle(&self) -> OutputHandle {
        self.handle.clone()
    }

    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Writes the rows that go on, as [`Sink::write`] does.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_enriched(&mut self, enriched: &Enriched) -> Result<(), WriteError> {
        let added = self.added.iter().map(|added| (&enriched.columns[added.index], added.column_type));
        let added: Vec<_> = added.collect();
        let kept = enriched.kept.as_deref();
        self.encoder
            .write(enriched.trades(), &added, kept, &mut self.buffer)
            .map_err(|source| WriteError { target_name: Arc::clone(&self.name), source })
    }

    /// Writes all rows of a batch, of an output without added columns.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_batch(&mut self, batch: &RecordBatch) -> Result<(), WriteError> {
        self.encoder
            .write(batch, &[], None, &mut self.buffer)
            .map_err(|source| WriteError { target_name: Arc::clone(&self.name), source })
    }

    /// Completes the file, and gives it its name unless the run was interrupted,
    /// as [`Sink::finish`] does.
    ///
    /// # Errors
    /// If writing the rest or naming the file fails.
    pub fn close(&mut self, end: End) -> Result<(), WriteError> {
        std::mem::replace(&mut self.encoder, Encoder::Finished)
            .finish()
            .and_then(|()| Ok(self.target.settle(end)?))
            .map_err(|source| WriteError { target_name: Arc::clone(&self.name), source })
    }
}

impl Sink for Output {
    fn write(&mut self, enriched: &Enriched) -> Result<(), BoxError> {
        Ok(self.write_enriched(enriched)?)
    }

    fn finish(&mut self, end: End) -> Result<(), BoxError> {
        Ok(self.close(end)?)
    }
}

type AnyError = Box<dyn Error + Send + Sync>;

impl Encoder {
    fn new(
        format: Format,
        schema: &SchemaRef,
        added: &[AddedColumn],
        packer: Packer,
        named: bool,
    ) -> Result<Self, AnyError> {
        let names = added.iter().map(|added| added.name.as_str());
        let shape = || Shape::new(schema, added.iter().map(|a| (a.name.as_str(), a.column_type)));
        Ok(match format {
            Format::Csv => {
                let own = schema.fields().iter().map(|field| field.name().as_str());
                let all: Vec<_> = own.chain(names).collect();
                let mut header = Vec::new();
                csv_header(all.into_iter(), &mut header);
                Self::Csv(packer, header)
            }
            Format::JsonLines => Self::Json(JsonEncoder::new(schema, names, ""), packer),
            Format::Parquet => Self::Parquet(Box::new(ParquetEncoder::new(shape(), packer)?)),
            Format::Arrow => Self::Arrow(Box::new(ArrowEncoder::new(shape(), packer, named)?)),
        })
    }

    fn write(
        &mut self,
        trades: &RecordBatch,
        added: &[Added<'_>],
        kept: Option<&[bool]>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), AnyError> {
        let rows = (0..trades.num_rows()).filter(|&row| kept.is_none_or(|kept| kept[row]));
        buffer.clear();
        match self {
            Self::Csv(packer, header) => {
                buffer.append(header);
                csv_rows(trades, added, rows, buffer)?;
                packer.write_all(buffer)?;
            }
            Self::Json(encoder, packer) => {
                encoder.rows(trades, added, rows, buffer)?;
                packer.write_all(buffer)?;
            }
            Self::Parquet(encoder) => encoder.write(trades, added, kept)?,
            Self::Arrow(encoder) => encoder.write(trades, added, kept)?,
            Self::Finished => return Err("the output is finished".into()),
        }
        Ok(())
    }

    fn finish(self) -> Result<(), AnyError> {
        let packer = match self {
            Self::Csv(mut packer, header) => {
                packer.write_all(&header)?;
                packer
            }
            Self::Json(_, packer) => packer,
            Self::Parquet(encoder) => encoder.finish()?,
            Self::Arrow(encoder) => encoder.finish()?,
            Self::Finished => return Ok(()),
        };
        Ok(packer.finish()?)
    }
}
