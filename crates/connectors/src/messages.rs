//! One interleaved stream of trades and table rows, as tagged JSON Lines.

use std::sync::Arc;
use std::time::Instant;

use arrow_schema::SchemaRef;
use tradejoin_flow::{Block, BoxError, Source, SourcePosition};
use tradejoin_model::{ChangeLane, Messages, TRADE_COLUMNS, Turns};

use crate::bad::Refusals;
use crate::bad_letter::Raw;
use crate::change_rows::row_cells;
use crate::chunks::{Chunks, Records};
use crate::encoding::Format;
use crate::error::{OpenError, ReadError};
use crate::flaw::{Flaw, Reason};
use crate::gated_lines::{FirstLines, GatedLines, Lines, Waiting};
use crate::gates::{GateOptions, MARKER, TABLE, marked_table};
use crate::header::Header;
use crate::input::{Input, InputOptions};
use crate::json_rows::{Members, UnknownMembers};
use crate::lane_builder::{LaneBuilder, TableColumn, TableKind};
use crate::mode::TableMode;
use crate::parse::{Dialect, json_text};
use crate::trade_builder::{Block as TradeBlock, TradeBuilder};
use crate::trade_layout::{Fields, KeyColumns, TradeLayout};

/// The member that says what a line is.
pub(crate) const TYPE: &str = "type";
/// The `type` of a trade.
pub(crate) const TRADE: &str = "trade";

/// Which messages to read, and how.
#[derive(Clone, Debug)]
pub struct MessagesOptions {
    /// Where from. The format is JSON Lines; of the encoding, the compression
    /// counts.
    pub input: InputOptions,
    /// Messages to read at most, refused ones included; `None` for all.
    pub limit: Option<u64>,
    /// The tables of the run, in order. A row of another one is a bad record.
    /// `None` stands for the instruments, and for those whose rows are among the
    /// first lines, the ones that the columns of trades are taken from.
    pub tables: Option<Vec<TableKind>>,
    /// What to make of the fields of trades.
    pub fields: Fields,
    /// What tables wait for before the first trade.
    pub gates: GateOptions,
}

/// Opens a stream of lines with a member `type`: `trade`, or `instrument` or
/// `user` for an upsert of that row, or its removal with `"deleted":true`; or
/// `snapshot_end` for the marker behind the rows of a table that are there from the
/// start.
///
/// The columns of trades are the members of the first 1,024 trades (of fewer if
/// they stand behind 64 MiB of other lines), without `type`.
///
/// # Errors
/// If the input cannot be opened, or its trades lack a key column.
pub fn open_messages(options: MessagesOptions) -> Result<MessageReader, OpenError> {
    let MessagesOptions { input, limit, tables, fields, gates } = options;
    let batch_len = input.batch_len.max(1);
    let waiting = Waiting::new(&input);
    let mut first = FirstLines::new(tables.as_deref(), gates, &waiting);
    let input = Input::open(input)?;
    let refusals = input.refusals();
    let name = Arc::clone(&input.name);
    let opened = input.into_text().and_then(|text| {
        let mut lines = Chunks::new(text, Format::JsonLines);
        first.read(&mut lines).map(|()| lines)
    });
    let lines = opened.map_err(|error| waiting.explain(error, first.gates()))?;
    let (columns, tables, gates) = first.found();
    let header = Header::new(&name, columns, TRADE_COLUMNS)?;
    let key_columns: Vec<_> = tables.iter().map(|table| table.key_column().into()).collect();
    let keys = KeyColumns::find(&name, &header, &key_columns)?;
    let lane = |&kind: &TableKind| {
        let names = kind.known_columns().iter().map(|column| column.name.to_owned()).collect();
        let header = Header::new(&name, names, kind.known_columns())?;
        let mut builder = LaneBuilder::new(&name, kind, header)?;
        builder.read_removals();
        Ok(Lane { kind, builder, rejected: 0 })
    };
    let lanes = tables.iter().map(lane).collect::<Result<_, OpenError>>()?;
    let trades = Arc::new(TradeLayout::new(header, Dialect::Json, fields, keys));
    let decoder = Arc::new(MessageDecoder { trades, lanes });
    let lines = GatedLines::new(lines, gates, waiting);
    Ok(MessageReader { refusals, lines, decoder, batch_len, left: limit.unwrap_or(u64::MAX) })
}

