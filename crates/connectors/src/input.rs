//! Opening inputs: files, pipes and standard input as streams of bytes.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::bad::{BadRecords, OnBadRecord, Refusals};
use crate::encoding::{Compression, Encoding, Location};
use crate::error::{EncodingError, OpenError, ReadError};
use crate::last_read::LastRead;
use crate::limits::{Limits, within};
use crate::ready::{GateTimeout, Readiness};
use crate::stored_file::StoredFile;

mod pending;

/// Where and how to read.
#[derive(Clone, Debug)]
pub struct InputOptions {
    /// Where.
    pub location: Location,
    /// In what encoding.
    pub encoding: Encoding,
    /// Rows of a block at most; at least 1. A block of very long rows ends
    /// earlier.
    pub batch_len: usize,
    /// What to do with bad records.
    pub on_bad_record: OnBadRecord,
    /// Where those that are skipped show up. One handle may serve many inputs.
    pub bad_records: BadRecords,
    /// Where the bytes that were read show up.
    pub progress: Progress,
    /// How long records of a pipe may wait for more to come: those that are there
    /// are then handed out as a block, however short. Text formats only.
    pub linger: Duration,
    /// Where tables show up, how far they have come, and which pipe is waited for. One handle
    /// may serve many inputs.
    pub readiness: Readiness,
    /// By when a table is to be complete, or those of a stream of messages ready.
    /// Not for trades. A pipe that is silent until then is noticed at once.
    pub gate_timeout: Option<GateTimeout>,
    /// Where the place of what was read last shows up, if anybody asks.
    pub last_read: Option<LastRead>,
    /// Ends a pipe or a terminal quietly, as if its writer had left, once it is
    /// set. Noticed within a tenth of a second.
    pub stop: Option<Arc<AtomicBool>>,
    /// What it may ask for.
    pub limits: Limits,
    /// Whether somebody asks [how far it has been read](tradejoin_flow::Source::position): the text
    /// of a pipe is hashed for that.
    pub is_kept: bool,
    /// The location, if it is a pipe that is open already: see [`InputOptions::with_pipe_open`].
    pub pipe: OpenPipe,
}

/// A named pipe that was opened before it is read, or nothing.
#[derive(Clone, Debug, Default)]
pub struct OpenPipe(Option<Arc<File>>);

impl InputOptions {
    /// Rows of a block unless something else is asked for.
    pub const BATCH_LEN: usize = 8_192;
    /// How long records wait for more unless something else is asked for.
    pub const LINGER: Duration = Duration::from_millis(1);

    /// Options for a location whose ending tells the encoding.
    ///
    /// # Errors
    /// If there is no ending or it is not known.
    pub fn new(location: Location) -> Result<Self, EncodingError> {
        let encoding = Encoding::of_location(&location)?;
        Ok(Self::with_encoding(location, encoding))
    }

    /// Options for a location in a given encoding.
    #[must_use]
    pub fn with_encoding(location: Location, encoding: Encoding) -> Self {
        Self {
            location,
            encoding,
            batch_len: Self::BATCH_LEN,
            on_bad_record: OnBadRecord::default(),
            bad_records: BadRecords::default(),
            progress: Progress::default(),
            linger: Self::LINGER,
            readiness: Readiness::default(),
            gate_timeout: None,
            last_read: None,
            stop: None,
            limits: Limits::default(),
            is_kept: true,
            pipe: OpenPipe::default(),
        }
    }

    /// The same, and if the location is a named pipe it is open from now on. Whoever writes to it
    /// need not wait until it is its turn to be read, and may have left by then.
    ///
    /// # Errors
    /// If it is a named pipe that cannot be opened. Of anything else, that shows when it is read.
    pub fn with_pipe_open(mut self) -> Result<Self, OpenError> {
        if let Location::Path(path) = &self.location
            && is_pipe(path).unwrap_or(false)
        {
            let (_, pipe, _) = open_location(&self.location)?;
            self.pipe = OpenPipe(Some(Arc::new(pipe)));
        }
        Ok(self)
    }
}

