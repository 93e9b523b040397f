//! `tradejoin generate`.

use std::path::Path;
use std::sync::Arc;

use tradejoin_connectors::{
    Encoding, Format, Location, MessageWriter, Output, OutputOptions, TableKind, TableWriter,
};
use tradejoin_flow::{Source, TableSource};
use tradejoin_generator::{GeneratedSource, Mix, ReferenceRows, Stream};
use tradejoin_model::trade_schema;

use crate::args::GenerateArgs;
use crate::failure::{self, UsageError};
use crate::plan;
use crate::watch::{Bar, Progress};

/// Messages in a block, and blocks made at once.
const BLOCK_LEN: usize = 8_192;
const BLOCKS_AHEAD: usize = 4;

/// Carries out the command, and gives its exit code.
pub(crate) fn generate(args: &GenerateArgs) -> anyhow::Result<u8> {
    match &args.output {
        Some(output) => interleaved(args, output)?,
        None => apart(args)?,
    }
    Ok(failure::OK)
}

/// One stream of trades and changes.
fn interleaved(args: &GenerateArgs, output: &Path) -> anyhow::Result<()> {
    let stream = plan::stream(&args.stream, Mix::article())?;
    let (location, encoding) = destination(output, args, Some(Format::JsonLines))?;
    if encoding.format != Format::JsonLines {
        let text = "one stream of trades and changes is JSON Lines: name it .jsonl, or write --trades, --instruments and --users apart";
        return Err(UsageError(text.to_owned()).into());
    }
    let mut kinds = vec![TableKind::Instruments];
    kinds.extend(stream.config().mix.has_users().then_some(TableKind::Users));
    let mut writer = MessageWriter::create(&location, encoding, &trade_schema(), &kinds)?;
    let (mut source, bar) = source(args, stream);
    while let Some(messages) = source.next().map_err(anyhow::Error::from_boxed)? {
        writer.write(&messages)?;
        bar.tick();
    }
    Ok(writer.finish()?)
}

/// Trades and tables in files of their own.
fn apart(args: &GenerateArgs) -> anyhow::Result<()> {
    if args.stream.mix.is_some() {
        let text =
            "--mix says how trades and changes mix, and files of their own hold no changes: use --output";
        return Err(UsageError(text.to_owned()).into());
    }
    let stream = plan::stream(&args.stream, Mix::bare(args.users.is_some()))?;
    let tables = [
        (TableKind::Instruments, &args.instruments, ReferenceRows::instruments(Arc::clone(&stream))),
        (TableKind::Users, &args.users, ReferenceRows::users(Arc::clone(&stream))),
    ];
    for (kind, path, mut rows) in tables {
        let Some(path) = path else { continue };
        let (location, encoding) = destination(path, args, None)?;
        let mut writer = TableWriter::create(location, encoding, kind)?;
        while let Some(lane) = rows.next().map_err(anyhow::Error::from_boxed)? {
            writer.write(&lane)?;
        }
        writer.finish()?;
    }
    let Some(path) = &args.trades else { return Ok(()) };
    let (location, encoding) = destination(path, args, None)?;
    let options = OutputOptions { location, encoding, schema: trade_schema(), added: Vec::new() };
    let mut output = Output::create(options)?;
    let (mut source, bar) = source(args, stream);
    while let Some(messages) = source.next().map_err(anyhow::Error::from_boxed)? {
        output.write_batch(&messages.trades)?;
        bar.tick();
    }
    Ok(output.complete()?)
}

fn source(args: &GenerateArgs, stream: Arc<Stream>) -> (GeneratedSource, Bar) {
    let limit = args.stream.limit.unwrap_or(plan::GENERATED_MESSAGES);
    let source = GeneratedSource::new(stream, 0..limit, BLOCK_LEN, BLOCKS_AHEAD);
    let bar = Bar::new(Progress::Messages(source.progress(), limit), args.quiet);
    (source, bar)
}

fn destination(
    path: &Path,
    args: &GenerateArgs,
    fallback: Option<Format>,
) -> anyhow::Result<(Location, Encoding)> {
    let location = Location::of_argument(path);
    let fallback = match &args.format {
        Some(format) => Some(format.parse()?),
        None => fallback.map(Encoding::plain),
    };
    let encoding = plan::output(&location, None, fallback)?;
    Ok((location, encoding))
}
