//! The messages of a case, in blocks of any length, from any of them on.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tradejoin_flow::{Block, BoxError, InputPosition, Source, SourcePosition, TableSource};
use tradejoin_model::{
    ChangeKeys, ChangeKind, ChangeLane, Column, Expiry, INTEGER_NULL, Key, Keys, Messages, OccSymbol,
    OptionType, Refused, Strike, TextColumn, Turns,
};

use crate::case::{Case, Kind, Step};
use crate::hooks::Hooks;

/// The trades' own columns.
pub(crate) fn schema() -> SchemaRef {
    let fields = [Field::new("trade_id", DataType::UInt64, false), Field::new("note", DataType::Utf8, true)];
    Arc::new(Schema::new(fields.to_vec()))
}

/// The messages of steps; `trades` counts on over all blocks.
pub(crate) fn block(kinds: &[Kind], steps: &[Step], schema: &SchemaRef, trades: &mut u64) -> Messages {
    let (mut ids, mut notes, mut times) = (Vec::new(), Vec::new(), Vec::new());
    let (mut rejected, mut refused) = (0, Vec::new());
    let mut keys: Vec<Vec<Option<u32>>> = vec![Vec::new(); kinds.len()];
    let (mut lanes, mut turns) = (empty_lanes(kinds), Turns::default());
    for step in steps {
        match step {
            Step::Trade { keys: of_tables, time, note } => {
                ids.push(*trades);
                times.push(*time);
                notes.push(note.map(note_text));
                *trades += 1;
                keys.iter_mut().zip(of_tables).for_each(|(keys, key)| keys.push(*key));
            }
            Step::Bad(table, place) => {
                match table {
                    Some(table) => lanes[*table].rejected += 1,
                    None => rejected += 1,
                }
                refused.push(Refused {
                    at_row: ids.len() as u32,
                    source: "stream".into(),
                    place: *place,
                    letter: bad_letter(*place).into_bytes().into(),
                });
            }
            Step::Change { table, key, delete, value, from, lasts, version } => {
                let (lane, row) = (&mut lanes[*table], ids.len() as u32);
                turns.note(row, *table, lane.len(), &mut lane.turns);
                lane.at_rows.push(row);
                match &mut lane.keys {
                    ChangeKeys::Ids(ids) => ids.push(Key(*key)),
                    ChangeKeys::Texts(texts) => texts.push(Some(&key_text(*key))),
                }
                lane.kinds.push(if *delete { ChangeKind::Delete } else { ChangeKind::Upsert });
                push_value(&mut lane.fields[0], *value);
                lane.valid_from.push(from.unwrap_or(INTEGER_NULL));
                lane.valid_to.push(lasts.map_or(INTEGER_NULL, |lasts| from.unwrap_or(0) + lasts));
                lane.versions.push(*version);
            }
        }
    }
    let columns: Vec<arrow_array::ArrayRef> =
        vec![Arc::new(UInt64Array::from(ids)), Arc::new(StringArray::from(notes))];
    let trades = RecordBatch::try_new(Arc::clone(schema), columns).expect("two columns");
    let of_table = |(kind, keys): (&Kind, Vec<Option<u32>>)| {
        if *kind != Kind::ByText {
            return Keys::from(UInt32Array::from(keys));
        }
        let mut texts = TextColumn::default();
        keys.into_iter().for_each(|key| texts.push(key.map(key_text).as_deref()));
        texts.into()
    };
    let keys = kinds.iter().zip(keys).map(of_table).collect();
    let messages = Messages::new(trades, keys, lanes).expect("a valid block");
    Messages { rejected, refused, ..messages.with_times(Int64Array::from(times)).expect("a time for each") }
}

fn empty_lanes(kinds: &[Kind]) -> Vec<ChangeLane> {
    let lane = |kind: &Kind| {
        let field = match kind {
            Kind::Options => Column::Options(vec![]),
            Kind::Names | Kind::ByText => Column::Text(TextColumn::default()),
            Kind::Numbers => Column::Integers(vec![]),
        };
        let mut lane = ChangeLane { fields: vec![field], ..ChangeLane::default() };
        if *kind == Kind::ByText {
            lane.keys = TextColumn::default().into();
        }
        lane
    };
    kinds.iter().map(lane).collect()
}

