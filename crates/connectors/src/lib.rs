//! Reads trades, tables and messages from files and pipes, and writes what
//! became of them: CSV, JSON Lines, Parquet and Arrow IPC, the text formats also
//! packed with gzip or Zstandard.
//!
//! The two ends of a run. [`TradeReader`] and [`MessageReader`] are sources,
//! [`TableReader`] is the source of a table, [`Output`] is a sink; the command
//! opens them and hands them to the engine. [`WithChanges`] is a source around that of
//! the trades, with changes among them that have an input of their own.
//!
//! Guaranteed: nothing is held whole in memory, only a block and, for Parquet, a
//! row group. From text to text a field comes out with the content that it came
//! in with. A bad record is an error or counted, with file, line, column and
//! value, and never a null or a zero. An output file appears under its name when
//! it is whole. One that is [`Kept`] is cut to what a checkpoint tells of it, or is
//! refused.
//!
//! A source tells how far it has been read, and another one of the same inputs goes on
//! there: a plain text and Parquet skip what lies before, all else is read up to the place.
//!
//! Not here: the join, threads, printing. JSON Lines have their columns from the
//! first 1,024 lines; a member that shows up later makes its line a bad record.
//! Formats with their index at the end are copied to a temporary file if they
//! come from a pipe.
//!
//! ```
//! use tradejoin_flow::End;
//! use tradejoin_connectors::{
//!     Fields, InputOptions, Location, Output, OutputOptions, TradesOptions, open_trades,
//! };
//!
//! let dir = tempfile::tempdir()?;
//! let (from, to) = (dir.path().join("trades.csv"), dir.path().join("trades.jsonl"));
//! std::fs::write(&from, "instrument_id,price,note\n7,1.70,\"a, b\"\n")?;
//!
//! let mut trades = open_trades(TradesOptions {
//!     input: InputOptions::new(Location::Path(from))?,
//!     limit: None,
//!     key_columns: vec!["instrument_id".into()],
//!     fields: Fields::AsText,
//! })?;
//! let encoding = tradejoin_connectors::Encoding::of_path(&to)?;
//! let location = Location::Path(to.clone());
//! let mut output = Output::create(OutputOptions::new(location, encoding, trades.schema()))?;
//! while let Some(messages) = trades.read()? {
//!     output.write_batch(&messages.trades)?;
//! }
//! output.close(End::Complete)?;
//! assert_eq!(std::fs::read_to_string(to)?, "{\"instrument_id\":7,\"price\":1.70,\"note\":\"a, b\"}\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod descriptor;
mod encoding;
mod error;
mod flaw;
mod resume_error;

mod bad;
mod bad_letter;
mod input;
mod last_read;
mod limits;
mod ready;
mod reason_codes;

mod chunks;
mod records;

mod csv_rows;
mod header;
mod json_floats;
mod json_plain;
mod json_rows;
mod parse;
mod text_rows;

mod arrow_blocks;
mod arrow_keys;
mod arrow_lengths;
mod arrow_times;
mod arrow_trades;
mod foreign;
mod int96;
mod json_values;
mod kept_journal;
mod key_text;
mod nested;
mod parquet_columns;
mod shared_file;
mod stored_file;
mod values;

mod any_lane;
mod change_feed;
mod change_rows;
mod change_texts;
mod column_builder;
mod difference;
mod gated_lines;
mod gates;
mod journal;
mod journal_error;
mod lane_builder;
mod letter_files;
mod letters;
mod merge;
mod messages;
mod mode;
mod placed_changes;
mod recovered;
mod replayed;
mod seen;
mod table_changes;
mod table_def;
mod tables;
mod trade_builder;
mod trade_decoder;
mod trade_feed;
mod trade_layout;
mod trades;
mod with_changes;

mod repeated_keys;
mod sample;
mod sample_parquet;
mod sample_text;

mod select;
mod select_error;

