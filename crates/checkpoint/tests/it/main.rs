//! Checkpoints as a run sees them.
//!
//! - `beside`: what is there in the place of its files, and what goes while it is looked at.
//! - `damage`: files with other bytes than those that were written.
//! - `folder`: what is refused, what stays and what goes; and what a run gets back.
//! - `lost`: folders without a manifest.
//! - `golden`: checkpoints that earlier versions wrote.
//! - `tables`: a table made of what was kept is the table.
//! - `crashes`: what stands after a crash at any place, and that the tests would notice.

mod beside;
mod crashes;
mod damage;
mod folder;
mod golden;
mod lost;
mod support;
mod tables;
