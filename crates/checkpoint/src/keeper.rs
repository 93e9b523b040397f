//! Keeps a run: the steps of a checkpoint, in their order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use chrono::{DateTime, SecondsFormat};
use tradejoin_disk::Mode;
use tradejoin_flow::{BoxError, Cut, Keep, OutputPosition};
use tradejoin_model::{ChangeLane, TableSpec};

use crate::checkpoint::Checkpoint;
use crate::error::{CheckpointError, CheckpointErrorKind};
use crate::held;
use crate::log::{Place, TableLog};
use crate::manifest::{BYTES_MAX, FORMAT, HeldState, Manifest, TableState};
use crate::names;
use crate::store::Store;

/// What a run does, and how it is kept.
#[derive(Clone, Debug)]
pub struct Job {
    /// What determines the output, by names: a checkpoint of other values is not gone on
    /// from. Names of several words are of what the tables hold: they are compared behind the
    /// others, and not at all with a checkpoint that has none of them, as those of earlier
    /// versions.
    pub query: BTreeMap<String, String>,
    /// The tables.
    pub tables: Vec<TableSpec>,
    /// How many checkpoints stay, at least 1: the last ones.
    pub keep: usize,
}

/// Keeps a run.
pub struct Keeper {
    store: Store,
    query: BTreeMap<String, String>,
    keep: usize,
    /// The number of the checkpoint under way.
    epoch: u64,
    tables: Vec<TableLog>,
    /// The checkpoints that stay, the newest last, with the files of each.
    kept: VecDeque<(u64, BTreeSet<String>)>,
}

impl Keeper {
    pub(crate) fn new(store: Store, job: Job, from: Option<&Checkpoint>) -> Result<Self, CheckpointError> {
        let Job { query, tables, keep } = job;
        let segments = |number: usize| {
            from.map(|from| from.manifest.tables[number].segments.clone()).unwrap_or_default()
        };
        let tables = tables.into_iter().enumerate();
        let tables = tables.map(|(number, spec)| TableLog::new(number, spec, segments(number))).collect();
        let mut kept = VecDeque::new();
        for epoch in store.epochs()? {
            kept.push_front((epoch, files_of_kept(&store, epoch, from)?));
        }
        if from.is_some() {
            // Its run may have died just before it said so.
            store.say_kept()?;
        }
        let epoch = from.map_or(0, |from| from.manifest.epoch) + 1;
        let mut keeper = Self { store, query, keep: keep.max(1), epoch, tables, kept };
        keeper.clean()?;
        Ok(keeper)
    }

