//! What is in the files of an output.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_ipc::reader::FileReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tradejoin_connectors::{Compression, Encoding, Format};
use tradejoin_disk::{Disk, SimulatedDisk};

/// The name of the output.
pub(crate) fn output(encoding: Encoding) -> PathBuf {
    let packed = packing(encoding.compression);
    match encoding.format {
        Format::Csv => format!("/simulated/out.csv{packed}").into(),
        Format::JsonLines => format!("/simulated/out.jsonl{packed}").into(),
        Format::Parquet | Format::Arrow => "/simulated/out/".into(),
    }
}

/// The name of what is written again.
pub(crate) fn corrections(encoding: Encoding) -> PathBuf {
    let ending = if encoding.format == Format::Csv { "csv" } else { "jsonl" };
    format!("/simulated/corrections.{ending}").into()
}

/// The name of the dead letters.
pub(crate) fn letters(compression: Compression) -> PathBuf {
    format!("/simulated/letters.jsonl{}", packing(compression)).into()
}

fn packing(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
    }
}

/// Bytes as the text that they are.
pub(crate) fn unpacked(bytes: &[u8], compression: Compression) -> Result<String, String> {
    let mut text = String::new();
    let read = match compression {
        Compression::None => (&*bytes).read_to_string(&mut text),
        Compression::Gzip => flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text),
        Compression::Zstd if bytes.is_empty() => Ok(0),
        Compression::Zstd => {
            zstd::Decoder::new(bytes).and_then(|mut decoder| decoder.read_to_string(&mut text))
        }
    };
    read.map_err(|error| format!("not unpacked: {error}"))?;
    Ok(text)
}

/// The rows of all parts as CSV without a header; no part may be missing, and none that is
/// not whole may be left.
pub(crate) fn parts(disk: &SimulatedDisk, format: Format) -> Result<String, String> {
    let folder = Path::new("/simulated/out");
    let ending = if format == Format::Parquet { "parquet" } else { "arrow" };
    let names = disk.list(folder).map_err(|error| format!("no parts: {error}"))?;
    let mut text = String::new();
    for (number, name) in names.iter().filter(|name| *name != "_manifest.json").enumerate() {
        if *name != format!("part-{number:06}.{ending}") {
            return Err(format!("{name} where part {number} should be"));
        }
        let bytes = disk.read(&folder.join(name)).map_err(|error| error.to_string())?;
        let batches = batches(bytes, format).map_err(|error| format!("{name}: {error}"))?;
        batches.iter().for_each(|batch| push_rows(batch, &mut text));
    }
    Ok(text)
}

type AnyError = Box<dyn std::error::Error>;

fn batches(bytes: Vec<u8>, format: Format) -> Result<Vec<RecordBatch>, AnyError> {
    if format == Format::Parquet {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))?.build()?;
        return Ok(reader.collect::<Result<_, _>>()?);
    }
    Ok(FileReader::try_new(std::io::Cursor::new(bytes), None)?.collect::<Result<_, _>>()?)
}

fn push_rows(batch: &RecordBatch, text: &mut String) {
    let options = FormatOptions::default();
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).expect("a column to show"))
        .collect();
    for row in 0..batch.num_rows() {
        for (number, column) in columns.iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            *text += &column.value(row).to_string();
        }
        text.push('\n');
    }
}
