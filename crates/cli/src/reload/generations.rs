//! Files of tables as they were when they came into force, to go back to.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tempfile::TempDir;
use tradejoin_connectors::{Compression, Encoding, InputOptions, Limits, Location, OnBadRecord};

use super::tables::Stamp;
use crate::args::RunArgs;
use crate::failure::UsageError;
use crate::temporary::{PRIVATE_FILE, private_folder, remover};

/// Bytes that are copied or compared at a time.
const STEP: usize = 64 << 10;
/// How hard text is packed: fast, since nobody may ever ask for it.
const LEVEL: i32 = 1;

/// Where copies are kept. It goes with the value.
#[derive(Debug)]
pub(crate) struct Store {
    folder: TempDir,
    /// Generations before that in force.
    keep: usize,
    copies: u64,
}

/// The copy of a file. It goes when nobody needs it any more.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    encoding: Encoding,
    on_bad_record: OnBadRecord,
    limits: Limits,
    stamp: Option<Stamp>,
}

/// The copies of a generation, one for each table of a unit, or why there is none.
pub(super) type Generation = Vec<Result<Arc<Kept>, Arc<str>>>;

/// The generations of a unit, the one in force last.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Generation>);

impl Store {
    /// The store of a run, if it is to keep generations.
    pub(crate) fn of(args: &RunArgs) -> anyhow::Result<Option<Self>> {
        let reload = &args.reload;
        let keep = reload.keep_generations as usize;
        let is_kept = args.control.control.is_some() && reload.watch.is_some() && keep > 0;
        is_kept.then(|| Self::create(reload.generations.as_deref(), keep)).transpose()
    }

    /// A folder in `folder`, or where the system has its temporary files.
    pub(super) fn create(folder: Option<&Path>, keep: usize) -> anyhow::Result<Self> {
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let text = format!("--generations {}: there is no such folder", folder.display());
            return Err(UsageError(text).into());
        }
        let folder = private_folder(folder).context("no folder can be made for generations of tables")?;
        Ok(Self { folder, keep, copies: 0 })
    }

    /// What removes the folder, where no value is dropped any more.
    pub(crate) fn remover(&self) -> Box<dyn Fn() + Send> {
        remover(&self.folder)
    }

    /// Copies a file, text packed, unless the run is `done`.
    pub(super) fn keep(
        &mut self,
        path: &Path,
        encoding: Encoding,
        on_bad_record: OnBadRecord,
        limits: Limits,
        done: &AtomicBool,
    ) -> io::Result<Arc<Kept>> {
        self.copies += 1;
        let is_packed = encoding.format.is_text() && encoding.compression == Compression::None;
        let compression = if is_packed { Compression::Zstd } else { encoding.compression };
        let mut kept = Kept {
            path: self.folder.path().join(self.copies.to_string()),
            encoding: Encoding { compression, ..encoding },
            on_bad_record,
            // It is packed here, and unpacks to what was there.
            limits: Limits { unpacked_ratio: u64::MAX, ..limits },
            stamp: None,
        };
        let mut from = open(path)?;
        let mut to =
            BufWriter::new(File::options().write(true).create_new(true).mode(PRIVATE_FILE).open(&kept.path)?);
        if is_packed {
            let mut packer = zstd::Encoder::new(&mut to, LEVEL)?;
            copy(&mut from, &mut packer, done)?;
            packer.finish()?;
        } else {
            copy(&mut from, &mut to, done)?;
        }
        to.flush()?;
        kept.stamp = Stamp::of(&kept.path);
        Ok(Arc::new(kept))
    }
}

impl Kept {
    /// How it is read, in the same way as the file that it is of.
    pub(super) fn input(&self) -> anyhow::Result<InputOptions> {
        anyhow::ensure!(
            Stamp::of(&self.path) == self.stamp,
            "the copy that was kept has changed or is gone: {}",
            self.path.display()
        );
        let location = Location::Path(self.path.clone());
        let on_bad_record = self.on_bad_record;
        let limits = self.limits;
        Ok(InputOptions { on_bad_record, limits, ..InputOptions::with_encoding(location, self.encoding) })
    }

    /// Whether a file has the content that was copied.
    pub(super) fn is_content_of(&self, path: &Path, of: Encoding, done: &AtomicBool) -> io::Result<bool> {
        let (mut file, copy) = (open(path)?, File::open(&self.path)?);
        if of.compression == self.encoding.compression {
            return is_equal(&mut file, &mut BufReader::new(copy), done);
        }
        is_equal(&mut file, &mut zstd::Decoder::new(copy)?, done)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // The folder goes, too, with all that is in it.
        let _ = fs::remove_file(&self.path);
    }
}

