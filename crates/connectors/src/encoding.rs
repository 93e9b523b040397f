//! What a file is written in, and where it is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::descriptor;
use crate::error::EncodingError;

/// How records are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object for each line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC: the file format, or the stream format where there is no file.
    Arrow,
}

/// How the bytes of a text format are packed. Parquet and Arrow pack their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, of any number of members.
    Gzip,
    /// Zstandard, of any number of frames.
    Zstd,
}

/// A format and how it is packed. Only text formats are packed from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// How records are laid out.
    pub format: Format,
    /// How the bytes are packed.
    pub compression: Compression,
}

/// The endings that are known, for messages and help.
pub const KNOWN_ENDINGS: &str =
    ".csv, .jsonl, .ndjson (each also with .gz or .zst behind it), .parquet, .arrow";

impl Format {
    /// Whether the format is text, whose fields can pass as they came in.
    #[must_use]
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::JsonLines)
    }
}

impl Encoding {
    /// An encoding without outer compression.
    #[must_use]
    pub const fn plain(format: Format) -> Self {
        Self { format, compression: Compression::None }
    }

    /// The encoding that the ending of a file's name states, in any case of
    /// letters.
    ///
    /// # Errors
    /// If the ending is not known.
    pub fn of_path(path: &Path) -> Result<Self, EncodingError> {
        let unknown = || EncodingError::UnknownEnding { path: path.to_owned() };
        let name = path.file_name().ok_or_else(unknown)?.to_string_lossy();
        let (_, ending) = name.split_once('.').ok_or_else(unknown)?;
        // A name may have points of its own: `trades.2014-06-06.csv.gz`.
        let mut parts = ending.rsplit('.');
        let last = parts.next().unwrap_or_default();
        let text = match parts.next() {
            Some(format) if compression(last).is_some() => format!("{format}.{last}"),
            _ => last.to_owned(),
        };
        Self::parse(&text).ok_or_else(unknown)
    }

    /// The encoding of a location: [`Encoding::of_path`] for a path.
    ///
    /// # Errors
    /// If the ending is not known, or there is none to go by.
    pub fn of_location(location: &Location) -> Result<Self, EncodingError> {
        match location {
            Location::Path(path) => Self::of_path(path),
            Location::Standard => Err(EncodingError::NoEnding),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (format, packed) = match text.split_once('.') {
            Some((format, packed)) => (format, compression(packed)?),
            None => (text, Compression::None),
        };
        let format = match format.to_ascii_lowercase().as_str() {
            "csv" => Format::Csv,
            "jsonl" | "ndjson" => Format::JsonLines,
            "parquet" => Format::Parquet,
            "arrow" => Format::Arrow,
            _ => return None,
        };
        (format.is_text() || packed == Compression::None).then_some(Self { format, compression: packed })
    }
}

fn compression(text: &str) -> Option<Compression> {
    if text.eq_ignore_ascii_case("gz") {
        Some(Compression::Gzip)
    } else if text.eq_ignore_ascii_case("zst") {
        Some(Compression::Zstd)
    } else {
        None
    }
}

impl FromStr for Encoding {
    type Err = EncodingError;

    /// Reads `csv`, `jsonl`, `csv.gz`, `jsonl.zst`, `parquet`, `arrow` and the
    /// like, in any case of letters.
    ///
    /// # Errors
    /// If it is none of these.
    fn from_str(text: &str) -> Result<Self, EncodingError> {
        Self::parse(text).ok_or_else(|| EncodingError::UnknownFormat { text: text.to_owned() })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.format {
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
            Format::Parquet => "parquet",
            Format::Arrow => "arrow",
        })?;
        f.write_str(match self.compression {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        })
    }
}

/// Where an input is read from, or an output written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file, a pipe or a device with a name.
    Path(PathBuf),
    /// Standard input or standard output.
    Standard,
}

impl Location {
    /// What messages call it as an input.
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Path(path) => path.display().to_string().into(),
            Self::Standard => "standard input".into(),
        }
    }

    /// What messages call it as an output.
    #[must_use]
    pub fn output_name(&self) -> Arc<str> {
        match self {
            Self::Path(path) => path.display().to_string().into(),
            Self::Standard => "standard output".into(),
        }
    }

    /// The length of a regular file in bytes; `None` of anything else.
    pub(crate) fn file_len(&self) -> Option<u64> {
        let Self::Path(path) = self else { return None };
        path.metadata().ok().filter(std::fs::Metadata::is_file).map(|file| file.len())
    }

    /// The location that an argument states: `-` is standard input or output.
    #[must_use]
    pub fn of_argument(argument: &Path) -> Self {
        if argument.as_os_str() == "-" { Self::Standard } else { Self::Path(argument.to_owned()) }
    }

    /// The location that the argument of an output states: `-`, or any name that the system has
    /// for it, is standard output.
    #[must_use]
    pub fn of_output(argument: &Path) -> Self {
        if descriptor::is_standard_output(argument) {
            return Self::Standard;
        }
        Self::of_argument(argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_decides_in_any_case() {
        for (name, expected) in [
            ("a.csv", "csv"),
            ("dir.x/TRADES.2014-06-06.CSV.GZ", "csv.gz"),
            ("a.ndjson", "jsonl"),
            ("a.jsonl.zst", "jsonl.zst"),
            ("a.Parquet", "parquet"),
            ("a.b.arrow", "arrow"),
        ] {
            assert_eq!(
                Encoding::of_path(Path::new(name)).map(|e| e.to_string()).ok().as_deref(),
                Some(expected)
            );
        }
    }

    #[test]
    fn an_unknown_ending_is_refused_with_those_that_are_known() {
        for name in ["csv", "a", "a.txt", "a.gz", "a.parquet.gz", "a.csv.bz2", "a.", "/", ".."] {
            let error = Encoding::of_path(Path::new(name)).expect_err(name).to_string();
            assert!(error.contains(".ndjson") && error.contains(".parquet"), "{error}");
        }
        assert!("tsv".parse::<Encoding>().is_err());
        assert!("arrow.zst".parse::<Encoding>().is_err());
    }
}
