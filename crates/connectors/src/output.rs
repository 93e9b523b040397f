//! Enriched trades to a file of any format.

use std::io;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use tradejoin_disk::{Disk, RealDisk};
use tradejoin_flow::{BoxError, Encode, End, OutputPosition, Prepared, Sink};
use tradejoin_model::{Column, ColumnType, Enriched};

use crate::block_parts::{ARRAY_BYTES, SHOWN_BYTES, copies, parts};
use crate::columnar_encoder::Shape;
use crate::encoding::{Compression, Encoding, Format, Location};
use crate::error::{CreateError, WriteError};
use crate::fitting::check_columns;
use crate::frames::pack_piece;
use crate::output_writer::{AnyError, Begun, Writer};
use crate::part_folder;
use crate::parts::Parts;
use crate::prepared::{self, Kept};
use crate::resume_error::ResumeError;
use crate::target::{Counted, OutputHandle, Target};
use crate::text_encoder::{Added, CsvStyle, JsonEncoder, csv_rows};
use crate::values::{AddedValues, ValueEncoding};

/// A column that tables add to the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedColumn {
    /// Its name in the output.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// What its values stand for.
    pub encoding: ValueEncoding,
    /// Where it stands in [`Enriched::columns`].
    pub index: usize,
}

impl AddedColumn {
    /// A column of values that stand for themselves.
    #[must_use]
    pub fn plain(name: &str, column_type: ColumnType, index: usize) -> Self {
        Self { name: name.to_owned(), column_type, encoding: ValueEncoding::Plain, index }
    }
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
    /// That the run is kept with checkpoints, if it is.
    pub kept: Option<Kept>,
    /// The file system, where it is not kept: one that is has its own.
    pub disk: Arc<dyn Disk>,
    /// Whether texts of CSV that a spreadsheet would take for formulas get a `'` in front:
    /// those that begin with `=`, `+`, `-`, `@`, a tab or the end of a line, and are no
    /// plain decimals. Trades must not come as [records](crate::Fields::InRecord) then.
    pub csv_safe: bool,
}

impl OutputOptions {
    /// What writes the trades' own columns.
    #[must_use]
    pub fn new(location: Location, encoding: Encoding, schema: SchemaRef) -> Self {
        let disk = Arc::new(RealDisk);
        Self { location, encoding, schema, added: Vec::new(), kept: None, disk, csv_safe: false }
    }
}

/// A file, or standard output, that enriched trades are written to: a [`Sink`]
/// whose errors are [`WriteError`]s.
///
/// A file is written under the name `<name>.partial` and gets its own when it is
/// finished and durable; what stood there before stays until then. Interrupted, it keeps the
/// partial name; dropped before that, it leaves nothing behind. No file that is
/// there already is taken for the partial one: the next is `<name>.2.partial`.
/// Devices and pipes are written to directly.
///
/// One that is [kept](OutputOptions::kept) stays under its partial name as soon as it was
/// [prepared](Self::prepare), whatever becomes of its run, and gets its own with the
/// checkpoint that says that it is complete. Parquet and Arrow are written in parts to a
/// folder then.
///
/// Arrow IPC is written in the file format to a file with a name, and in the
/// stream format to standard output, devices and pipes.
pub struct Output {
    name: Arc<str>,
    handle: OutputHandle,
    encoder: OutputEncoder,
    writer: Writer,
    /// Behind `writer`: what it holds goes before the file's name.
    target: Target,
    piece: OutputPiece,
}

/// What an [`Output`] writes of one batch: rows as text, or as columns in the
/// types of the file.
#[derive(Debug, Default)]
pub struct OutputPiece {
    text: Vec<u8>,
    /// Whether the text is packed already.
    is_frame: bool,
    /// Memory for packing.
    spare: Vec<u8>,
    /// More than one if the rows are too long for one.
    columns: Vec<RecordBatch>,
}

impl OutputPiece {
    /// The rows as text, and as columns if the format has such.
    pub(crate) fn rows(&self) -> (&[u8], &[RecordBatch]) {
        (&self.text, &self.columns)
    }

    /// The same, and whether the text is packed.
    pub(crate) fn parts(&self) -> (&[u8], bool, &[RecordBatch]) {
        (&self.text, self.is_frame, &self.columns)
    }

