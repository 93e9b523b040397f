//! Renoir: one source, grouped by instrument, and a map with state.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use renoir::prelude::*;
use tradejoin_model::{Message, TextView};

use crate::event::{Event, key};
use crate::sum::{Row, Sum};

/// Messages of a batch. Of its own 1,024, two replicas take up to 1.2 times as long.
const BATCH_LEN: usize = 8_192;

/// Joins on so many replicas, beside the thread of the source.
///
/// # Errors
/// If there is no result.
pub(crate) fn run(events: &Arc<[Event]>, workers: u64) -> anyhow::Result<Sum> {
    let config = RuntimeConfig::local(workers).map_err(|error| anyhow!("{error}"))?;
    let context = StreamContext::new(config);
    let events = Arc::clone(events);
    let source = (0..events.len()).map(move |index| events[index]);
    let sums = context
        .stream_iter(source)
        .batch_mode(BatchMode::fixed(BATCH_LEN))
        .group_by(key)
        .rich_filter_map({
            // Each instrument has a copy of this closure, and in it its symbol.
            let mut symbol = None;
            move |(_, event)| enrich(&mut symbol, event)
        })
        .drop_key()
        .fold_assoc(
            Sum::default(),
            |sum, (trade, symbol): Row| sum.add(&trade, symbol.as_bytes()),
            |sum, part| {
                sum.merge(part);
            },
        )
        .collect_vec();
    context.execute_blocking();
    let sums = sums.get().context("renoir gives no result")?;
    sums.first().copied().context("renoir gives no sum")
}

/// The trade with the symbol that its instrument has by now.
fn enrich(symbol: &mut Option<TextView>, event: Event) -> Option<Row> {
    match event.0 {
        Message::Trade(trade) => symbol.map(|symbol| (trade, symbol)),
        Message::Instrument(instrument) => {
            *symbol = Some(instrument.terms.compact());
            None
        }
        Message::User(_) => None,
    }
}
