//! Trades that are put aside and records that are refused, each with its reason, as JSON Lines.

use std::io::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use thiserror::Error;
use tradejoin_disk::Disk;
use tradejoin_flow::{BoxError, Encode, End, OutputPosition, Prepared, Sink};
use tradejoin_model::{DeadLetter, Enriched, MissPolicy, Refused, TableSpec};

use crate::bad_letter::{LetterTime, push_time};
use crate::csv_rows;
use crate::encoding::{Encoding, Format, Location};
use crate::error::{Category, CreateError, WriteError};
use crate::key_text::key_for_people;
use crate::letter_files::{DroppedLetters, LetterFiles, LetterRotation};
use crate::letters::{Letter, Letters};
use crate::output::{Output, OutputOptions, OutputPiece};
use crate::prepared::Kept;
use crate::reason_codes::NO_MATCH;
use crate::target::OutputHandle;
use crate::text_encoder::{JsonEncoder, push_json_text};
use crate::trade_layout::{ENCODING_CSV, RECORDS_KEY};

/// Where trades that are put aside go, and what is told of them.
#[derive(Clone, Debug)]
pub struct DeadLetterOptions {
    /// Where to.
    pub location: Location,
    /// How the file is packed; its format is JSON Lines.
    pub encoding: Encoding,
    /// The trades' own columns: what their source says that it has.
    pub schema: SchemaRef,
    /// The tables of the run, in order.
    pub tables: Vec<TableSpec>,
    /// The letters that the trades come from, if they were put aside before.
    pub letters: Option<Letters>,
    /// Which time trades have that are put aside; records that are refused have theirs.
    pub time: LetterTime,
    /// Bytes of all lines, before they are packed, that the file may have, or all files
    /// together; `None` for any number. Not for a packed file of a run that is kept: one that goes on knows no more
    /// what was packed.
    pub bytes_max: Option<u64>,
    /// When they go on in another file; `None` if all are in one.
    pub rotation: Option<LetterRotation>,
    /// That the run is kept with checkpoints, if it is; of letters in several files it goes on
    /// from what [`resume_letter_files`](crate::resume_letter_files) gives.
    pub kept: Option<Kept>,
    /// The file system, where it is not kept: one that is has its own.
    pub disk: Arc<dyn Disk>,
}

/// That dead letters cannot be written, and not the trades beside them.
#[derive(Debug, Error)]
#[error("cannot write the dead letters")]
pub struct LettersFailed(#[source] BoxError);

impl LettersFailed {
    fn of(cause: impl Into<BoxError>) -> BoxError {
        Self(cause.into()).into()
    }
}

/// What was written of dead letters up to a mark.
struct PreparedLetters(Box<dyn Prepared>);

impl Prepared for PreparedLetters {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        self.0.make_durable().map_err(LettersFailed::of)
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        self.0.publish().map_err(LettersFailed::of)
    }
}

/// More dead letters than there may be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{target_name}: the dead letters take more than {bytes_max} bytes, and no more are allowed")]
pub struct DeadLettersFull {
    /// The file.
    pub target_name: Arc<str>,
    /// The bytes that are allowed.
    pub bytes_max: u64,
}

impl DeadLettersFull {
    /// The kind of failure.
    #[must_use]
    pub fn category(&self) -> Category {
        Category::Data
    }
}

/// A file of trades that were put aside, and of records that were refused, in the order of the
/// sequence. Of a trade an object with the members
/// `reason` (`no-match`), `table`, `key` (null for none), `trade` (its number among
/// the trades that were read, from 1, those not counted that were refused) and
/// `fields`, the trade's own columns. Of a trade that was put aside before, `trade` is
/// its number then, and a member `tries` behind it says how often it has been put aside.
/// Of a refused record it is what [`Refused::letter`](tradejoin_model::Refused::letter) has: one
/// of the [reasons](crate::reason_codes), `source`, `line` or `row`, `column` and `value` where
/// they are known, `message`, and the record as it stood, `raw` or `raw_base64`, or its `fields`.
/// The file is made as an [`Output`] is.
pub struct DeadLetters {
    output: LetterOutput,
    bytes: u64,
    bytes_max: Option<u64>,
    encoder: DeadLetterEncoder,
}

/// Where the lines go.
enum LetterOutput {
    One(Box<Output>),
    Several(Box<LetterFiles>),
}

impl LetterOutput {
    /// The one that is written.
    fn output(&self) -> &Output {
        match self {
            Self::One(output) => output,
            Self::Several(files) => files.output(),
        }
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        match self {
            Self::One(output) => Ok(output.prepare(end)?),
            Self::Several(files) => files.prepare(end),
        }
    }
}