impl History {
    /// A generation comes into force.
    pub(super) fn push(&mut self, generation: Generation, store: &Store) {
        self.0.push_back(generation);
        while self.0.len() > store.keep + 1 {
            self.0.pop_front();
        }
    }

    /// Forgets the copies of the generation in force that are not known to be `good`.
    pub(super) fn forget(&mut self, good: impl Iterator<Item = bool>, why: &str) {
        let copies = self.0.back_mut().into_iter().flatten();
        copies.zip(good).filter(|(_, good)| !good).for_each(|(copy, _)| *copy = Err(why.into()));
    }

    /// The generation in force, if there is any.
    pub(super) fn in_force(&self) -> Option<&Generation> {
        self.0.back()
    }

    /// The generation before, if there is one.
    pub(super) fn before(&self) -> Option<&Generation> {
        self.0.len().checked_sub(2).map(|at| &self.0[at])
    }

    /// The generation before is in force again; gives the other.
    pub(super) fn go_back(&mut self) -> Option<Generation> {
        self.0.pop_back()
    }
}

/// Whether two generations have the same file of a table.
pub(super) fn is_same(a: &Result<Arc<Kept>, Arc<str>>, b: &Result<Arc<Kept>, Arc<str>>) -> bool {
    matches!((a, b), (Ok(a), Ok(b)) if Arc::ptr_eq(a, b))
}

/// Opens the file of a table, unless a pipe has taken its place: nobody may ever write to that.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file any more")) }
}

fn copy(from: &mut impl Read, to: &mut impl io::Write, done: &AtomicBool) -> io::Result<()> {
    let mut step = vec![0; STEP];
    loop {
        match fill(from, &mut step, done)? {
            0 => return Ok(()),
            len => to.write_all(&step[..len])?,
        }
    }
}

fn is_equal(a: &mut impl Read, b: &mut impl Read, done: &AtomicBool) -> io::Result<bool> {
    let (mut of_a, mut of_b) = (vec![0; STEP], vec![0; STEP]);
    loop {
        let (a_len, b_len) = (fill(a, &mut of_a, done)?, fill(b, &mut of_b, done)?);
        if of_a[..a_len] != of_b[..b_len] {
            return Ok(false);
        }
        if a_len == 0 {
            return Ok(true);
        }
    }
}

/// Reads until `step` is full or there is no more.
fn fill(from: &mut impl Read, step: &mut [u8], done: &AtomicBool) -> io::Result<usize> {
    if done.load(Ordering::Relaxed) {
        return Err(io::Error::other("the run is over"));
    }
    let mut len = 0;
    while len < step.len() {
        match from.read(&mut step[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn copies_have_the_content_of_their_files_and_go_with_their_generation() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, done) = (folder.path().join("t.csv"), AtomicBool::new(false));
        fs::write(&path, "id,a\n1,x\n".repeat(20_000)).expect("written");
        let mut store = Store::create(Some(folder.path()), 1).expect("a store");
        let mut history = History::default();
        let plain: Encoding = "csv".parse().expect("an encoding");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
        assert_eq!(mode(store.folder.path()), 0o700);
        let mut keep =
            || store.keep(&path, plain, OnBadRecord::Fail, Limits::default(), &done).expect("a copy");
        let kept = [keep(), keep(), keep()];
        assert!(kept[0].is_content_of(&path, plain, &done).expect("read"));
        assert_eq!(mode(&kept[0].path), 0o600);
        let paths: Vec<_> = kept.iter().map(|kept| kept.path.clone()).collect();
        kept.into_iter().for_each(|kept| history.push(vec![Ok(kept)], &store));
        assert_eq!(paths.iter().map(|path| path.exists()).collect::<Vec<_>>(), [false, true, true]);
        fs::write(&path, "id,a\n1,x\n".repeat(19_999)).expect("written");
        let Some(Ok(before)) = history.before().map(|before| &before[0]) else { panic!("a copy") };
        assert!(!before.is_content_of(&path, plain, &done).expect("read"));
        assert!(before.input().is_ok());
        fs::write(&paths[1], "other").expect("written");
        assert!(before.input().is_err());
        history.go_back();
        assert!(!paths[2].exists() && history.before().is_none());
    }
}