/// Messages of one input, in its order: a [`Source`] whose errors are
/// [`ReadError`]s.
pub struct MessageReader {
    refusals: Refusals,
    lines: GatedLines,
    decoder: Arc<MessageDecoder>,
    batch_len: usize,
    /// Messages that may still be read.
    left: u64,
}

/// What it takes to decode messages, on any thread.
#[derive(Clone)]
struct MessageDecoder {
    trades: Arc<TradeLayout>,
    /// Without a change: what those of a block begin as.
    lanes: Vec<Lane>,
}

/// A block that is being decoded.
struct MessageBlock<'d> {
    trades: TradeBuilder<'d>,
    columns: &'d [String],
    lanes: Vec<Lane>,
    turns: Turns,
    members: Members,
}

#[derive(Clone)]
struct Lane {
    kind: TableKind,
    builder: LaneBuilder,
    /// Rows refused in this block.
    rejected: u64,
}

impl MessageReader {
    /// The trades' own columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.decoder.trades.schema)
    }

    /// The tables of the run, in order.
    pub fn tables(&self) -> impl Iterator<Item = TableKind> {
        self.decoder.lanes.iter().map(|lane| lane.kind)
    }

    /// Adds fields 1, 2, … to the changes of a table, by its place among the
    /// tables; to be called before the first block is read.
    ///
    /// # Panics
    /// If there are not so many tables.
    pub fn load(&mut self, table: usize, fields: &[TableColumn]) {
        Arc::make_mut(&mut self.decoder).lanes[table].builder.set_extra(fields);
    }

    /// Reads what `mode` needs of a table's rows, by its place among the tables, and of
    /// trades; to be called before the first block is read. Rows may lack `valid_from`:
    /// they are valid since ever.
    ///
    /// # Errors
    /// If the mode needs the time of a trade, and trades have none.
    ///
    /// # Panics
    /// If there are not so many tables.
    pub fn set_mode(&mut self, table: usize, mode: &TableMode) -> Result<(), OpenError> {
        let source_name = &self.refusals.source_name;
        let MessageDecoder { trades, lanes } = Arc::make_mut(&mut self.decoder);
        let builder = &mut lanes[table].builder;
        mode.columns().into_iter().for_each(|column| builder.add_column(column));
        builder.set_mode(source_name, mode)?;
        if mode.needs_times() { Arc::make_mut(trades).require_times(source_name) } else { Ok(()) }
    }

    /// Reads the time of each trade; to be called before the first message is read.
    ///
    /// # Errors
    /// If trades have no `timestamp`.
    pub fn require_times(&mut self) -> Result<(), OpenError> {
        let MessageDecoder { trades, .. } = Arc::make_mut(&mut self.decoder);
        Arc::make_mut(trades).require_times(&self.refusals.source_name)
    }

    /// The next messages, as [`Source::next`] gives them.
    ///
    /// # Errors
    /// If reading fails, or a record is bad and such are not skipped.
    pub fn read(&mut self) -> Result<Option<Messages>, ReadError> {
        let Some(lines) = self.next_lines()? else { return Ok(None) };
        self.decoder.decode(lines, self.refusals.of_next_block()).map(Some)
    }

    /// How far its input has been read; `None` while a table is not ready, or if that cannot
    /// be told.
    #[must_use]
    pub fn position(&self) -> Option<SourcePosition> {
        self.lines.position()
    }

    /// Goes to where another reader of the same input has been, with its tables ready; before
    /// the first message is read. Places, and the limit, count from the beginning of the input.
    ///
    /// # Errors
    /// If reading fails, or the input is another one.
    pub fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), ReadError> {
        self.lines.go_on_from(position)?;
        let read: u64 = position.inputs.iter().map(|input| input.records).sum();
        self.left = self.left.saturating_sub(read);
        Ok(())
    }

    fn next_lines(&mut self) -> Result<Option<Lines>, ReadError> {
        let lines_max = usize::try_from(self.left).map_or(self.batch_len, |left| left.min(self.batch_len));
        let lines = self.lines.next(lines_max)?;
        self.left -= lines.as_ref().map_or(0, |lines| lines.chunk.records as u64);
        Ok(lines)
    }
}

