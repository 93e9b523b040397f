//! The contract, tested on whole runs.
//!
//! - `streams`: random streams for the others, and what both sides give for one
//! - `collect`: what goes to the sinks of a run, and what the oracle gives, as text
//! - `blocks`: the messages of such a stream, cut into blocks of any lengths
//! - `equals_oracle`: for every worker count, batch length, queue depth, order,
//!   distribution and policy, the engine equals the oracle
//! - `hot_keys`: the same where few keys have nearly all trades, by the trades' times
//! - `schedules`: router, workers and merger stepped in one thread in any order
//! - `in_steps`: whole runs on one thread, in any order of their tasks
//! - `updates`: changes from beside the source
//! - `kept`: runs that end at any of their cuts and go on
//! - `properties`: how often these two are tested, and what they say when they fail
//! - `faults`: a stage that fails or panics, and a run that is stopped
//! - `panics`: each stage that is made to panic is told, with the batch that it was at
//! - `pauses`: how long a run stands still to be kept
//! - `silent`: runs that are kept while their source waits

mod blocks;
mod collect;
mod equals_oracle;
mod faults;
mod hot_keys;
mod in_steps;
mod kept;
mod panics;
mod pauses;
mod properties;
mod schedules;
mod silent;
mod streams;
mod updates;