/// What makes the lines of a batch, on any thread.
#[derive(Clone)]
pub struct DeadLetterEncoder {
    name: Arc<str>,
    schema: SchemaRef,
    json: Arc<JsonEncoder>,
    tables: Arc<[TableSpec]>,
    letters: Option<Letters>,
    time: LetterTime,
}

impl DeadLetters {
    /// Makes the file, which may stay empty.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(options: DeadLetterOptions) -> Result<Self, CreateError> {
        let DeadLetterOptions {
            location,
            encoding,
            schema,
            tables,
            letters,
            time,
            bytes_max,
            rotation,
            kept,
            disk,
        } = options;
        // Of a file that is not packed, what is there are the lines.
        let from = kept.as_ref().and_then(|kept| kept.from.as_ref());
        let bytes = from.map_or(0, |from| from.bytes + from.bytes_before);
        let encoding = Encoding { format: Format::JsonLines, ..encoding };
        let json = JsonEncoder::new(&schema, std::iter::empty(), "");
        // Records that are refused are put aside without what JSON cannot hold; trades are not.
        let has_trades = tables.iter().any(|table| table.on_miss == MissPolicy::DeadLetter);
        let checked = if has_trades { Arc::clone(&schema) } else { Arc::new(Schema::empty()) };
        let options = OutputOptions::new(location, encoding, checked);
        let options = OutputOptions { kept, disk, ..options };
        let output = match rotation {
            None => LetterOutput::One(Box::new(Output::create(options)?)),
            Some(rotation) => LetterOutput::Several(Box::new(LetterFiles::create(options, rotation)?)),
        };
        let (name, json) = (output.output().name(), Arc::new(json));
        let encoder = DeadLetterEncoder { name, schema, json, tables: tables.into(), letters, time };
        Ok(Self { output, bytes, bytes_max, encoder })
    }

    /// The handle by which the file that is written now can be asked after it was given away.
    #[must_use]
    pub fn handle(&self) -> OutputHandle {
        self.output.output().handle()
    }

    /// The letters that are removed again, also after this was given away; always none but of
    /// several files, of which some stay.
    #[must_use]
    pub fn dropped(&self) -> DroppedLetters {
        match &self.output {
            LetterOutput::One(_) => DroppedLetters::default(),
            LetterOutput::Several(files) => files.dropped(),
        }
    }

    fn write(&mut self, piece: &mut OutputPiece) -> Result<(), BoxError> {
        self.bytes += piece.text().len() as u64;
        if let Some(bytes_max) = self.bytes_max.filter(|&bytes_max| self.bytes > bytes_max) {
            return Err(DeadLettersFull { target_name: Arc::clone(&self.encoder.name), bytes_max }.into());
        }
        match &mut self.output {
            LetterOutput::One(output) => Ok(output.write_piece(piece)?),
            LetterOutput::Several(files) => files.write(piece.text()),
        }
    }

    /// A sink that writes what is put aside here, and all else to `sink`.
    pub fn beside<S: Sink>(self, sink: S) -> Beside<S> {
        Beside { letters: Some(self), sink }
    }
}

/// See [`DeadLetters::beside`].
pub struct Beside<S> {
    /// `None` if nothing is put aside.
    letters: Option<DeadLetters>,
    sink: S,
}

impl<S: Sink> Beside<S> {
    /// A sink that puts nothing aside.
    pub fn nothing(sink: S) -> Self {
        Self { letters: None, sink }
    }
}

/// The encoder of a [`Beside`].
pub struct BesideEncoder<E> {
    letters: Option<DeadLetterEncoder>,
    inner: E,
}

/// What a [`Beside`] writes of one batch.
#[derive(Debug, Default)]
pub struct BesidePiece<P> {
    letters: OutputPiece,
    inner: P,
    has_rows: bool,
}

impl DeadLetterEncoder {
    /// Replaces `text` by the lines of the trades of a batch that are put aside, and of the
    /// records that were refused, each before the trades behind it.
    fn encode(&self, enriched: &Enriched, text: &mut Vec<u8>) -> Result<(), WriteError> {
        text.clear();
        let mut refused = &enriched.messages.refused[..];
        if !enriched.dead_letters.is_empty() {
            self.encode_trades(enriched, &mut refused, text)?;
        }
        push_refused(refused, text);
        Ok(())
    }