mod block_parts;
mod column_writer;
mod columnar_encoder;
mod csv_safe;
mod fitting;
mod frames;
mod parquet_plan;
mod parquet_writer;
mod render;
mod shown_times;
mod target;
mod text_encoder;
mod trail;

mod output;
mod output_writer;
mod part_folder;
mod parts;
mod prepared;

mod comparison;

mod correction_file;
mod dead_letters;
mod preview;
mod row_texts;
mod writers;

pub use bad::{BadRecords, OnBadRecord};
pub use bad_letter::{LETTER_BYTES_MAX, LetterTime};
pub use change_feed::{AwaitedChanges, ChangeFeed, ChangesProgress, Fed};
pub use change_rows::ChangeTable;
pub use change_texts::{ChangeText, ChangeTexts};
pub use comparison::{
    CellDifference, Compared, Comparison, ComparisonOptions, DifferenceKind, OtherColumns, RowDifference,
};
pub use correction_file::CorrectionFile;
pub use dead_letters::{
    Beside, BesideEncoder, BesidePiece, DeadLetterEncoder, DeadLetterOptions, DeadLetters, DeadLettersFull,
    LettersFailed,
};
pub use descriptor::is_open_file;
pub use difference::{Difference, Fingerprints};
pub use encoding::{Compression, Encoding, Format, KNOWN_ENDINGS, Location};
pub use error::{Category, CreateError, EncodingError, OpenError, ReadError, WriteError};
pub use flaw::{BadRecord, Overlapping, Place, Reason};
pub use gates::GateOptions;
pub use input::{InputOptions, OpenPipe, Progress, check_readable};
pub use journal::{Journal, JournalEntry, JournalWriter, LoadedTable};
pub use journal_error::JournalError;
pub use kept_journal::KeptJournal;
pub use key_text::key_for_people;
pub use lane_builder::{TableColumn, TableKind};
pub use last_read::LastRead;
pub use letter_files::{
    DroppedLetters, LetterFilesError, LetterRotation, is_letter_file, resume_letter_files,
};
pub use letters::{Letter, Letters, open_letters};
pub use limits::{Limits, TooMuch};
pub use merge::{LetterIds, MergeError, MergeOptions, Merged, merge};
pub use messages::{MessageReader, MessagesOptions, open_messages};
pub use mode::{TableMode, time_for_people, validity_for_people};
pub use output::{AddedColumn, Output, OutputEncoder, OutputOptions, OutputPiece};
pub use prepared::Kept;
pub use preview::{NamedText, PreviewRow, added_texts, preview, trade_texts};
pub use ready::{GateTimeout, Readiness, ReadyAfter, ReadyBy, TableReadiness, Unready, WaitsFor};
pub use reason_codes::{NO_MATCH, reason_codes};
pub use repeated_keys::RepeatedKeys;
pub use replayed::Replayed;
pub use resume_error::ResumeError;
pub use row_texts::{FieldText, RowTexts, instant_of_text};
pub use sample::{SampleSize, SampledFrom, TradeSample, sample_trades};
pub use select::{SelectedTable, Selection, TableColumns, select_outputs};
pub use select_error::SelectError;
pub use stored_file::Unlike;
pub use table_changes::{ChangeBlock, ChangesOptions, ChangesReader, OpenChanges, WATERMARK, open_changes};
pub use table_def::{AnyTable, ColumnChoice, KeyPair, TableDefinition, TradeKey};
pub use tables::{TableOptions, TableReader, open_table};
pub use target::{OutputHandle, resolve_links};
pub use trade_feed::{Arrived, TradeFeed, of_trades};
pub use trade_layout::{ENCODING_CSV, ENCODING_JSON, ENCODING_KEY, Fields};
pub use trades::{TradeReader, TradesOptions, open_trades};
pub use values::ValueEncoding;
pub use with_changes::{ChangesBy, Note, Warn, WithChanges, WithChangesOptions};
pub use writers::{MessageWriter, TableWriter, WrittenTable};