    /// The rows as text that is not packed, to be set.
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }
}

/// Makes pieces for an [`Output`], on any thread: an [`Encode`] whose errors are
/// [`WriteError`]s.
#[derive(Clone)]
pub struct OutputEncoder {
    name: Arc<str>,
    /// Where each added column stands, and what its values are.
    added: Arc<[(usize, AddedValues)]>,
    kind: Arc<Kind>,
    compression: Compression,
    /// Bytes of added values for which arrays are made at a time.
    pub(crate) array_bytes: usize,
}

pub(crate) enum Kind {
    Csv(CsvStyle),
    Json(JsonEncoder),
    Columns(Shape),
}

impl Output {
    /// Makes the output; its header is written also if no row follows.
    ///
    /// # Errors
    /// If the file cannot be made, or the format has no place for a column.
    pub fn create(options: OutputOptions) -> Result<Self, CreateError> {
        let OutputOptions { location, encoding, schema, added, kept, disk, csv_safe } = options;
        let name = location.output_name();
        let failed = |source: io::Error| CreateError::Io { target_name: Arc::clone(&name), source };
        let handle = OutputHandle::default();
        let unfit = |source: AnyError| CreateError::Schema { target_name: Arc::clone(&name), source };
        let values = AddedValues::of_all(&added).map_err(|error| unfit(error.into()))?;
        check_columns(encoding.format, &schema, &added, &values).map_err(|error| unfit(error.into()))?;
        let kind = Kind::new(encoding.format, &schema, &added, &values, csv_safe);
        let (target, writer) = match (&kept, &kind) {
            (Some(kept), Kind::Columns(shape)) => {
                let parts = Parts::open(kept, &location, encoding.format, &shape.schema, handle.clone())?;
                (Target::settled(), Writer::Parts(Box::new(parts)))
            }
            _ => {
                let (target, file) = open(disk, kept.as_ref(), &location, handle.clone(), failed)?;
                let from = kept.as_ref().and_then(|kept| kept.from.as_ref());
                let is_named = target.is_named();
                // Who reads a pipe in a second life has seen nothing of the first, as a rule.
                let has_begun = is_named && from.is_some_and(|from| from.bytes > 0);
                let begun = Begun { has_begun, is_named };
                let writer = Writer::new(encoding, &kind, &schema, &added, file, begun);
                let writer = writer.map_err(|source| match source.downcast::<io::Error>() {
                    Ok(source) => failed(*source),
                    Err(source) => unfit(source),
                })?;
                (target, writer)
            }
        };
        let compression = encoding.compression;
        let encoder = OutputEncoder::of(&name, &added, values, kind, compression);
        Ok(Self { name, handle, encoder, writer, target, piece: OutputPiece::default() })
    }

    /// The handle by which the output can be asked after it was given away.
    #[must_use]
    pub fn handle(&self) -> OutputHandle {
        self.handle.clone()
    }

    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Encodes and writes the rows that go on.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_enriched(&mut self, enriched: &Enriched) -> Result<(), WriteError> {
        self.encoder.encode_enriched(enriched, &mut self.piece)?;
        self.write_own()
    }