/// How far reading has come: a handle, whose clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<(AtomicU64, AtomicU64)>);

impl Progress {
    /// Bytes of the inputs read so far, as they are stored. May be behind by
    /// what another thread is reading at this moment.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    /// Bytes of the inputs in all, as far as they are regular files; `None` if
    /// none is.
    #[must_use]
    pub fn bytes_total(&self) -> Option<u64> {
        Some(self.0.1.load(Ordering::Relaxed)).filter(|&total| total > 0)
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.0.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that reading goes on at another place.
    pub(crate) fn move_from(&self, before: u64, now: u64) {
        self.0.0.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
        self.0.0.fetch_sub(before.saturating_sub(now), Ordering::Relaxed);
    }
}

/// An input that is open, before anything of it is decoded.
pub(crate) struct Input {
    pub(crate) name: Arc<str>,
    pub(crate) raw: RawInput,
    pub(crate) options: InputOptions,
    /// The size of a regular file.
    pub(crate) file_bytes: Option<u64>,
}

impl Input {
    pub(crate) fn open(options: InputOptions) -> Result<Self, OpenError> {
        let (name, file, metadata) = open_input(&options)?;
        let kind = metadata.file_type();
        let file_bytes = kind.is_file().then_some(metadata.len());
        options.progress.0.1.fetch_add(file_bytes.unwrap_or(0), Ordering::Relaxed);
        let stored = |bytes| Arc::new(StoredFile::new(Arc::clone(&file), bytes, options.progress.clone()));
        let stored = file_bytes.map(stored);
        let raw = RawInput {
            name: Arc::clone(&name),
            file,
            stored,
            waits: kind.is_fifo() || kind.is_char_device() || kind.is_socket(),
            stop: options.stop.clone(),
            cut: Arc::default(),
            patience: Patience::default(),
            gate_timeout: options.gate_timeout.clone(),
            progress: options.progress.clone(),
            readiness: options.readiness.clone(),
        };
        Ok(Self { name, raw, options, file_bytes })
    }

    pub(crate) fn refusals(&self) -> Refusals {
        Refusals::new(Arc::clone(&self.name), self.options.on_bad_record, self.options.bad_records.clone())
    }

    fn is_plain(&self) -> bool {
        self.options.encoding.compression == Compression::None
    }

    /// What its text is made of.
    pub(crate) fn origin(&self) -> Origin {
        let made = if self.is_plain() { Origin::Plain } else { Origin::Made };
        self.raw.stored.clone().map_or(Origin::Stream, made)
    }

