//! `tradejoin checkpoint`: what is in a folder of checkpoints.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueHint};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use tradejoin_checkpoint::{CheckpointError, CheckpointErrorKind, EndState, Listed, Manifest, Store};
use tradejoin_connectors::OpenError;
use tradejoin_disk::RealDisk;

use crate::failure::{self, UsageError};
use crate::print::{json_lines, print};
use crate::style::{ERROR, plain};
use crate::summary::plain_table;
use crate::tell::tell;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  tradejoin checkpoint list state/
      the checkpoints in a folder, the newest first, and which a run would go on from
  tradejoin checkpoint show state/ --epoch 12
      everything that one of them tells: inputs, outputs, tables, the ledger
  tradejoin checkpoint verify state/
      read all of it as a run would; exit 1 if anything is damaged, or there is none")]
pub(crate) enum CheckpointCommand {
    /// List the checkpoints in a folder
    List(FolderArgs),
    /// Show what a checkpoint tells
    Show(ShowArgs),
    /// Read all checkpoints as a run would, and say what is damaged
    Verify(FolderArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FolderArgs {
    /// The folder
    #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    folder: PathBuf,

    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// Which checkpoint, by its number [default: the one that a run would go on from]
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
}

/// Carries out the command, and gives its exit code.
pub(crate) fn checkpoint(command: &CheckpointCommand) -> anyhow::Result<u8> {
    match command {
        CheckpointCommand::List(args) => {
            print_all(&all(args)?, args.json)?;
            Ok(failure::OK)
        }
        CheckpointCommand::Verify(args) => {
            let store = open(args)?;
            let listed = store.verify()?;
            print_all(&listed, args.json)?;
            if listed.is_empty() {
                tell!("{ERROR}error{ERROR:#}: {}", plain(&why_none(&store)?));
                return Ok(failure::NO);
            }
            let is_whole = listed.iter().all(|listed| listed.state.is_ok());
            Ok(if is_whole { failure::OK } else { failure::NO })
        }
        CheckpointCommand::Show(args) => show(args),
    }
}

fn open(args: &FolderArgs) -> anyhow::Result<Store> {
    let name = || args.folder.display().to_string().into();
    match args.folder.metadata() {
        Err(source) => Err(OpenError::Missing { source_name: name(), source }.into()),
        Ok(metadata) if !metadata.is_dir() => {
            Err(UsageError(format!("{}: this is no folder of checkpoints", name())).into())
        }
        Ok(_) => Ok(Store::inspect(Arc::new(RealDisk), &args.folder)?),
    }
}

/// All checkpoints, the newest first. Where there is none, a folder that has lost them is told.
fn all(args: &FolderArgs) -> anyhow::Result<Vec<Listed>> {
    let store = open(args)?;
    let listed = store.all()?;
    if listed.is_empty() {
        store.latest()?;
    }
    Ok(listed)
}

/// Why there is nothing to verify: what a run would be refused for, or that none has come so far.
fn why_none(store: &Store) -> Result<String, CheckpointError> {
    match store.latest() {
        Err(error @ CheckpointError::ManifestsLost { .. }) => Ok(error.to_string()),
        Err(error) => Err(error),
        Ok(_) => Ok(format!(
            "{}: there is nothing to verify: no run has got to its first checkpoint here, or it is another \
             folder",
            store.folder().display()
        )),
    }
}

fn show(args: &ShowArgs) -> anyhow::Result<u8> {
    let mut listed = all(&args.folder)?;
    let wanted = |listed: &Listed| match args.epoch {
        Some(epoch) => listed.epoch == epoch,
        None => listed.is_latest,
    };
    let folder = &args.folder.folder;
    let Some(at) = listed.iter().position(wanted) else {
        let name = folder.display();
        let text = match (args.epoch, listed.len()) {
            (_, 0) => format!("{name}: there are no checkpoints"),
            (Some(epoch), _) => {
                format!("{name}: there is no checkpoint {epoch}: see `tradejoin checkpoint list`")
            }
            (None, count) => {
                let kind = |listed: &Listed| listed.state.as_ref().err().map(CheckpointError::kind);
                let is_damaged = |kind| kind == CheckpointErrorKind::Damaged;
                let other =
                    listed.iter().position(|listed| kind(listed).is_some_and(|kind| !is_damaged(kind)));
                // A run is refused for that one, or since all are damaged.
                let error = listed.swap_remove(other.unwrap_or(0)).state.expect_err("none is gone on from");
                if other.is_some() {
                    return Err(error.into());
                }
                let newest = Box::new(error);
                return Err(CheckpointError::NoneIsWhole { folder: folder.clone(), count, newest }.into());
            }
        };
        return Err(UsageError(text).into());
    };
    let Listed { state, .. } = listed.swap_remove(at);
    let checkpoint = state?;
    let manifest = checkpoint.manifest();
    let text = if args.folder.json { json_lines(manifest)? } else { text_of(manifest) + "\n" };
    print(&text)?;
    Ok(failure::OK)
}

/// A checkpoint as people read it.
fn text_of(manifest: &Manifest) -> String {
    let mut lines = vec![format!("checkpoint {} of {}", manifest.epoch, manifest.created)];
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<10} {text}"));
    line("trades", format!("{} read", HumanCount(manifest.trades)));
    for input in &manifest.source.inputs {
        let bytes =
            if input.bytes > 0 { format!(", {} bytes", HumanCount(input.bytes)) } else { String::new() };
        line("input", format!("{}: {} records{bytes}", input.name, HumanCount(input.records)));
    }
    for output in &manifest.outputs {
        let parts = match output.parts + output.staged.len() as u64 {
            0 => String::new(),
            parts => format!(", {parts} parts"),
        };
        line("output", format!("{}: {} bytes{parts}", output.name, HumanCount(output.bytes)));
    }
    for table in &manifest.tables {
        let rows = table.segments.iter().map(|segment| segment.rows).sum();
        let bytes = table.segments.iter().map(|segment| segment.bytes).sum();
        let files = table.segments.len();
        let text =
            format!("{}: {} changes, {}, files: {files}", table.name, HumanCount(rows), HumanBytes(bytes));
        line("table", text);
    }
    if let Some(held) = &manifest.held {
        let recent = match held.recent {
            0 => String::new(),
            recent => format!(", and {} that may be written again", HumanCount(recent)),
        };
        line("waiting", format!("{} trades{recent}, {}", HumanCount(held.trades), HumanBytes(held.bytes)));
    }
    line("end", end_of(manifest).to_owned());
    for (name, value) in &manifest.job {
        line("job", format!("{name} = {value}"));
    }
    lines.join("\n")
}

fn end_of(manifest: &Manifest) -> &'static str {
    match manifest.end {
        Some(EndState::Complete) => "the run is complete",
        Some(EndState::Interrupted) => "interrupted: the same command goes on",
        None => "under way, or killed: the same command goes on",
    }
}