    /// Encodes and writes all rows of a batch, of an output without added
    /// columns.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_batch(&mut self, batch: &RecordBatch) -> Result<(), WriteError> {
        self.encoder.encode_rows(batch, &[], None, &mut self.piece)?;
        self.write_own()
    }

    fn write_own(&mut self) -> Result<(), WriteError> {
        let mut piece = std::mem::take(&mut self.piece);
        let written = self.write_piece(&mut piece);
        self.piece = piece;
        written
    }

    /// Writes a piece, as [`Sink::write`] does.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_piece(&mut self, piece: &mut OutputPiece) -> Result<(), WriteError> {
        self.writer.write(piece).map_err(failed(&self.name))
    }

    /// Completes an output that is not [kept](OutputOptions::kept), and gives the file its name
    /// unless the run was interrupted. Nothing is left to do for one that was
    /// [prepared](Self::prepare) with its end.
    ///
    /// # Errors
    /// If writing the rest or naming the file fails.
    pub fn close(&mut self, end: End) -> Result<(), WriteError> {
        if matches!(self.writer, Writer::Finished) {
            return Ok(());
        }
        let prepared = self.prepare(Some(end))?;
        prepared::complete(&self.name, prepared)
    }

    /// Prepares what was written so far, as [`Sink::prepare`] does.
    ///
    /// # Errors
    /// If writing what is held back fails, or the output is not [kept](OutputOptions::kept) and
    /// more follows.
    pub fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, WriteError> {
        self.prepare_any(end).map_err(failed(&self.name))
    }

    fn prepare_any(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, AnyError> {
        if let Writer::Parts(parts) = &mut self.writer {
            let prepared = parts.prepare(end)?;
            if end.is_some() {
                self.writer = Writer::Finished;
            }
            return Ok(Box::new(prepared));
        }
        let mark = match end {
            Some(_) => std::mem::replace(&mut self.writer, Writer::Finished).finish()?,
            None => self.writer.mark()?,
        };
        let prepared = self.target.prepare(&self.name, mark, end);
        Ok(Box::new(prepared.ok_or("the output is not kept with checkpoints")?))
    }

    /// Gives an output its name that was complete when its run died, or its last parts
    /// theirs, if it has not got them. To be called for each output of a complete
    /// checkpoint, any number of times.
    ///
    /// # Errors
    /// If what is there is not what the checkpoint tells, or the system refuses.
    pub fn republish(disk: &Arc<dyn Disk>, position: &OutputPosition) -> Result<(), ResumeError> {
        match position {
            position if !position.is_complete => Ok(()),
            position if position.partial == position.name => part_folder::republish(disk, position),
            position => prepared::republish(&**disk, position),
        }
    }
}

/// Opens a file: a new one, or that of an earlier run.
fn open(
    disk: Arc<dyn Disk>,
    kept: Option<&Kept>,
    location: &Location,
    handle: OutputHandle,
    failed: impl Fn(io::Error) -> CreateError,
) -> Result<(Target, Counted), CreateError> {
    match kept {
        None => Target::create_on(disk, location, handle, None).map_err(failed),
        Some(Kept { disk, from: Some(from), .. }) => Ok(prepared::resume(disk, from, location, handle)?),
        Some(kept) => prepared::begin(kept, location, handle).map_err(failed),
    }
}

fn failed(name: &Arc<str>) -> impl Fn(AnyError) -> WriteError {
    |source| WriteError { target_name: Arc::clone(name), source }
}

impl OutputEncoder {
    fn of(
        name: &Arc<str>,
        added: &[AddedColumn],
        values: Vec<AddedValues>,
        kind: Kind,
        compression: Compression,
    ) -> Self {
        let added = added.iter().map(|added| added.index).zip(values).collect();
        let array_bytes = if matches!(kind, Kind::Columns(_)) { ARRAY_BYTES } else { SHOWN_BYTES };
        Self { name: Arc::clone(name), added, kind: Arc::new(kind), compression, array_bytes }
    }

    /// An encoder without an output, whose pieces are not packed.
    ///
    /// # Errors
    /// If the format has no place for a column.
    pub(crate) fn new(
        name: &Arc<str>,
        format: Format,
        schema: &SchemaRef,
        added: &[AddedColumn],
        csv_safe: bool,
    ) -> Result<Self, BoxError> {
        let values = AddedValues::of_all(added)?;
        check_columns(format, schema, added, &values)?;
        let kind = Kind::new(format, schema, added, &values, csv_safe);
        Ok(Self::of(name, added, values, kind, Compression::None))
    }

    /// The schema of a format whose columns have types.
    pub(crate) fn columnar_schema(&self) -> Option<&SchemaRef> {
        match &*self.kind {
            Kind::Columns(shape) => Some(&shape.schema),
            Kind::Csv(_) | Kind::Json(_) => None,
        }
    }

    /// Makes a piece of trades and all columns that tables add to them.
    ///
    /// # Errors
    /// If a column cannot be brought to the type that the output has for it.
    pub(crate) fn encode_columns(
        &self,
        trades: &RecordBatch,
        columns: &[Column],
        piece: &mut OutputPiece,
    ) -> Result<(), WriteError> {
        let added = self.added.iter().map(|(index, values)| (&columns[*index], values));
        self.encode_rows(trades, &added.collect::<Vec<_>>(), None, piece)
    }