/// What the dead letters say of a refused record; nothing of some.
pub(crate) fn bad_letter(place: u64) -> String {
    if place.is_multiple_of(5) { String::new() } else { format!("{{\"reason\":\"bad\",\"line\":{place}}}") }
}

pub(crate) fn note_text(note: u32) -> String {
    if note.is_multiple_of(7) { format!("a note that takes the heap: {note}") } else { format!("n{note}") }
}

/// A key as a text: inline, or too long to be inline.
pub(crate) fn key_text(key: u32) -> String {
    if key.is_multiple_of(3) {
        format!("a key that takes the heap of its column: {key}")
    } else {
        format!("X{key}")
    }
}

fn push_value(field: &mut Column, value: u8) {
    match field {
        Column::Options(options) => options.push(OccSymbol {
            ticker: format!("T{value}").parse().expect("a ticker"),
            expiry: Expiry::from_epoch_days(15_000 + i32::from(value)).expect("in range"),
            option_type: if value.is_multiple_of(2) { OptionType::Call } else { OptionType::Put },
            strike: Strike::from_thousandths(u32::from(value) * 500).expect("in range"),
        }),
        // Null, inline, and too long to be inline.
        Column::Text(texts) => match value % 3 {
            0 => texts.push(None),
            1 => texts.push(Some(&format!("user {value}"))),
            _ => texts.push(Some(&format!("a user with a name that takes the heap: {value}"))),
        },
        Column::Integers(numbers) => numbers.push(if value == 0 { INTEGER_NULL } else { i64::from(value) }),
    }
}

/// The rows that a table has before the first trade, of a case that is not gated.
pub(crate) struct Loaded(std::vec::IntoIter<ChangeLane>);

impl Loaded {
    pub(crate) fn new(case: &Case, table: usize, schema: &SchemaRef) -> Self {
        let of_table = |step: &&Step| matches!(step, Step::Change { table: of, .. } if *of == table);
        let steps: Vec<Step> = case.loaded.iter().filter(of_table).cloned().collect();
        let lane = |steps| block(&case.kinds, steps, schema, &mut 0).lanes[table].clone();
        Self(steps.chunks(7).map(lane).collect::<Vec<_>>().into_iter())
    }
}

impl TableSource for Loaded {
    fn next(&mut self) -> Result<Option<ChangeLane>, BoxError> {
        Ok(self.0.next())
    }
}

/// The stream of a case, which can be begun anywhere.
pub(crate) struct Steps {
    kinds: Vec<Kind>,
    steps: Vec<Step>,
    /// How many of them stand before the gate.
    loaded: usize,
    at: usize,
    trades: u64,
    /// The lengths of blocks, again and again.
    lengths: Vec<usize>,
    blocks: usize,
    schema: SchemaRef,
    hooks: Hooks,
    /// How far behind the position is that it tells.
    behind: u64,
}

impl Steps {
    pub(crate) fn new(case: &Case, at: u64, lengths: Vec<usize>, hooks: Hooks, behind: u64) -> Self {
        let loaded = if case.gated { case.loaded.as_slice() } else { &[] };
        let steps = [loaded, &case.steps].concat();
        let at = (at as usize).min(steps.len());
        let is_trade = |step: &&Step| matches!(step, Step::Trade { .. });
        let trades = steps[..at].iter().filter(is_trade).count() as u64;
        let kinds = case.kinds.clone();
        Self {
            kinds,
            steps,
            loaded: loaded.len(),
            at,
            trades,
            lengths,
            blocks: 0,
            schema: schema(),
            hooks,
            behind,
        }
    }
}

impl Source for Steps {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        self.hooks.pass("read")?;
        let is_loading = self.at < self.loaded;
        let end = if is_loading { self.loaded } else { self.steps.len() };
        let len = self.lengths[self.blocks % self.lengths.len()].min(end - self.at);
        self.blocks += 1;
        if len == 0 {
            return Ok(None);
        }
        let steps = &self.steps[self.at..self.at + len];
        self.at += len;
        let messages = block(&self.kinds, steps, &self.schema, &mut self.trades);
        let messages = Messages { loading: is_loading, ..messages };
        let hooks = self.hooks.clone();
        Ok(Some(Block::Encoded(Box::new(move || hooks.pass("decode").map(|()| messages)))))
    }

    fn position(&self) -> Option<SourcePosition> {
        let records = (self.at as u64).saturating_sub(self.behind);
        Some(InputPosition { records, ..InputPosition::default() }.into())
    }
}
