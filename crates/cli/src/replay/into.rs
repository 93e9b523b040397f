//! Recovered trades among those of the run that put them aside.

use std::path::Path;

use anyhow::Context as _;
use indicatif::HumanCount;
use tradejoin_connectors::{Encoding, Format, InputOptions, LetterIds, Location, MergeOptions, merge};

use crate::args::RunArgs;
use crate::destination::check_csv_safe;
use crate::failure::{self, UsageError};
use crate::signals::{HangUp, Signals};
use crate::tell::tell;
use crate::temporary::{private_folder, remover};
use crate::{plan, run, same_file};

/// What to say of an output that is not there.
const INTERRUPTED: &str = "interrupted; nothing was merged: give the same command again";

/// Replays the letters of a run, and merges what is recovered with its output.
pub(super) fn replay(mut run: RunArgs, enriched: &Path) -> anyhow::Result<u8> {
    // Both are there: one was given and the other made of it.
    let (output, letters) =
        (run.output.take().unwrap_or_default(), run.input.trades.clone().unwrap_or_default());
    check(&run, &output, &letters, enriched)?;
    let format = run.input.format.as_deref();
    let limits = run.input.limits;
    let of_output = |input| InputOptions { limits: limits.of_file().of_output(), ..input };
    let enriched = of_output(plan::input(enriched, None, format)?);
    let location = Location::of_output(&output);
    let encoding = plan::output(&location, run.output_format.take().as_deref(), enriched.encoding)?;
    // That of the merged file; the other one is nobody's.
    let csv_safe = std::mem::take(&mut run.csv_safe);
    check_csv_safe(csv_safe, encoding)?;
    let ids = LetterIds::read(&limits.apply(plan::input(&letters, format, None)?))?;
    ids.check_apart(&enriched)?;

    let signals = Signals::install(HangUp::Ends)?;
    let folder = private_folder(None).context("cannot make a temporary folder")?;
    signals.remove_before_the_end(remover(&folder));
    let (ending, format) = match enriched.encoding.format {
        Format::Csv => ("csv", Format::Csv),
        Format::JsonLines => ("jsonl", Format::JsonLines),
        // Tokens say what they are; columns of the types of the other file are made of them.
        Format::Parquet | Format::Arrow => ("jsonl", Format::JsonLines),
    };
    let recovered = folder.path().join(format!("recovered.{ending}"));
    run.output = Some(recovered.clone());
    let code = run::run_under(&run, &signals)?;
    if code != failure::OK {
        return Ok(code);
    }
    // Those of the run, which is over, are untrue by now.
    signals.before_the_end(|| tell!("interrupted: give the same command again"));
    let recovered = InputOptions::with_encoding(Location::Path(recovered), Encoding::plain(format));
    let (recovered, stop) = (of_output(recovered), signals.stop().flag());
    let options = MergeOptions { enriched, recovered, location, encoding, csv_safe, stop };
    let Some(merged) = merge(&ids, options)? else {
        tell!("{INTERRUPTED}");
        return Ok(failure::INTERRUPTED);
    };
    if !(run.report.quiet || run.report.json) {
        let [recovered, enriched] = [merged.recovered, merged.enriched].map(HumanCount);
        tell!("{}: {enriched} trades of the run, and {recovered} recovered", output.display());
    }
    Ok(failure::OK)
}

/// Refuses files that cannot be read twice, an output that is one of them or none, and checkpoints.
fn check(run: &RunArgs, output: &Path, letters: &Path, enriched: &Path) -> Result<(), UsageError> {
    if run.kept.checkpoint.is_some() {
        let text = "--into does not go with --checkpoint: what is recovered is merged at the end, and no \
                    checkpoint tells of it; leave --checkpoint out, and give the same command again if it is killed";
        return Err(UsageError(text.to_owned()));
    }
    if enriched.is_dir() {
        return Err(UsageError(plan::folder_is_not_read(enriched)));
    }
    for path in [letters, enriched] {
        let is_pipe = path.metadata().is_ok_and(|metadata| !(metadata.is_file() || metadata.is_dir()));
        if is_pipe || path == Path::new("-") {
            return Err(UsageError(format!("--into: {} is no file that can be read twice", path.display())));
        }
        if same_file::is_same_file(path, output) {
            return Err(UsageError(format!("--output would take the place of an input, {}", path.display())));
        }
    }
    if Location::of_output(output) == Location::Standard {
        return Err(UsageError("--into: --output is a new file".to_owned()));
    }
    match &run.letters.dead_letters {
        Some(path) if same_file::is_same_file(path, output) || same_file::is_same_file(path, enriched) => {
            let text = "--dead-letters is a file of its own, beside the output";
            Err(UsageError(text.to_owned()))
        }
        _ => Ok(()),
    }
}