    /// Makes a piece of the rows that go on, as [`Encode::encode`] does.
    ///
    /// # Errors
    /// If a column cannot be brought to the type that the output has for it.
    pub fn encode_enriched(&self, enriched: &Enriched, piece: &mut OutputPiece) -> Result<(), WriteError> {
        let added = self.added.iter().map(|(index, values)| (&enriched.columns[*index], values));
        self.encode_rows(enriched.trades(), &added.collect::<Vec<_>>(), enriched.kept.as_deref(), piece)
    }

    fn encode_rows(
        &self,
        trades: &RecordBatch,
        added: &[Added<'_>],
        kept: Option<&[bool]>,
        piece: &mut OutputPiece,
    ) -> Result<(), WriteError> {
        piece.text.clear();
        piece.columns.clear();
        let encoded = self.encode_parts(trades, added, kept, piece);
        encoded.map_err(|source| failed(&self.name)(source.into()))?;
        let OutputPiece { text, is_frame, spare, .. } = piece;
        let packed = pack_piece(text, spare, self.compression);
        *is_frame = packed.map_err(|source| failed(&self.name)(source.into()))?;
        Ok(())
    }

    /// Appends the rows, so many at a time as arrays can hold.
    fn encode_parts(
        &self,
        trades: &RecordBatch,
        added: &[Added<'_>],
        kept: Option<&[bool]>,
        piece: &mut OutputPiece,
    ) -> Result<(), ArrowError> {
        let of_columns = matches!(*self.kind, Kind::Columns(_));
        let are_arrays = added.iter().filter(|(_, values)| of_columns || values.is_shown_of_array());
        let parts = parts(are_arrays.map(|(column, _)| *column), trades.num_rows(), self.array_bytes);
        let Some(parts) = parts else { return self.encode_part(trades, added, kept, piece) };
        for rows in parts {
            let copies = copies(added, &rows);
            let added: Vec<_> = copies.iter().zip(added).map(|(copy, (_, values))| (copy, *values)).collect();
            let trades = trades.slice(rows.start, rows.len());
            self.encode_part(&trades, &added, kept.map(|kept| &kept[rows]), piece)?;
        }
        Ok(())
    }

    fn encode_part(
        &self,
        trades: &RecordBatch,
        added: &[Added<'_>],
        kept: Option<&[bool]>,
        piece: &mut OutputPiece,
    ) -> Result<(), ArrowError> {
        let rows = (0..trades.num_rows()).filter(|&row| kept.is_none_or(|kept| kept[row]));
        let OutputPiece { text, columns, .. } = piece;
        match &*self.kind {
            Kind::Csv(style) => csv_rows(trades, added, rows, *style, text),
            Kind::Json(encoder) => encoder.rows(trades, added, rows, text),
            Kind::Columns(shape) => shape.batch(trades, added, kept).map(|batch| columns.push(batch)),
        }
    }
}

impl Encode for OutputEncoder {
    type Piece = OutputPiece;

    fn encode(&mut self, enriched: &Enriched, piece: &mut OutputPiece) -> Result<(), BoxError> {
        Ok(self.encode_enriched(enriched, piece)?)
    }
}

impl Sink for Output {
    type Piece = OutputPiece;
    type Encoder = OutputEncoder;

    fn encoder(&self) -> OutputEncoder {
        self.encoder.clone()
    }

    fn write(&mut self, piece: &mut OutputPiece) -> Result<(), BoxError> {
        Ok(self.write_piece(piece)?)
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        Ok(Self::prepare(self, end)?)
    }
}

impl Kind {
    fn new(
        format: Format,
        schema: &SchemaRef,
        added: &[AddedColumn],
        values: &[AddedValues],
        is_safe: bool,
    ) -> Self {
        match format {
            Format::Csv => Self::Csv(CsvStyle { is_safe }),
            Format::JsonLines => {
                Self::Json(JsonEncoder::new(schema, added.iter().map(|added| added.name.as_str()), ""))
            }
            Format::Parquet | Format::Arrow => {
                let names = added.iter().map(|added| added.name.as_str());
                let types = values.iter().map(AddedValues::arrow_type);
                Self::Columns(Shape::new(schema, names.zip(types)))
            }
        }
    }
}