impl MessageDecoder {
    fn decode(&self, lines: Lines, mut refusals: Refusals) -> Result<Messages, ReadError> {
        let Lines { chunk, verdicts, loading } = lines;
        let mut verdicts = verdicts.into_iter().peekable();
        let mut block = MessageBlock {
            trades: TradeBuilder::new(&self.trades, chunk.records, chunk.bytes.len()),
            columns: self.trades.columns(),
            lanes: self.lanes.clone(),
            turns: Turns::default(),
            members: Members::within(chunk.limits),
        };
        let mut rejected = 0;
        let mut lines = Records::new(&chunk, Format::JsonLines);
        for number in 0.. {
            let Some(line) = lines.next() else { break };
            let taken = match verdicts.next_if(|(of_line, _)| *of_line == number) {
                Some((_, verdict)) => verdict.map_err(|flaw| (None, flaw)),
                None => block.take_line(&chunk.bytes[line.clone()]),
            };
            if let Err((lane, flaw)) = taken {
                let raw = Raw::line(&chunk.bytes[line.clone()]);
                refusals.refuse(lines.place(&line), flaw, block.trades.len(), raw)?;
                *lane.map_or(&mut rejected, |lane| &mut block.lanes[lane].rejected) += 1;
            }
        }
        let finished = block.trades.finish();
        let TradeBlock { trades, keys, times } =
            finished.map_err(|error| ReadError::corrupt(&refusals.source_name, error))?;
        let lanes = block.lanes.iter_mut().map(Lane::take).collect();
        Ok(Messages { trades, keys, lanes, times, rejected, refused: refusals.take(), loading })
    }
}

impl MessageBlock<'_> {
    /// Takes a line, or tells what is wrong with it, and in which table if it is
    /// a row of one.
    fn take_line(&mut self, line: &[u8]) -> Result<(), (Option<usize>, Flaw)> {
        let Self { members, trades, lanes, turns, columns } = self;
        let text = members.scan(line).map_err(|reason| (None, Flaw::record(reason)))?;
        let ty = members.get(text, TYPE);
        let kind = ty.and_then(json_text).unwrap_or_default();
        let sole = members.get_sole(text, TYPE);
        if kind == TRADE {
            let mut cells = Vec::with_capacity(columns.len());
            let unknown = UnknownMembers::Refuse;
            let placed = sole.and_then(|_| members.place(text, columns, Some(TYPE), unknown, &mut cells));
            return placed.and_then(|()| trades.push(|i| cells[i])).map_err(|flaw| (None, flaw));
        }
        if let Some(index) = lanes.iter().position(|lane| lane.kind.message_type() == kind) {
            // A block has no more rows than an index can count.
            let at_row = u32::try_from(trades.len()).unwrap_or(u32::MAX);
            let pushed = sole.and_then(|_| lanes[index].push(at_row, members, text));
            pushed.map_err(|flaw| (Some(index), flaw))?;
            lanes[index].builder.note_turn(turns, index);
            return Ok(());
        }
        sole.map_err(|flaw| (None, flaw))?;
        if kind == MARKER {
            let table = marked_table(members, text).map_err(|flaw| (None, flaw))?;
            let is_joined = lanes.iter().any(|lane| lane.kind == table);
            let reason = if is_joined { Reason::MarkerUnexpected } else { Reason::NoTable };
            return Err((None, Flaw::cell(TABLE, table.name(), reason)));
        }
        let types = TableKind::ALL.map(TableKind::message_type);
        let reason = if types.contains(&&*kind) {
            Reason::NoTable
        } else {
            Reason::MessageType([&[TRADE], &types[..], &[MARKER]].concat().join(", "))
        };
        Err((None, Flaw::cell(TYPE, &kind, reason)))
    }
}

impl Lane {
    fn push(&mut self, at_row: u32, members: &Members, text: &str) -> Result<(), Flaw> {
        let cells = row_cells(self.builder.header(), members, text, None)?;
        self.builder.push(at_row, &|i| json_text(cells[i]), |_, _, _| Ok(()))
    }

    /// The changes so far; begins anew.
    fn take(&mut self) -> ChangeLane {
        ChangeLane { rejected: std::mem::take(&mut self.rejected), ..self.builder.take() }
    }
}

impl Source for MessageReader {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        self.next_until(None)
    }

    fn next_until(&mut self, until: Option<Instant>) -> Result<Option<Block>, BoxError> {
        self.lines.wait_until(until);
        let Some(lines) = self.next_lines()? else { return Ok(None) };
        let (decoder, refusals) = (Arc::clone(&self.decoder), self.refusals.of_next_block());
        Ok(Some(Block::Encoded(Box::new(move || Ok(decoder.decode(lines, refusals)?)))))
    }

    fn position(&self) -> Option<SourcePosition> {
        self.position()
    }

    fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), BoxError> {
        Ok(self.go_on_from(position)?)
    }
}
