//! The tables of the page, between marks that tell where they stand.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::machine::Origin;
use crate::record::{FilesRecord, MemoryRecord, Spread};

/// Writes the tables of a page anew; what stands around them stays, and so does a
/// table without a record.
///
/// # Errors
/// If the page cannot be read or written, or a mark is missing.
pub(crate) fn write(
    path: &Path,
    memory: Option<&MemoryRecord>,
    files: Option<&FilesRecord>,
) -> anyhow::Result<()> {
    let mut text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if let Some(memory) = memory {
        text = replace(&text, "memory", &memory_tables(memory))?;
    }
    if let Some(files) = files {
        text = replace(&text, "files", &file_tables(files))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The text with another one between the marks of `name`.
fn replace(text: &str, name: &str, tables: &str) -> anyhow::Result<String> {
    let (start, end) =
        (format!("<!-- {name}: written by benches/peers/run -->\n"), format!("<!-- end of {name} -->"));
    let missing = || format!("the page has no mark {}", start.trim_end());
    let (before, rest) = text.split_once(&start).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{start}\n{}\n\n{end}{after}", tables.trim_end()))
}

fn memory_tables(record: &MemoryRecord) -> String {
    let mut text = origin(&record.origin);
    let _ = writeln!(
        text,
        " {} messages, {} instruments, medians of {} interleaved rounds.",
        thousands(record.messages),
        thousands(record.ids.into()),
        record.rounds
    );
    for set in &record.sets {
        let _ = writeln!(
            text,
            "\n**{}**, mix `{}`: {} enriched, {} without an instrument, checksum `{}`.\n",
            set.name,
            set.mix,
            thousands(set.enriched),
            thousands(set.unmatched),
            set.checksum
        );
        text.push_str("| program | workers | ns a message (min to max) | CPU ns | × naive (min to max) |\n");
        text.push_str("| --- | --- | --- | --- | --- |\n");
        for program in &set.programs {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.1} | {} |",
                program.title(),
                program.workers,
                spread(program.elapsed_ns, 1),
                program.cpu_ns.median,
                spread(program.ratio_to_naive, 2),
            );
        }
    }
    skipped(&mut text, &record.skipped);
    text
}

fn file_tables(record: &FilesRecord) -> String {
    let mut text = origin(&record.origin);
    let _ = writeln!(
        text,
        " {} trades, {} instruments, medians of {} interleaved rounds.",
        thousands(record.trades),
        thousands(record.ids.into()),
        record.rounds
    );
    for case in &record.cases {
        let _ = writeln!(
            text,
            "\n**{}**: {} rows, checksum `{}`.\n",
            case.name,
            thousands(case.rows),
            case.checksum
        );
        text.push_str(
            "| program | s (min to max) | CPU s | peak MB | × time of tradejoin (min to max) | in order |\n",
        );
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for program in &case.programs {
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {:.0} | {} | {} |",
                program.name,
                spread(program.elapsed_s, 2),
                program.cpu_s.median,
                program.peak_mb.median,
                spread(program.time_to_tradejoin, 2),
                if program.keeps_order { "yes" } else { "no" },
            );
        }
    }
    skipped(&mut text, &record.skipped);
    text
}

/// Where and from what the figures come.
fn origin(origin: &Origin) -> String {
    let versions: Vec<_> =
        origin.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!(
        "{}, {} cores; {}; commit {}; {}; {}.",
        origin.about.cpu,
        origin.about.cores,
        origin.about.compiler,
        origin.about.commit,
        versions.join(", "),
        origin.about.date
    )
}

fn spread(spread: Spread, digits: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
}

fn skipped(text: &mut String, skipped: &[String]) {
    if !skipped.is_empty() {
        let _ = writeln!(text, "\nSkipped: {}.", skipped.join("; "));
    }
}

/// A number with a comma before each group of three digits.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_the_marks_is_replaced() {
        let page = "a\n<!-- files: written by benches/peers/run -->\nold\n<!-- end of files -->\nb\n";
        let expected = "a\n<!-- files: written by benches/peers/run -->\n\nnew\n\n<!-- end of files -->\nb\n";
        assert_eq!(replace(page, "files", "new\n").expect("the marks"), expected);
        assert!(replace(page, "memory", "new").is_err());
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!(
            ["1", "12,345", "10,000,000"],
            [1, 12_345, 10_000_000].map(thousands).each_ref().map(String::as_str)
        );
    }
}
