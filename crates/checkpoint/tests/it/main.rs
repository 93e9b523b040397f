//! Checkpoints as a run sees them.
//!
//! - `tables`: a table made of what was kept is the table.

mod support;
mod tables;
