//! Where the enriched trades of a run go, and where its summary does.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use arrow_schema::SchemaRef;
use tradejoin_connectors::{
    AddedColumn, DeadLetterOptions, DeadLetters, Encoding, Fields, Format, Letters, Location, Output,
    OutputOptions, is_letter_file, is_open_file,
};
use tradejoin_disk::Disk;
use tradejoin_model::TableSpec;

use crate::args::{ReportArgs, RunArgs};
use crate::bad::OnBadRecord;
use crate::checkpoint::KeptRun;
use crate::failure::UsageError;
use crate::plan;
use crate::policy;
use crate::print::{json_line, print};
use crate::same_file;
use crate::sample::Sample;
use crate::settings::Settings;
use crate::style::printable;
use crate::summary::Summary;
use crate::tell;

/// Where the enriched trades go.
pub(crate) struct Destination {
    /// `None` if they are only counted.
    location: Option<Location>,
    encoding: Encoding,
    /// Whether texts of CSV that look like formulas are made into others.
    csv_safe: bool,
    /// Where trades go that are put aside.
    letters: Option<(Location, Encoding)>,
}

/// Refuses `--csv-safe` for what is no CSV.
pub(crate) fn check_csv_safe(csv_safe: bool, encoding: Encoding) -> Result<(), UsageError> {
    if csv_safe && encoding.format != Format::Csv {
        return Err(UsageError("--csv-safe is for an output in CSV".to_owned()));
    }
    Ok(())
}

impl Destination {
    pub(crate) fn new(args: &RunArgs) -> anyhow::Result<Self> {
        let is_read = args.input.trades.is_some() || args.input.messages.is_some();
        let location = match &args.output {
            Some(path) => Some(Location::of_output(path)),
            None if is_read => Some(Location::Standard),
            None => None,
        };
        let encoding = match (&location, &args.output_format) {
            (Some(location), forced) => {
                plan::output(location, forced.as_deref(), Encoding::plain(Self::text_format(args)?))?
            }
            (None, None) => Encoding::plain(Format::Csv),
            (None, Some(_)) => {
                let text =
                    "--output-format without an output: generated trades go nowhere unless --output says so";
                return Err(UsageError(text.to_owned()).into());
            }
        };
        check_csv_safe(args.csv_safe, encoding)?;
        let csv_safe = args.csv_safe;
        let letters = args.letters.dead_letters.as_deref().map(|path| Self::letters(path, location.as_ref()));
        Ok(Self { location, encoding, csv_safe, letters: letters.transpose()? })
    }

    /// A file for what is put aside, which is JSON Lines whatever its name says of
    /// the format.
    fn letters(path: &Path, output: Option<&Location>) -> anyhow::Result<(Location, Encoding)> {
        let location = Location::of_argument(path);
        if location == Location::Standard || output == Some(&location) {
            let text = "--dead-letters is a file of its own, beside the output";
            return Err(UsageError(text.to_owned()).into());
        }
        if let Some(Location::Path(output)) = output
            && same_file::is_same_file(output, path)
        {
            return Err(UsageError("--dead-letters and --output are one file".to_owned()).into());
        }
        let encoding = Encoding::of_location(&location).unwrap_or(Encoding::plain(Format::JsonLines));
        if encoding.format != Format::JsonLines {
            let text = "--dead-letters are JSON Lines: .jsonl or .ndjson, also with .gz or .zst";
            return Err(UsageError(text.to_owned()).into());
        }
        Ok((location, encoding))
    }

    /// The text format for an output that has no name to go by: JSON Lines if
    /// the trades are, else CSV.
    fn text_format(args: &RunArgs) -> anyhow::Result<Format> {
        let input = &args.input;
        let format = match (&input.format, &input.trades) {
            (Some(format), _) => format.parse::<Encoding>()?.format,
            (None, Some(trades)) => Encoding::of_path(trades).map_or(Format::Csv, |encoding| encoding.format),
            (None, None) if input.messages.is_some() => Format::JsonLines,
            (None, None) => Format::Csv,
        };
        Ok(if format == Format::JsonLines { Format::JsonLines } else { Format::Csv })
    }

    /// Refuses an output, or a journal, that is one of the files that are read, or another
    /// output.
    pub(crate) fn check_against(&self, inputs: &[&Path], args: &RunArgs) -> anyhow::Result<()> {
        fn path(location: &Location) -> &Path {
            match location {
                Location::Path(path) => path,
                Location::Standard => Path::new("-"),
            }
        }
        let usage = |text: String| Err(UsageError(text).into());
        let journal = args.reload.journal.as_deref();
        if journal == Some(Path::new("-")) {
            return usage("--journal is a file of its own, beside the output".to_owned());
        }
        let letters = self.letters.as_ref().map(|(location, _)| path(location));
        let outputs = [
            ("--dead-letters", letters),
            ("the output", self.location.as_ref().map(path)),
            ("--journal", journal),
            ("--corrections", args.correct.path()),
        ];
        let outputs: Vec<_> = outputs.into_iter().filter_map(|(what, path)| Some((what, path?))).collect();
        for (at, (what, output)) in outputs.iter().enumerate() {
            if is_open_file(output) {
                return usage(format!(
                    "{what}, {}, is a file that is open already, and would be replaced: name the file itself",
                    output.display()
                ));
            }
            let mut earlier = outputs[..at].iter();
            if let Some((other, _)) = earlier.find(|(_, path)| same_file::are_both_written(path, output)) {
                return usage(format!("{what} would take the place of {other}"));
            }
            if let Some(input) = inputs.iter().find(|input| same_file::is_read_and_written(input, output)) {
                return usage(format!("{what} would take the place of an input, {}", input.display()));
            }
            if let Some(letters) = letters.filter(|_| args.letters.rotation().is_some())
                && let Some((letters, output)) = same_file::place(letters).zip(same_file::place(output))
                && is_letter_file(&letters, &output)
            {
                return usage(format!("{what} has a name that a file of --dead-letters will have"));
            }
        }
        Ok(())
    }

