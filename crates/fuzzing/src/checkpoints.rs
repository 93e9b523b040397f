//! Folders of checkpoints with other bytes than those that were written: what is found is
//! what was kept, or an error; and what has the right hashes and makes no sense is an
//! error, too.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use tradejoin_checkpoint::{Checkpoint, Job, Manifest, Store};
use tradejoin_disk::{Disk as _, SimulatedDisk};
use tradejoin_flow::{Cut, Keep as _, NothingPrepared, SourcePosition};
use tradejoin_model::{
    ChangeKind, ChangeLane, Column, ColumnType, Held, HeldRows, HeldTrade, Key, Keys, Ledger, OutputColumn,
    Position, RecentTrade, RecentTrades, TableSpec, TextColumn, Written,
};
use twox_hash::XxHash64;

const FOLDER: &str = "checkpoints";
const LATEST: &str = "manifest-2.json";

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

fn job() -> Job {
    let outputs = vec![
        OutputColumn::field("text", 0, ColumnType::Text),
        OutputColumn::field("number", 1, ColumnType::Integer),
    ];
    let spec = TableSpec { outputs, ..TableSpec::new("table", "id") };
    let query = BTreeMap::from([("trades".to_owned(), "trades.csv".to_owned())]);
    Job { query, tables: vec![spec], keep: 2 }
}

fn lane(value: i64) -> ChangeLane {
    let mut texts = TextColumn::default();
    texts.push(Some("short"));
    texts.push(Some("a text that is too long to be held inline"));
    let symbols = ["SPY241103C00200000", "ABCDEF000229P00000001"].map(|text| text.parse().expect("a symbol"));
    ChangeLane {
        at_rows: vec![0; 2],
        keys: vec![Key(1), Key(2)].into(),
        kinds: vec![ChangeKind::Upsert, ChangeKind::Delete],
        fields: vec![
            Column::Text(texts),
            Column::Integers(vec![value, -value]),
            Column::Options(symbols.to_vec()),
        ],
        valid_from: vec![value, value + 1],
        ..ChangeLane::default()
    }
}

fn held(number: u64) -> Held {
    let ids = UInt32Array::from(vec![5, 6]);
    let column: ArrayRef = Arc::new(ids.clone());
    let trades = RecordBatch::try_from_iter([("instrument_id", column)]).expect("one column");
    let rows = HeldRows { trades, keys: vec![Keys::from(ids)], columns: vec![Column::Integers(vec![1, 2])] };
    let trade = |row| HeldTrade {
        chunk: 0,
        row,
        number: number + u64::from(row),
        waits_for: 1,
        lacks: 0,
        waited: Default::default(),
        time: (row == 0).then_some(7),
    };
    let recent = |row| RecentTrade {
        chunk: 0,
        row,
        number: number + u64::from(row),
        time: (row == 1).then_some(8),
        last_time: 9,
        until: 10,
        lacks: 1,
        revision: row,
    };
    let recent = |row| RecentTrades { chunks: vec![rows.clone()], trades: vec![recent(row)] };
    let written = Some(Written { recent: recent(0), waiting: recent(1), latest_time: 8 });
    Held { chunks: vec![rows.clone()], trades: vec![trade(0), trade(1)], latest_time: 9, written }
}

/// Two checkpoints that share no file.
fn kept() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let store = Store::open(Arc::new(disk.clone()), Path::new(FOLDER)).expect("a folder");
    let mut keeper = store.begin(job(), None).expect("a beginning");
    for trades in 1..=2 {
        keeper.rows(0, &lane(trades as i64)).expect("taken");
        let mut ledger = Ledger::new(1);
        (ledger.rows_read, ledger.enriched, ledger.tables[0].matched) = (trades, trades, trades);
        let cut = Cut {
            source: SourcePosition::default(),
            trades,
            position: Position(trades),
            ledger,
            held: Some(held(trades)),
            bad: BTreeMap::new(),
            output: Box::new(NothingPrepared),
            end: None,
        };
        keeper.keep(cut).expect("kept");
    }
    disk.sync_folder(Path::new(FOLDER)).expect("synced");
    disk
}

/// The folder as it was kept, and what its checkpoints are.
fn original() -> &'static (SimulatedDisk, Vec<Manifest>) {
    static ORIGINAL: OnceLock<(SimulatedDisk, Vec<Manifest>)> = OnceLock::new();
    ORIGINAL.get_or_init(|| {
        let disk = kept();
        let all = store(&disk).all().expect("listed");
        let mut all: Vec<_> =
            all.into_iter().map(|listed| listed.state.expect("whole").manifest().clone()).collect();
        for manifest in &mut all {
            // The same whenever this runs.
            manifest.created = "2024-11-03T00:00:00Z".to_owned();
            put(&disk, &format!("manifest-{}.json", manifest.epoch), &sealed(&body_of(manifest)));
        }
        (disk, all)
    })
}

/// The files of the latest checkpoint, and one of the one before.
fn files() -> [&'static str; 4] {
    let Manifest { tables, held, .. } = &original().1[0];
    let held = held.as_ref().expect("trades that wait");
    [LATEST, &tables[0].segments[0].file, &held.file, "manifest-1.json"]
}

fn store(disk: &SimulatedDisk) -> Store {
    Store::inspect(Arc::new(disk.clone()), Path::new(FOLDER)).expect("a folder")
}

