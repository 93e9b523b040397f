//! The trades that are asked for.

use std::sync::Arc;

use tradejoin_connectors::{NamedText, Place, Readiness, trade_texts};
use tradejoin_engine::Stop;
use tradejoin_flow::Source as _;
use tradejoin_model::OwnedKey;

use crate::args::RunArgs;
use crate::destination::Destination;
use crate::failure::UsageError;
use crate::job::Job;

use super::{Stopped, Wanted};

/// A trade.
#[derive(Clone, Debug)]
pub(super) struct Trade {
    /// Its number among those that were read, from 1.
    pub(super) number: u64,
    pub(super) place: Option<(Arc<str>, Place)>,
    pub(super) fields: Vec<NamedText>,
    /// By table.
    pub(super) keys: Vec<Option<OwnedKey>>,
    pub(super) time: Option<i64>,
}

/// What was found.
pub(super) struct Found {
    pub(super) trades: Vec<Trade>,
    pub(super) trades_read: u64,
}

/// Finds the trades that are wanted.
pub(super) fn find(run: &RunArgs, wanted: &Wanted) -> anyhow::Result<Found> {
    let destination = Destination::new(run)?;
    let mut job = Job::open(run, &destination, &Readiness::default(), &Stop::default(), None)?;
    if matches!(wanted, Wanted::TradeId(_)) && job.schema.field_with_name("trade_id").is_err() {
        let text = "these trades have no trade_id: give --row N, the number of the trade among those read";
        return Err(UsageError(text.to_owned()).into());
    }

    let (mut trades, mut trades_read) = (Vec::new(), 0);
    while let Some(block) = job.source.next().map_err(Stopped)? {
        let place = run.last_read.as_ref().and_then(|last| last.get());
        let messages = block.decode().map_err(Stopped)?;
        for row in 0..messages.trades.num_rows() {
            trades_read += 1;
            let is_wanted = match wanted {
                Wanted::Number(number) => *number == trades_read,
                Wanted::TradeId(id) => {
                    let at = messages.trades.schema_ref().index_of("trade_id")?;
                    let column = messages.trades.project(&[at])?;
                    trade_texts(&column, row)?.iter().any(|(_, text)| text.as_ref() == Some(id))
                }
            };
            if is_wanted {
                trades.push(Trade {
                    number: trades_read,
                    place: place.clone(),
                    fields: trade_texts(&messages.trades, row)?,
                    keys: messages.keys.iter().map(|keys| keys.get(row)).collect(),
                    time: messages.time(row),
                });
            }
        }
    }
    Ok(Found { trades, trades_read })
}