    /// What is to be made of the fields of trades that come as text, in a format.
    pub(crate) fn fields(&self, from: Format) -> Fields {
        match self.encoding.format {
            to if !to.is_text() => Fields::Typed,
            to if to == from && !self.csv_safe => Fields::InRecord,
            _ => Fields::AsText,
        }
    }

    pub(crate) fn create(
        &self,
        schema: SchemaRef,
        added: Vec<AddedColumn>,
        kept: Option<&KeptRun>,
        disk: &Arc<dyn Disk>,
    ) -> anyhow::Result<Option<Output>> {
        let Some(location) = self.location.clone() else { return Ok(None) };
        let disk = Arc::clone(disk);
        let kept = kept.map(|kept| kept.output(&location)).transpose()?;
        Ok(Some(Output::create(OutputOptions {
            added,
            kept,
            disk,
            csv_safe: self.csv_safe,
            ..OutputOptions::new(location, self.encoding, schema)
        })?))
    }

    /// The file for trades that are put aside, if any may be.
    pub(crate) fn create_letters(
        &self,
        args: &RunArgs,
        tables: &[TableSpec],
        schema: &SchemaRef,
        letters: Option<Letters>,
        kept: Option<&KeptRun>,
        disk: &Arc<dyn Disk>,
    ) -> anyhow::Result<Option<DeadLetters>> {
        let are_bad_put_aside = args.input.bad.on_bad_record == OnBadRecord::DeadLetter;
        let usage = |text: &str| Err(UsageError(text.to_owned()).into());
        let Some((location, encoding)) = self.letters.clone() else {
            if are_bad_put_aside {
                return usage(
                    "bad records are put aside, and there is no file for them: give --dead-letters FILE",
                );
            }
            if policy::puts_aside(tables) {
                return usage(
                    "trades may be put aside, and there is no file for them: give --dead-letters FILE, \
                     or with hold then=keep or then=drop",
                );
            }
            return Ok(None);
        };
        if !policy::puts_aside(tables) && !are_bad_put_aside {
            return usage(
                "--dead-letters without a table whose misses are put aside: give --on-miss TABLE=dead-letter, \
                 or hold, or --on-bad-record dead-letter",
            );
        }
        let rotation = args.letters.rotation();
        let kept = kept.map(|kept| kept.letters(&location, rotation.is_some())).transpose()?;
        Ok(Some(DeadLetters::create(DeadLetterOptions {
            location,
            encoding,
            schema: Arc::clone(schema),
            tables: tables.to_vec(),
            letters,
            time: args.letters.time(),
            bytes_max: args.letters.dead_letters_max,
            rotation,
            kept,
            disk: Arc::clone(disk),
        })?))
    }

    /// Whether the trades go to standard output, so that nothing else can.
    pub(crate) fn is_standard(&self) -> bool {
        self.location == Some(Location::Standard)
    }

    /// Where the trades go; `None` if they are only counted.
    pub(crate) fn location(&self) -> Option<&Location> {
        self.location.as_ref()
    }

    /// Whether texts of CSV that look like formulas are made into others.
    pub(crate) fn is_csv_safe(&self) -> bool {
        self.csv_safe
    }

    /// How they are encoded there.
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether people are told what happens: not on a standard error that is no
    /// terminal, unless they ask.
    fn is_for_people(&self, report: ReportArgs) -> bool {
        let is_heard = !self.is_standard() || report.verbose || std::io::stderr().is_terminal();
        !(report.json || report.quiet) && is_heard
    }

    /// Prints what a run is going to do, where its summary goes.
    pub(crate) fn announce(&self, report: ReportArgs, settings: &Settings) -> anyhow::Result<()> {
        let text = if self.is_for_people(report) { settings.text() + "\n" } else { String::new() };
        self.print(&text).context("cannot print the settings")
    }

    /// Prints the summary: to standard output, or if the trades go there, to
    /// standard error.
    pub(crate) fn show(
        &self,
        report: ReportArgs,
        summary: &Summary,
        sample: Option<&Sample>,
    ) -> anyhow::Result<()> {
        let mut text = String::new();
        if report.json {
            text = json_line(summary)?;
        } else if self.is_for_people(report) {
            if let Some(table) = sample.filter(|_| !self.is_standard()).and_then(Sample::table) {
                text = format!("{table}\n\n");
            }
            text += &summary.text();
        }
        self.print(&text).with_context(|| match &self.location {
            Some(location) if !summary.interrupted => {
                format!("{} is complete, but the summary cannot be printed", location.output_name())
            }
            _ => "cannot print the summary".to_owned(),
        })
    }

    fn print(&self, text: &str) -> anyhow::Result<()> {
        if self.is_standard() {
            tell::text(&printable(text));
            Ok(())
        } else {
            print(text)
        }
    }
}
