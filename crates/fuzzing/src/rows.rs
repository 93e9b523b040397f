//! What readers give, as text that can be compared.

use std::sync::Arc;

use arrow_array::Array as _;
use tradejoin_connectors::{FieldText, RowTexts};
use tradejoin_flow::{Block, Source};
use tradejoin_model::{ChangeLane, Column, Enriched, Messages};

/// What one input came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    /// Trades and changes in the order of the sequence.
    pub(crate) events: Vec<Event>,
    /// Records that were refused.
    pub(crate) rejected: u64,
    /// What reading has failed with, if it has.
    pub(crate) failure: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A trade: its fields, and what it is looked up by.
    Trade { fields: Vec<Field>, keys: Vec<Option<String>>, time: Option<i64> },
    /// A change: its table, and all that it says.
    Change(usize, String),
}

/// The text of a field; without one there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    None,
    Text(String),
    Json(String),
}

impl Field {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::None => "",
            Self::Text(text) | Self::Json(text) => text,
        }
    }
}

impl Read {
    pub(crate) fn trades(&self) -> impl Iterator<Item = (&[Field], &[Option<String>])> {
        self.events.iter().filter_map(|event| match event {
            Event::Trade { fields, keys, .. } => Some((&fields[..], &keys[..])),
            Event::Change(..) => None,
        })
    }

    /// Reads a source to its end, whose trades have this schema.
    pub(crate) fn all(source: &mut impl Source, schema: &arrow_schema::Schema) -> Self {
        let mut read = Self::default();
        loop {
            match source.next().and_then(|block| block.map(Block::decode).transpose()) {
                Ok(Some(messages)) => read.add(messages, schema),
                Ok(None) => return read,
                Err(error) => return Self { failure: Some(chain(&*error)), ..read },
            }
        }
    }

    fn add(&mut self, messages: Messages, schema: &arrow_schema::Schema) {
        // What a reader gives must be what the engine is promised.
        Messages::new(messages.trades.clone(), messages.keys.clone(), messages.lanes.to_vec())
            .expect("a block that holds together");
        self.rejected += messages.rejected + messages.lanes.iter().map(|lane| lane.rejected).sum::<u64>();
        let rows = messages.trades.num_rows();
        let mut changes: Vec<_> = (0..messages.lanes.len())
            .flat_map(|table| (0..messages.lanes[table].len()).map(move |change| (table, change)))
            .map(|(table, change)| {
                let lane = &messages.lanes[table];
                (lane.at_rows[change] as usize, lane.turn(change), table, change)
            })
            .collect();
        changes.sort_unstable();
        let mut changes = changes.into_iter().peekable();
        let messages = Arc::new(messages);
        let enriched = enriched(&messages);
        let mut texts = RowTexts::new(&enriched, schema, &[]).expect("columns that can be shown");
        for row in 0..=rows {
            while let Some((_, _, table, change)) = changes.next_if(|(at, ..)| *at == row) {
                self.events.push(Event::Change(table, change_text(&messages.lanes[table], change)));
            }
            if row == rows {
                break;
            }
            texts.go_to(row);
            let fields = (0..schema.fields().len()).map(|column| match texts.field(column) {
                FieldText::None => Field::None,
                FieldText::Text(text) => Field::Text(text.into_owned()),
                FieldText::Json(text) => Field::Json(text.into_owned()),
            });
            let fields = fields.collect();
            let keys = messages.keys.iter().map(|keys| keys.get(row).map(|key| key.to_string())).collect();
            let time =
                messages.times.as_ref().and_then(|times| times.is_valid(row).then(|| times.value(row)));
            self.events.push(Event::Trade { fields, keys, time });
        }
    }
}

/// A block as it would go on, without anything added.
pub(crate) fn enriched(messages: &Arc<Messages>) -> Enriched {
    Enriched {
        index: Default::default(),
        first_position: Default::default(),
        trades_before: 0,
        numbers: None,
        rows_kept: messages.trades.num_rows(),
        messages: Arc::clone(messages),
        columns: Vec::new(),
        kept: None,
        dead_letters: Vec::new(),
    }
}

/// All that a change says.
pub(crate) fn change_text(lane: &ChangeLane, change: usize) -> String {
    let field = |column: &Column| match column {
        Column::Text(texts) => format!("{:?}", texts.get(change).map(String::from_utf8_lossy)),
        Column::Integers(values) => values[change].to_string(),
        Column::Options(symbols) => symbols[change].to_string(),
    };
    let fields: Vec<_> = lane.fields.iter().map(field).collect();
    let (validity, version) = (lane.validity(change), lane.version(change));
    format!("{} {:?} {fields:?} {validity:?} {version}", lane.keys.get(change), lane.kinds[change])
}

/// The records of a CSV text by the `csv` crate; `None` is one that this crate takes and is bad:
/// one within whose quotes the text ends, which takes in a line that is put behind it; and one
/// that is not UTF-8, though its cells may be where a quote is left out.
pub(crate) fn csv_records(bytes: &[u8]) -> Vec<Option<csv::ByteRecord>> {
    let records = |bytes: &[u8]| -> Vec<_> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        reader.byte_records().map(|record| Some(record.expect("bytes in memory"))).collect()
    };
    // A mark in front is skipped, once; the crate would skip one, too, but for the line.
    let text = [b"\n", bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)].concat();
    let mut found = records(&text);
    let begin = |record: &csv::ByteRecord| record.position().map_or(0, |at| at.byte() as usize);
    let mut end = text.len();
    for slot in found.iter_mut().rev() {
        let from = slot.as_ref().map_or(end, begin);
        slot.take_if(|_| std::str::from_utf8(&text[from..end]).is_err());
        end = from;
    }
    if records(&[&text, &b"\nx"[..]].concat()).len() == found.len() {
        found.last_mut().map(Option::take);
    }
    found
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