    /// The unpacked bytes of a text format, without a byte order mark.
    pub(crate) fn into_text(self) -> Result<TextInput, ReadError> {
        let (cut, patience) = (self.raw.cut(), self.raw.patience.clone());
        let (is_plain, origin, limits) = (self.is_plain(), self.origin(), self.options.limits);
        let is_kept = self.options.is_kept;
        let failed = |error| ReadError::of_io(&self.name, error);
        let mut raw = self.raw;
        // A file without a byte is empty, however it would be packed.
        let mut start = Vec::new();
        if !is_plain {
            raw.by_ref().take(1).read_to_end(&mut start).map_err(failed)?;
        }
        let is_empty = start.is_empty();
        let raw = Cursor::new(start).chain(raw);
        let bytes: Box<dyn Read + Send> = match self.options.encoding.compression {
            Compression::Gzip if !is_empty => {
                let unpacked = within(raw, limits, |raw| Ok(flate2::read::MultiGzDecoder::new(raw)));
                Box::new(unpacked.map_err(failed)?)
            }
            Compression::Zstd if !is_empty => {
                Box::new(within(raw, limits, zstd::Decoder::new).map_err(failed)?)
            }
            _ => Box::new(raw),
        };
        let bytes = SkipMark { bytes, held: Vec::new(), started: false };
        let (linger, last_read) = (self.options.linger, self.options.last_read);
        let bytes = Box::new(bytes);
        Ok(TextInput { name: self.name, bytes, origin, is_kept, cut, patience, linger, last_read, limits })
    }
}

/// Whether a location can be opened for reading.
///
/// # Errors
/// If it is missing, may not be read or is a directory.
pub fn check_readable(location: &Location) -> Result<(), OpenError> {
    open_location(location).map(|_| ())
}

fn open_input(options: &InputOptions) -> Result<(Arc<str>, Arc<File>, Metadata), OpenError> {
    if let Some(pipe) = &options.pipe.0 {
        let name = options.location.name();
        let missing = |source| OpenError::Missing { source_name: Arc::clone(&name), source };
        let metadata = pipe.metadata().map_err(missing)?;
        return Ok((name, Arc::clone(pipe), metadata));
    }
    open_location(&options.location).map(|(name, file, metadata)| (name, Arc::new(file), metadata))
}

fn open_location(location: &Location) -> Result<(Arc<str>, File, Metadata), OpenError> {
    let name = location.name();
    let opened = match location {
        Location::Path(path) => open_path(path),
        Location::Standard => io::stdin().as_fd().try_clone_to_owned().map(File::from),
    };
    let missing = |source| OpenError::Missing { source_name: Arc::clone(&name), source };
    let file = opened.map_err(missing)?;
    let metadata = file.metadata().map_err(missing)?;
    if metadata.is_dir() {
        return Err(OpenError::IsDirectory { source_name: name });
    }
    Ok((name, file, metadata))
}

fn open_path(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    if is_pipe(path)? {
        // Otherwise opening waits for a writer, deaf to the stop flag.
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    options.read(true).open(path)
}

fn is_pipe(path: &Path) -> io::Result<bool> {
    Ok(path.metadata()?.file_type().is_fifo())
}

/// The bytes of a text file, and whether they ended before their time.
pub(crate) struct TextInput {
    pub(crate) name: Arc<str>,
    pub(crate) bytes: Box<dyn Read + Send>,
    pub(crate) origin: Origin,
    /// See [`InputOptions::is_kept`].
    pub(crate) is_kept: bool,
    pub(crate) cut: Cut,
    pub(crate) patience: Patience,
    pub(crate) linger: Duration,
    pub(crate) last_read: Option<LastRead>,
    pub(crate) limits: Limits,
}

/// What a text is made of.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// Of a file, byte by byte.
    Plain(Arc<StoredFile>),
    /// Of what a file holds: unpacked, or otherwise.
    Made(Arc<StoredFile>),
    /// Of something that is no regular file, or nobody asks.
    Stream,
}

/// Until when a read of a pipe may wait. Past that it fails with `WouldBlock`,
/// and whatever unpacks the bytes goes on where it was when it reads again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience(Arc<Mutex<Option<Instant>>>);

impl Patience {
    /// `None` for ever.
    pub(crate) fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn left(&self) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.map(|until| until.saturating_duration_since(Instant::now()))
    }
}

/// Whether an input was ended by the stop flag: what follows from that, such as
/// half a record or half a frame, is then no error.
#[derive(Clone, Debug)]
pub(crate) struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Of an input that no flag ends.
    pub(crate) fn never() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A file, pipe or device that counts what is read and can be ended.
pub(crate) struct RawInput {
    name: Arc<str>,
    pub(crate) file: Arc<File>,
    /// The same, if it is a regular file.
    pub(crate) stored: Option<Arc<StoredFile>>,
    /// Whether a read may wait for a writer.
    pub(crate) waits: bool,
    stop: Option<Arc<AtomicBool>>,
    cut: Arc<AtomicBool>,
    patience: Patience,
    gate_timeout: Option<GateTimeout>,
    progress: Progress,
    readiness: Readiness,
}

