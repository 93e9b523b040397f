//! What the user says of bad records, and what is said of them.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use indicatif::HumanCount;
use serde::Serialize;
use tradejoin_connectors::{BadRecords, DroppedLetters, LetterRotation, LetterTime};
use tradejoin_engine::{EngineError, MaxBad, Share};

use crate::arg_values::{count, number};
use crate::args::RunArgs;
use crate::failure::{self, BadData, UsageError};
use crate::policy::size;

#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct BadArgs {
    /// What to do with a record that cannot be read
    #[arg(long, value_name = "POLICY", default_value = "fail")]
    pub(crate) on_bad_record: OnBadRecord,

    /// End a run (65) that leaves out more bad records: so many of all inputs, or a share of each, 0.1%,
    /// which is judged from line 1,000 on and at the end [default: any number]
    #[arg(long, value_name = "N|P%", allow_negative_numbers = true, value_parser = max_bad)]
    pub(crate) max_bad: Option<MaxBad>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBadRecord {
    /// Stop with an error that names file, line, column and value
    Fail,
    /// Leave it out, count it and go on
    Skip,
    /// The same, and write it to the file of --dead-letters with the reason
    DeadLetter,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct LetterArgs {
    /// Where trades go that are put aside, and bad records with --on-bad-record dead-letter, each with
    /// its reason, as JSON Lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) dead_letters: Option<PathBuf>,

    /// End a run (65) whose dead letters take more, such as 1GiB, before they are packed [default: any size]
    #[arg(long, value_name = "SIZE", requires = "dead_letters", value_parser = size)]
    pub(crate) dead_letters_max: Option<u64>,

    /// When the dead letters of a file take so much, such as 256MiB, before they are packed, complete it and
    /// go on in the next: FILE.jsonl, FILE.000001.jsonl and so on
    #[arg(long, value_name = "SIZE", requires = "dead_letters", value_parser = file_size)]
    pub(crate) dead_letters_rotate: Option<u64>,

    /// How many of these files stay: older ones are removed, and their letters counted [default: all]
    #[arg(long, value_name = "N", requires = "dead_letters_rotate", allow_negative_numbers = true, value_parser = |text: &str| number::<u32>(text, 1..=1_000_000))]
    pub(crate) dead_letters_keep: Option<u32>,

    /// Say in each dead letter when it was written; without, equal inputs make equal files
    #[arg(long, requires = "dead_letters")]
    pub(crate) dead_letter_time: bool,
}

impl LetterArgs {
    pub(crate) fn time(&self) -> LetterTime {
        if self.dead_letter_time { LetterTime::Written } else { LetterTime::None }
    }

    pub(crate) fn rotation(&self) -> Option<LetterRotation> {
        let files_max = self.dead_letters_keep.and_then(NonZeroU32::new);
        self.dead_letters_rotate.map(|file_bytes_max| LetterRotation { file_bytes_max, files_max })
    }
}

/// A size that leaves room for letters.
fn file_size(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes >= 1 << 10 { Ok(bytes) } else { Err("write a size of at least 1KiB".to_owned()) }
}

/// Letters that are gone with their files, as a summary has them.
#[derive(Debug, Serialize)]
pub(crate) struct Dropped {
    files: u64,
    letters: u64,
}

impl Dropped {
    /// `None` if all are there.
    pub(crate) fn new(dropped: &DroppedLetters) -> Option<Self> {
        let (files, letters) = (dropped.files(), dropped.letters());
        (files > 0).then_some(Self { files, letters })
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (files, letters) = (HumanCount(self.files), HumanCount(self.letters));
        write!(
            f,
            "{letters} dead letters are gone with the oldest {files} of their files (--dead-letters-keep)"
        )
    }
}

/// A number, or a percentage.
fn max_bad(text: &str) -> Result<MaxBad, String> {
    let max = match text.strip_suffix('%') {
        Some(percent) => Share::of_percent(percent).map(MaxBad::Share),
        None => count(text).map(MaxBad::Records),
    };
    max.ok_or_else(|| {
        "write a number of records, such as 100, or a share from 0% to 100%, such as 0.1%".to_owned()
    })
}

/// What becomes of bad records in a run with these arguments.
pub(crate) fn policy(args: &RunArgs) -> tradejoin_connectors::OnBadRecord {
    use tradejoin_connectors::OnBadRecord as Policy;
    match args.input.bad.on_bad_record {
        OnBadRecord::Fail => Policy::Fail,
        // What repeats a run writes nothing.
        OnBadRecord::DeadLetter if args.letters.dead_letters.is_some() && !args.in_turn => {
            Policy::DeadLetter(args.letters.time())
        }
        OnBadRecord::Skip | OnBadRecord::DeadLetter => Policy::Skip,
    }
}

/// Refuses a budget where there is nothing to be spent.
pub(crate) fn check(args: &RunArgs) -> Result<(), UsageError> {
    let BadArgs { on_bad_record, max_bad } = args.input.bad;
    if max_bad.is_some() && on_bad_record == OnBadRecord::Fail {
        let text = "--max-bad is for bad records that are left out, and the first one ends this run: add \
                    --on-bad-record skip or dead-letter";
        return Err(UsageError(text.to_owned()));
    }
    Ok(())
}

/// What a failed run says: the first bad records, if they are too many.
pub(crate) fn of_run(error: EngineError, bad_records: &BadRecords) -> anyhow::Error {
    let EngineError::TooManyBad(too_many) = error else { return failure::of_run(error) };
    // Others may have been read ahead.
    let shown = usize::try_from(too_many.bad).unwrap_or(usize::MAX);
    let first: Vec<_> = bad_records.first().iter().take(shown).map(ToString::to_string).collect();
    let which = match first.as_slice() {
        [] => "all of them before the run went on: with a higher one it goes on again".to_owned(),
        first => format!("the first: {}", first.join("; ")),
    };
    BadData(format!("{too_many} (--max-bad); {which}")).into()
}

/// What is said of bad records at the end of a run that went well, which went on behind so
/// many of them.
pub(crate) fn warning(args: &RunArgs, bad_records: &BadRecords, before: u64) -> Option<String> {
    let what = match (&args.letters.dead_letters, policy(args)) {
        (Some(path), tradejoin_connectors::OnBadRecord::DeadLetter(_)) => {
            format!("put aside in {}", path.display())
        }
        _ => "skipped".to_owned(),
    };
    let first = match (before, bad_records.count()) {
        (_, 0) => "",
        (0, 1) => ":",
        (0, _) => "; the first:",
        _ => "; the first since the run went on:",
    };
    match before.saturating_add(bad_records.count()) {
        0 => None,
        1 => Some(format!("1 bad record was {what}{first}")),
        count => Some(format!("{count} bad records were {what}{first}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_number_or_a_share() {
        assert_eq!(max_bad("1_000"), Ok(MaxBad::Records(1_000)));
        assert_eq!(max_bad("0.1%"), Ok(MaxBad::Share(Share::new(100_000).expect("a share"))));
        for text in ["", "-1", "0.1", "101%", "%", "few"] {
            assert!(max_bad(text).is_err(), "{text}");
        }
    }
}