/// What the targets of checkpoints begin with: the name of a target, and the bytes.
///
/// # Panics
/// If checkpoints cannot be kept, which is a bug.
#[must_use]
pub fn checkpoint_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let file = |name: &str| original().0.read(&path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let behind = |which: u8, name: &str| [&[which], &file(name)[..]].concat();
    let [_, segment, held, _] = files();
    let manifest = body_of(&original().1[0]);
    // The first byte of contents tells which file it is, and how many rows.
    let contents = [behind(4, segment), behind(5, held)].map(|bytes| ("checkpoint_contents", bytes));
    let files = (0..).zip(files()).map(|(which, name)| ("checkpoint_files", behind(which, name)));
    files.chain(contents).chain([("manifests", manifest)]).collect()
}

fn put(disk: &SimulatedDisk, name: &str, bytes: &[u8]) {
    let mut file = disk.open(&path(name)).expect("there");
    file.set_len(0).and_then(|()| file.write_all(bytes)).expect("written");
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hash = XxHash64::with_seed(0);
    hash.write(bytes);
    hash.finish()
}

/// What a manifest is behind its last member.
const CHECKSUM: &str = ",\n  \"checksum\": \"";

/// A manifest with the checksum that it should have.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    bytes.extend_from_slice(format!("{CHECKSUM}{:016x}\"\n}}\n", hash(body)).as_bytes());
    bytes
}

/// A manifest but for its last member.
fn body_of(manifest: &Manifest) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(manifest).expect("JSON");
    json.truncate(json.len() - "\n}".len());
    json
}

/// Any bytes in place of a file, the first telling which: what was kept is found, as it
/// was, or nothing.
pub(crate) fn checkpoint_files(bytes: &[u8]) {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    let (disk, manifests) = original();
    let disk = disk.crash(0);
    put(&disk, files()[usize::from(which) % 4], bytes);
    if let Ok(latest) = store(&disk).latest() {
        let latest = latest.expect("there are checkpoints");
        assert!(manifests.contains(latest.manifest()), "no checkpoint that was kept");
        read(&latest).expect("it is whole");
    }
}

/// A manifest with the right checksum, of any content: what is taken makes sense.
pub(crate) fn manifests(body: &[u8]) {
    let disk = original().0.crash(0);
    put(&disk, LATEST, &sealed(body));
    let _ = store(&disk).verify().expect("listed");
    let Ok(Some(latest)) = store(&disk).latest() else { return };
    let manifest = latest.manifest();
    assert_eq!(manifest.ledger.check(), Ok(()));
    let json = serde_json::to_vec_pretty(manifest).expect("JSON");
    assert_eq!(serde_json::from_slice::<Manifest>(&json).expect("a manifest"), *manifest);
    let _ = read(&latest);
    let _ = latest.fits(&job());
}

/// A file of changes (first byte even) or of trades that wait, of which the manifest tells:
/// it is read, or an error.
pub(crate) fn checkpoint_contents(bytes: &[u8]) {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    let (disk, manifests) = original();
    let disk = disk.crash(0);
    let mut manifest = manifests[0].clone();
    let (len, hash) = (bytes.len() as u64, hash(bytes));
    let (name, rows) = if which % 2 == 0 {
        let segment = &mut manifest.tables[0].segments[0];
        (segment.bytes, segment.hash) = (len, hash);
        (segment.file.clone(), &mut segment.rows)
    } else {
        let held = manifest.held.as_mut().expect("trades that wait");
        (held.bytes, held.hash) = (len, hash);
        (held.file.clone(), &mut held.trades)
    };
    // A file without changes is none.
    *rows = u64::from(which / 2).max(1);
    put(&disk, &name, bytes);
    put(&disk, LATEST, &sealed(&body_of(&manifest)));
    let latest = store(&disk).latest().expect("hashes are right").expect("there are checkpoints");
    assert_eq!(latest.manifest(), &manifest);
    if read(&latest).is_ok() {
        let store = Store::open(Arc::new(disk.clone()), Path::new(FOLDER)).expect("a folder");
        // What a run can go on from can be kept again.
        if let Ok(mut keeper) = store.begin(job(), Some(&latest)) {
            let _ = keeper.rows(0, &lane(3));
        }
    }
}

/// Reads all that there is, as a run would.
fn read(checkpoint: &Checkpoint) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if let Some(held) = checkpoint.resume()?.held {
        let is_there = |chunks: &[HeldRows], chunk: u32, row: u32| {
            (row as usize) < chunks[chunk as usize].trades.num_rows()
        };
        assert!(held.trades.iter().all(|trade| is_there(&held.chunks, trade.chunk, trade.row)));
        for RecentTrades { chunks, trades } in held.written.iter().flat_map(|of| [&of.recent, &of.waiting]) {
            assert!(trades.iter().all(|trade| is_there(chunks, trade.chunk, trade.row)));
        }
    }
    for mut table in checkpoint.tables()? {
        while let Some(lane) = table.next()? {
            let fields = lane.fields.iter().map(Column::len).chain([lane.keys.len(), lane.kinds.len()]);
            assert!(fields.into_iter().all(|len| len == lane.len()), "lists of unequal lengths");
        }
    }
    Ok(())
}
