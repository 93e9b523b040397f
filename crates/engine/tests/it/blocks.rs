//! The messages of steps, in blocks of any lengths.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use tradejoin_engine::Update;
use tradejoin_model::{
    ChangeKeys, ChangeKind, ChangeLane, Column, Expiry, INTEGER_NULL, Key, Keys, Messages, OccSymbol,
    OptionType, Strike, TextColumn, Turns,
};

use crate::streams::{Stamp, Step, TABLES};

/// The table whose keys are texts.
const BY_TEXT: usize = 3;

/// The messages of `steps`; `trades` counts on over all blocks.
pub(crate) fn block(steps: &[Step], trades: &mut u64) -> Messages {
    let mut ids = Vec::new();
    let mut times = Vec::new();
    let mut keys: [Vec<Option<u32>>; TABLES] = Default::default();
    let (mut lanes, mut turns) = (empty_lanes(), Turns::default());
    for step in steps {
        match step {
            Step::Trade(of_tables, time) => {
                ids.push(*trades);
                times.push(*time);
                *trades += 1;
                keys.iter_mut().zip(of_tables).for_each(|(keys, key)| keys.push(*key));
            }
            Step::Change { table, key, delete, value, stamp } => {
                let (lane, row) = (&mut lanes[*table], ids.len() as u32);
                turns.note(row, *table, lane.len(), &mut lane.turns);
                lane.at_rows.push(row);
                match &mut lane.keys {
                    ChangeKeys::Ids(ids) => ids.push(Key(*key)),
                    ChangeKeys::Texts(texts) => texts.push(Some(&text_key(*key))),
                }
                lane.kinds.push(if *delete { ChangeKind::Delete } else { ChangeKind::Upsert });
                push_value(&mut lane.fields[0], *value);
                let Stamp { from, lasts, version } = *stamp;
                lane.valid_from.push(from.unwrap_or(INTEGER_NULL));
                lane.valid_to.push(lasts.map_or(INTEGER_NULL, |lasts| from.unwrap_or(0) + lasts));
                lane.versions.push(version);
            }
        }
    }
    let schema = Schema::new(vec![Field::new("trade_id", DataType::UInt64, false)]);
    let trades = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(UInt64Array::from(ids))]);
    let by_table = |(table, keys): (usize, Vec<Option<u32>>)| {
        if table != BY_TEXT {
            return Keys::from(UInt32Array::from(keys));
        }
        let mut texts = TextColumn::default();
        keys.into_iter().for_each(|key| texts.push(key.map(text_key).as_deref()));
        texts.into()
    };
    let keys = keys.into_iter().enumerate().map(by_table).collect();
    let messages = Messages::new(trades.expect("one column"), keys, lanes).expect("a valid block");
    messages.with_times(Int64Array::from(times)).expect("a time for each")
}

/// Blocks of the lengths that `cuts` repeats.
pub(crate) fn cut(mut rest: &[Step], cuts: &[usize]) -> Vec<Messages> {
    let mut trades = 0;
    let mut blocks = Vec::new();
    for cut in cuts.iter().cycle() {
        let (steps, after) = rest.split_at(rest.len().min(*cut));
        blocks.push(block(steps, &mut trades));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    blocks
}

/// Changes in their order as updates, each of as many as follow each other without a table
/// that comes again.
pub(crate) fn updates(changes: &[Step]) -> Vec<Update> {
    let table = |step: &Step| match step {
        Step::Change { table, .. } => *table,
        Step::Trade(..) => unreachable!("a trade is no change"),
    };
    let mut updates = vec![Update::new()];
    for of_table in changes.chunk_by(|a, b| table(a) == table(b)) {
        let table = table(&of_table[0]);
        if updates.last().is_some_and(|update| update.iter().any(|&(other, _)| other == table)) {
            updates.push(Update::new());
        }
        let lane = block(of_table, &mut 0).lanes[table].clone();
        updates.last_mut().expect("there is one").push((table, lane));
    }
    updates
}

fn empty_lanes() -> Vec<ChangeLane> {
    let texts = || Column::Text(TextColumn::default());
    let fields = [Column::Options(vec![]), texts(), Column::Integers(vec![]), texts()];
    let lane = |field| ChangeLane { fields: vec![field], ..ChangeLane::default() };
    let mut lanes: Vec<_> = fields.into_iter().map(lane).collect();
    lanes[BY_TEXT].keys = TextColumn::default().into();
    lanes
}

/// A key as a text: empty, inline, or too long to be inline.
pub(crate) fn text_key(key: u32) -> String {
    match key % 3 {
        _ if key == 0 => String::new(),
        0 => format!("a key that takes the heap of its column: {key}"),
        _ => format!("X{key}"),
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
