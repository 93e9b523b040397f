//! What tables wait for before the first trade, out of what was typed.

use tradejoin_connectors::{GateOptions, ReadyAfter, TableKind};

use crate::args::InputArgs;
use crate::failure::UsageError;
use crate::modes::check_names;

/// What is said of the gates of a stream of messages.
pub(crate) fn of_stream(input: &InputArgs) -> Result<GateOptions, UsageError> {
    let of_all: Vec<ReadyAfter> =
        input.table_ready_after.iter().filter(|(name, _)| name.is_none()).map(|(_, after)| *after).collect();
    if of_all.len() > 1 {
        let text = "--table-ready-after says twice what all tables wait for: name them, TABLE=marker";
        return Err(UsageError(text.to_owned()));
    }
    let named = input.table_ready_after.iter();
    let named: Vec<_> = named.filter_map(|(name, after)| Some((name.clone()?, *after))).collect();
    let asked = input.table_kinds().unwrap_or(TableKind::ALL.to_vec());
    let names: Vec<_> = asked.iter().map(|kind| kind.name()).collect();
    check_names("--table-ready-after", &named, &names)?;
    let of_table = |kind: &TableKind| Some((*kind, named.iter().find(|(name, _)| name == kind.name())?.1));
    Ok(GateOptions { by_table: asked.iter().filter_map(of_table).collect(), others: of_all.first().copied() })
}

/// Refuses what is said of gates where there are none.
pub(crate) fn check(input: &InputArgs) -> Result<(), UsageError> {
    let text = if !input.table_ready_after.is_empty() && input.messages.is_none() {
        "--table-ready-after is for tables in a stream of --messages: one with a file is ready at its end"
    } else if input.gate_timeout.is_none() || input.trades.is_some() {
        return Ok(());
    } else if input.messages.is_none() {
        "--gate-timeout is for tables that are read, and this stream is generated"
    } else if input.table_ready_after.is_empty() {
        "--gate-timeout is for tables that wait for something: add --table-ready-after marker"
    } else {
        return Ok(());
    };
    Err(UsageError(text.to_owned()))
}
