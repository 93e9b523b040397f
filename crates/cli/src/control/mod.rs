//! A run that is spoken to while it goes on, over a socket of its machine: one line asks,
//! lines of JSON answer.
//!
//! - `wire`: what is asked and answered
//! - `socket`: the socket's file
//! - `server`: who answers
//! - `client`: who asks

use std::path::PathBuf;

use clap::{Args, ValueHint};

mod client;
mod server;
mod socket;
mod wire;

pub(crate) use client::{Client, Heard};
pub(crate) use server::{Call, Server, Services};
pub(crate) use socket::{Socket, SocketError};
pub(crate) use wire::{Done, Outcome, Reply, Request};

use crate::args::RunArgs;
use crate::failure::UsageError;
use crate::same_file;

#[derive(Debug, Args)]
#[command(next_help_heading = "Control")]
pub(crate) struct ControlArgs {
    /// A socket by which `tradejoin reload` and `tradejoin tap` speak to this run: made at its start, for
    /// nobody but its user, and removed at its end
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) control: Option<PathBuf>,
}

/// The socket of a run, if it is to have one.
///
/// # Errors
/// If it cannot be made, or would be in the way of another file.
pub(crate) fn socket(args: &RunArgs) -> anyhow::Result<Option<Socket>> {
    let Some(path) = &args.control.control else { return Ok(None) };
    let others = [
        ("the output", &args.output),
        ("--dead-letters", &args.letters.dead_letters),
        ("--journal", &args.reload.journal),
    ];
    let is_there = |(_, other): &(&str, &Option<PathBuf>)| {
        other.as_ref().is_some_and(|other| same_file::is_same_file(other, path))
    };
    if let Some((what, _)) = others.into_iter().find(is_there) {
        return Err(UsageError(format!("--control would take the place of {what}")).into());
    }
    Ok(Some(Socket::open(path)?))
}