    /// The number of the next checkpoint.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    fn place(store: &Store, epoch: u64) -> Place<'_> {
        Place { store, epoch }
    }

    fn commit(&mut self, mut cut: Cut) -> Result<u64, BoxError> {
        self.store.check_lock()?;
        let outputs = cut.output.make_durable()?;
        let bytes = self.write(&cut, outputs)?;
        cut.output.publish()?;
        self.store.check_lock()?;
        self.clean()?;
        Ok(bytes)
    }

    /// Writes a checkpoint up to the point from which on it counts.
    fn write(&mut self, cut: &Cut, outputs: Vec<OutputPosition>) -> Result<u64, CheckpointError> {
        let place = Self::place(&self.store, self.epoch);
        let mut bytes = 0;
        for table in &mut self.tables {
            bytes += table.keep(&place)?;
        }
        let held = cut.held.as_ref();
        let held = held.map(|held| {
            held::write(place.store.disk().as_ref(), place.store.folder(), names::held(self.epoch), held)
        });
        let held = held.transpose()?;
        bytes += held.as_ref().map_or(0, |held| held.bytes);
        let manifest = self.manifest(cut, held, outputs);
        bytes += self.write_manifest(&manifest)?;
        if manifest.epoch == 1 {
            self.store.say_kept()?;
        }
        self.kept.push_back((self.epoch, files_of(&manifest)));
        self.epoch += 1;
        Ok(bytes)
    }

    fn manifest(&self, cut: &Cut, held: Option<HeldState>, outputs: Vec<OutputPosition>) -> Manifest {
        let table = |table: &TableLog| TableState {
            name: table.name().to_owned(),
            segments: table.segments().to_vec(),
        };
        Manifest {
            format: FORMAT,
            tradejoin: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: self.epoch,
            created: now(),
            job: self.query.clone(),
            source: cut.source.clone(),
            trades: cut.trades,
            position: cut.position.0,
            ledger: cut.ledger.clone(),
            bad: cut.bad.clone(),
            tables: self.tables.iter().map(table).collect(),
            held,
            outputs,
            end: cut.end.map(Into::into),
        }
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<u64, CheckpointError> {
        let (disk, folder) = (Arc::clone(self.store.disk()), self.store.folder());
        let (temporary, path) = (folder.join(names::TEMPORARY), folder.join(names::manifest(manifest.epoch)));
        let io = |doing| CheckpointError::io(&temporary, doing);
        let bytes = manifest.to_bytes().map_err(|error| io("write to it")(error.into()))?;
        if bytes.len() > BYTES_MAX {
            // None could be gone on from: so many files were written since the one before.
            let text = format!(
                "it would have {} bytes of at most {BYTES_MAX}: make checkpoints more often",
                bytes.len()
            );
            return Err(io("write to it")(std::io::Error::new(std::io::ErrorKind::FileTooLarge, text)));
        }
        let mut file = disk.create(&temporary, Mode::Private).map_err(io("make it"))?;
        file.write_all(&bytes).map_err(io("write to it"))?;
        file.sync().map_err(io("sync it"))?;
        // The names of all that the manifest names are durable before its own is there.
        self.store.sync()?;
        self.store.check_lock()?;
        disk.rename(&temporary, &path).map_err(io("rename it"))?;
        self.store.sync()?;
        Ok(bytes.len() as u64)
    }

    /// Removes all but the last checkpoints, and what none of them needs.
    fn clean(&mut self) -> Result<(), CheckpointError> {
        while self.kept.len() > self.keep {
            self.kept.pop_front();
        }
        let manifests = self.kept.iter().map(|&(epoch, _)| names::manifest(epoch));
        let stays: BTreeSet<_> =
            manifests.chain(self.kept.iter().flat_map(|(_, files)| files.iter().cloned())).collect();
        self.store.remove_unless(|name| name == names::KEPT || stays.contains(name))
    }
}

impl Keep for Keeper {
    fn rows(&mut self, table: usize, lane: &ChangeLane) -> Result<(), BoxError> {
        let place = Self::place(&self.store, self.epoch);
        Ok(self.tables[table].take(&place, lane)?)
    }

    fn changes(&mut self, _: u64, lanes: &[ChangeLane]) -> Result<(), BoxError> {
        let mut lanes = lanes.iter().enumerate().filter(|(_, lane)| !lane.is_empty());
        lanes.try_for_each(|(table, lane)| self.rows(table, lane))
    }

    fn keep(&mut self, cut: Cut) -> Result<u64, BoxError> {
        self.commit(cut)
    }
}

fn files_of(manifest: &Manifest) -> BTreeSet<String> {
    manifest.files().map(str::to_owned).collect()
}

/// The files of a checkpoint that is there; a damaged one needs none.
fn files_of_kept(
    store: &Store,
    epoch: u64,
    from: Option<&Checkpoint>,
) -> Result<BTreeSet<String>, CheckpointError> {
    if let Some(from) = from.filter(|from| from.manifest.epoch == epoch) {
        return Ok(files_of(&from.manifest));
    }
    match store.read(epoch) {
        Ok(checkpoint) => Ok(files_of(&checkpoint.manifest)),
        Err(error) if error.kind() == CheckpointErrorKind::Damaged => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// The time of day: for people, nothing depends on it.
fn now() -> String {
    let since = UNIX_EPOCH.elapsed().unwrap_or_default();
    let time = DateTime::from_timestamp(since.as_secs().cast_signed(), since.subsec_nanos());
    time.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("store", &self.store)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