/// Bytes of the files that a checkpoint needs, those of others among them.
fn bytes_of(manifest: &Manifest) -> u64 {
    let segments = manifest.tables.iter().flat_map(|table| &table.segments);
    segments.map(|segment| segment.bytes).sum::<u64>() + manifest.held.as_ref().map_or(0, |held| held.bytes)
}

fn print_all(listed: &[Listed], json: bool) -> anyhow::Result<()> {
    if json {
        let all: Vec<_> = listed.iter().map(as_json).collect();
        return print(&json_lines(&all)?);
    }
    if listed.is_empty() {
        return print("there are no checkpoints\n");
    }
    let header = ["checkpoint", "trades", "tables", "written", "state"];
    let mut table = plain_table(&header, header.len());
    for listed in listed {
        let epoch = listed.epoch.to_string();
        match &listed.state {
            Ok(checkpoint) => {
                let manifest = checkpoint.manifest();
                let trades = HumanCount(manifest.trades).to_string();
                let bytes = HumanBytes(bytes_of(manifest)).to_string();
                let state = match manifest.end {
                    Some(EndState::Complete) => "complete",
                    _ if listed.is_latest => "whole; a run goes on here",
                    _ => "whole",
                };
                table.add_row([epoch, trades, bytes, manifest.created.clone(), state.to_owned()]);
            }
            Err(error) => {
                table.add_row([epoch, String::new(), String::new(), String::new(), with_causes(error)]);
            }
        }
    }
    print(&format!("{table}\n"))
}

/// An error and what it comes from.
fn with_causes(error: &CheckpointError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn as_json(listed: &Listed) -> Value {
    let Listed { epoch, path, state, is_latest } = listed;
    match state {
        Ok(checkpoint) => {
            let manifest = checkpoint.manifest();
            json!({
                "checkpoint": epoch,
                "manifest": path.display().to_string(),
                "is_whole": true,
                "created": manifest.created,
                "trades": manifest.trades,
                "bytes": bytes_of(manifest),
                "end": manifest.end,
                "goes_on_here": *is_latest && manifest.end != Some(EndState::Complete),
            })
        }
        Err(error) => json!({
            "checkpoint": epoch,
            "manifest": path.display().to_string(),
            "is_whole": false,
            "goes_on_here": false,
            "reason": with_causes(error),
        }),
    }
}