impl RawInput {
    pub(crate) fn cut(&self) -> Cut {
        Cut(Arc::clone(&self.cut))
    }

    fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Waits for something to read; `false` if the input is to end instead.
    fn wait(&self) -> io::Result<bool> {
        const INTERVAL: Duration = Duration::from_millis(100);
        /// How long a pipe may have nothing until it is called silent.
        const BREATH: Duration = Duration::from_millis(5);
        let mut silence = None;
        loop {
            if self.is_stopped() {
                return Ok(false);
            }
            let patience = self.patience.left();
            let for_gates = self.gate_timeout.as_ref().and_then(GateTimeout::left);
            let wait = [patience, for_gates]
                .into_iter()
                .flatten()
                .fold(if silence.is_none() { BREATH } else { INTERVAL }, Duration::min);
            let timeout = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) if patience.is_some_and(|left| left <= wait) => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(0) if let Some(late) = self.gate_timeout.as_ref().filter(|timeout| timeout.is_over()) => {
                    late.strike();
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Ok(0) | Err(rustix::io::Errno::INTR) => {
                    silence.get_or_insert_with(|| self.readiness.wait_for(&self.name));
                }
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for RawInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.waits && !self.wait()? {
                self.cut.store(true, Ordering::Relaxed);
                return Ok(0);
            }
            match (&*self.file).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.waits && error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(len) => {
                    if let (0, Some(stored), false) = (len, &self.stored, buffer.is_empty()) {
                        stored.check_whole()?;
                    }
                    if len == 0 && self.waits && self.stop.is_some() {
                        // Its writer may have been ended by what is to end this process, too.
                        pending::let_arrive();
                        if self.is_stopped() {
                            self.cut.store(true, Ordering::Relaxed);
                        }
                    }
                    self.progress.add(len as u64);
                    return Ok(len);
                }
            }
        }
    }
}

impl Seek for RawInput {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self.file).seek(to)
    }
}

/// Leaves out a UTF-8 byte order mark in front.
struct SkipMark<R> {
    bytes: R,
    /// What was read in search of the mark and is none.
    held: Vec<u8>,
    started: bool,
}

impl<R: Read> Read for SkipMark<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const MARK: &[u8] = b"\xEF\xBB\xBF";
        if !self.started {
            self.bytes.by_ref().take(MARK.len() as u64).read_to_end(&mut self.held)?;
            self.started = true;
            if self.held == MARK {
                self.held.clear();
            }
        }
        if self.held.is_empty() {
            return self.bytes.read(buffer);
        }
        let len = self.held.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.held[..len]);
        self.held.drain(..len);
        Ok(len)
    }
}

/// A text input from memory, of which at most 64 MiB are taken.
#[cfg(test)]
pub(crate) fn memory(bytes: impl Read) -> TextInput {
    let mut owned = Vec::new();
    bytes.take(64 << 20).read_to_end(&mut owned).expect("from memory");
    let bytes = Box::new(io::Cursor::new(owned));
    let (cut, patience, linger) = (Cut(Arc::default()), Patience::default(), Duration::ZERO);
    let (name, origin) = ("memory".into(), Origin::Stream);
    let (is_kept, last_read, limits) = (true, None, Limits::default());
    TextInput { name, bytes, origin, is_kept, cut, patience, linger, last_read, limits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip_mark(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        SkipMark { bytes, held: Vec::new(), started: false }.read_to_end(&mut out).expect("from memory");
        out
    }

    #[test]
    fn only_a_whole_mark_in_front_is_skipped() {
        assert_eq!(skip_mark(b"\xEF\xBB\xBFa\xEF\xBB\xBF"), b"a\xEF\xBB\xBF");
        assert_eq!(skip_mark(b"\xEF\xBB"), b"\xEF\xBB");
        assert_eq!(skip_mark(b""), b"");
        assert_eq!(skip_mark(b"abcdef"), b"abcdef");
    }
}