    fn encode_trades(
        &self,
        enriched: &Enriched,
        refused: &mut &[Refused],
        text: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        let failed =
            |error: ArrowError| WriteError { target_name: Arc::clone(&self.name), source: error.into() };
        let fields = self.fields(enriched).map_err(failed)?;
        let mut fields = fields.split(|&byte| byte == b'\n');
        for &DeadLetter { row, table, number } in &enriched.dead_letters {
            let before = refused.partition_point(|refused| refused.at_row <= row);
            push_refused(&refused[..before], text);
            *refused = &refused[before..];
            // Writing to memory does not fail.
            let _ = write!(text, "{{\"reason\":\"{NO_MATCH}\",\"table\":");
            push_json_text(self.tables[table].name.as_bytes(), text);
            text.extend_from_slice(b",\"key\":");
            match enriched.messages.keys[table].get(row as usize) {
                Some(key) => push_json_text(key_for_people(&key, &self.tables[table]).as_bytes(), text),
                None => text.extend_from_slice(b"null"),
            }
            let _ = match self.letters.as_ref().and_then(|letters| letters.get(number)) {
                Some(Letter { trade, tries }) => {
                    write!(text, ",\"trade\":{trade},\"tries\":{}", tries.saturating_add(1))
                }
                None => write!(text, ",\"trade\":{number}"),
            };
            push_time(self.time, text);
            text.extend_from_slice(b",\"fields\":");
            text.extend_from_slice(fields.next().unwrap_or(b"{}"));
            text.extend_from_slice(b"}\n");
        }
        Ok(())
    }

    /// The own columns of the trades that are put aside: an object and the end of a
    /// line for each.
    fn fields(&self, enriched: &Enriched) -> Result<Vec<u8>, ArrowError> {
        let trades = enriched.trades();
        let rows: Vec<usize> = enriched.dead_letters.iter().map(|letter| letter.row as usize).collect();
        let mut text = Vec::new();
        if trades.schema_ref().metadata().get(RECORDS_KEY).is_some_and(|encoding| encoding == ENCODING_CSV) {
            let rows_alone = self.split(trades, &rows)?;
            self.json.rows(&rows_alone, &[], 0..rows.len(), &mut text)?;
        } else {
            self.json.rows(trades, &[], rows.into_iter(), &mut text)?;
        }
        Ok(text)
    }

    /// Rows that stand as whole records, cut into their fields.
    fn split(&self, trades: &RecordBatch, rows: &[usize]) -> Result<RecordBatch, ArrowError> {
        let records = trades.column(0).as_binary::<i32>();
        let mut columns = vec![Vec::new(); self.schema.fields().len()];
        for &row in rows {
            // A record came out of a line that is UTF-8.
            let record = std::str::from_utf8(records.value(row)).unwrap_or_default();
            let mut cells = Vec::new();
            csv_rows::split(record, &mut cells);
            columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell.into_owned()));
        }
        let columns = columns.into_iter().map(|cells| Arc::new(StringArray::from(cells)) as ArrayRef);
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())
    }
}

fn push_refused(refused: &[Refused], text: &mut Vec<u8>) {
    for refused in refused.iter().filter(|refused| !refused.letter.is_empty()) {
        text.extend_from_slice(&refused.letter);
        text.push(b'\n');
    }
}

impl<E: Encode> Encode for BesideEncoder<E> {
    type Piece = BesidePiece<E::Piece>;

    fn encode(&mut self, enriched: &Enriched, piece: &mut Self::Piece) -> Result<(), BoxError> {
        if let Some(letters) = &self.letters {
            letters.encode(enriched, piece.letters.text()).map_err(LettersFailed::of)?;
        }
        piece.has_rows = enriched.rows_kept > 0;
        if piece.has_rows { self.inner.encode(enriched, &mut piece.inner) } else { Ok(()) }
    }
}

impl<S: Sink> Sink for Beside<S> {
    type Piece = BesidePiece<S::Piece>;
    type Encoder = BesideEncoder<S::Encoder>;

    fn encoder(&self) -> Self::Encoder {
        let letters = self.letters.as_ref().map(|letters| letters.encoder.clone());
        BesideEncoder { letters, inner: self.sink.encoder() }
    }

    fn write(&mut self, piece: &mut Self::Piece) -> Result<(), BoxError> {
        if let Some(letters) = &mut self.letters
            && !piece.letters.text().is_empty()
        {
            letters.write(&mut piece.letters).map_err(LettersFailed::of)?;
        }
        if piece.has_rows { self.sink.write(&mut piece.inner) } else { Ok(()) }
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        let sink = self.sink.prepare(end)?;
        Ok(match &mut self.letters {
            Some(letters) => {
                let letters = letters.output.prepare(end).map_err(LettersFailed::of)?;
                Box::new((sink, PreparedLetters(letters)))
            }
            None => sink,
        })
    }
}
