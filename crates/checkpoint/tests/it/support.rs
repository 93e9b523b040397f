//! Changes of small tables, and what a table made of them answers.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow_array::Int64Array;
use proptest::prelude::*;
use tradejoin_checkpoint::{Checkpoint, Job, Keeper, Store};
use tradejoin_disk::{Disk, DiskFile, Mode, SimulatedDisk};
use tradejoin_flow::{Cut, Keep as _, NothingPrepared, Prepared, SourcePosition};
use tradejoin_model::{
    ByTime, ChangeKind, ChangeLane, Column, ColumnType, Found, INTEGER_NULL, Key, Ledger, LookUp, OptionPart,
    OutputColumn, OutputSource, Position, StoredTable, TableSpec, TextColumn,
};

pub(crate) const FOLDER: &str = "checkpoints";
const KEYS: [u32; 6] = [0, 1, 2, 7, 1_000, u32::MAX];
const SYMBOLS: [&str; 3] = ["SPY241103C00200000", "A990101P99999999", "ABCDEF000229C00000001"];

/// A disk before each operation of which, but for those of open files, a test does something.
pub(crate) struct Meddled<F> {
    pub disk: SimulatedDisk,
    pub before: F,
}

impl<F> fmt::Debug for Meddled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl<F: Fn(&str) -> io::Result<()> + Send + Sync> Disk for Meddled<F> {
    fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        (self.before)("create").and_then(|()| self.disk.create(path, mode))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        (self.before)("open").and_then(|()| self.disk.open(path))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        (self.before)("read").and_then(|()| self.disk.read(path))
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        (self.before)("size").and_then(|()| self.disk.size(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.before)("rename").and_then(|()| self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        (self.before)("remove").and_then(|()| self.disk.remove(path))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        (self.before)("sync folder").and_then(|()| self.disk.sync_folder(path))
    }

    fn create_folder(&self, path: &Path, mode: Mode) -> io::Result<()> {
        (self.before)("create folder").and_then(|()| self.disk.create_folder(path, mode))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        (self.before)("list").and_then(|()| self.disk.list(path))
    }
}

/// What kind of table it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub look_up: LookUp,
    /// Whether keys are texts.
    pub texts: bool,
}

/// A change, in numbers that are drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub key: usize,
    pub deletes: bool,
    pub value: u8,
    pub from: i64,
    /// How long the row is valid; 0 for an open one.
    pub time: i64,
    pub version: i64,
}

pub(crate) fn forms() -> impl Strategy<Value = Form> {
    let look_ups = [LookUp::Latest, LookUp::LatestVersion, LookUp::AsOf { tolerance: None }];
    (prop::sample::select(look_ups.to_vec()), any::<bool>())
        .prop_map(|(look_up, texts)| Form { look_up, texts })
}

pub(crate) fn ops() -> impl Strategy<Value = Op> {
    let numbers = (0..KEYS.len(), prop::bool::weighted(0.3), 0..12_u8, 0..6_i64, 0..4_i64, 0..4_i64);
    numbers.prop_map(|(key, deletes, value, from, time, version)| Op {
        key,
        deletes,
        value,
        from,
        time,
        version,
    })
}

pub(crate) fn spec(name: &str, look_up: LookUp) -> TableSpec {
    let symbol = OutputSource::Option(2, OptionPart::Compact);
    let outputs = vec![
        OutputColumn::field("text", 0, ColumnType::Text),
        OutputColumn::field("number", 1, ColumnType::Integer),
        OutputColumn { name: "symbol".to_owned(), source: symbol, column_type: ColumnType::Text },
    ];
    TableSpec { outputs, look_up, ..TableSpec::new(name, "id") }
}

fn key_text(key: usize) -> String {
    // Some are longer than what is held inline.
    format!("{}-{key}", "k".repeat(key * 10))
}

/// The changes as a lane.
pub(crate) fn lane(form: Form, ops: &[Op]) -> ChangeLane {
    let (mut texts, mut numbers, mut symbols) = (TextColumn::default(), Vec::new(), Vec::new());
    for op in ops {
        let long = format!("{}{}", "long ".repeat(8), op.value);
        let text = ["", "short", &long];
        texts.push(text.get(usize::from(op.value % 4)).copied());
        numbers.push(if op.value % 5 == 0 { INTEGER_NULL } else { i64::from(op.value) - 6 });
        symbols.push(SYMBOLS[usize::from(op.value % 3)].parse().expect("a symbol"));
    }
    let mut lane = ChangeLane {
        at_rows: vec![0; ops.len()],
        kinds: ops
            .iter()
            .map(|op| if op.deletes { ChangeKind::Delete } else { ChangeKind::Upsert })
            .collect(),
        fields: vec![Column::Text(texts), Column::Integers(numbers), Column::Options(symbols)],
        ..ChangeLane::default()
    };
    lane.keys = if form.texts {
        let mut keys = TextColumn::default();
        ops.iter().for_each(|op| keys.push(Some(&key_text(op.key))));
        keys.into()
    } else {
        ops.iter().map(|op| Key(KEYS[op.key])).collect::<Vec<_>>().into()
    };
    match form.look_up {
        LookUp::Latest => {}
        LookUp::LatestVersion => lane.versions = ops.iter().map(|op| op.version).collect(),
        LookUp::AsOf { .. } => {
            let since = |op: &Op| if op.from == 0 { INTEGER_NULL } else { op.from };
            lane.valid_from = ops.iter().map(since).collect();
            // No value at all where no change has one.
            if ops.iter().any(|op| op.time > 0) {
                let until = |op: &Op| if op.time == 0 { INTEGER_NULL } else { op.from + op.time };
                lane.valid_to = ops.iter().map(until).collect();
            }
        }
    }
    lane
}

/// A table, and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    form: Form,
    spec: TableSpec,
    stored: StoredTable,
}

impl Table {
    pub(crate) fn new(form: Form) -> Self {
        let spec = spec("table", form.look_up);
        Self { form, stored: StoredTable::new(form.look_up, &spec.outputs), spec }
    }

    pub(crate) fn apply(&mut self, lane: &ChangeLane) {
        self.stored.apply(&self.spec.outputs, lane, 0..lane.len() as u32, None, false);
        self.stored.settle(None, &mut Vec::new());
    }

    /// What every key finds at every time.
    pub(crate) fn answers(&self) -> Vec<String> {
        let mut stored = self.stored.clone();
        let places: Vec<_> = (0..KEYS.len()).flat_map(|key| (0..12).map(move |time| (key, time))).collect();
        let times = Int64Array::from_iter_values(places.iter().map(|&(_, time)| time));
        let numbers: Vec<Option<u32>> = if self.form.texts {
            let (mut keys, mut numbers) = (TextColumn::default(), Vec::new());
            places.iter().for_each(|&(key, _)| keys.push(Some(&key_text(key))));
            stored.number_keys(&keys, 0..places.len() as u32, None, &mut numbers);
            numbers
        } else {
            places.iter().map(|&(key, _)| Some(KEYS[key])).collect()
        };
        let (mut found, mut missed) = (Found::default(), Vec::new());
        let by_time = ByTime { times: Some(&times), ..ByTime::default() };
        stored.find(numbers.into_iter(), |row| row as u32, by_time, None, &mut found, &mut missed);
        let columns = stored.columns().iter().zip(&self.spec.outputs).map(|(own, output)| {
            let mut column = Column::new(output.column_type);
            column.gather(own, None, &found.slots);
            column
        });
        let columns: Vec<_> = columns.collect();
        let value = |column: &Column, row: usize| match column {
            Column::Text(texts) => format!("{:?}", texts.get(row).map(String::from_utf8_lossy)),
            Column::Integers(values) => values[row].to_string(),
            Column::Options(_) => unreachable!("no answer"),
        };
        let answer = |row: usize| {
            let hit = if missed.contains(&(row as u32)) { "-" } else { "+" };
            let values = columns.iter().map(|column| value(column, row));
            std::iter::once(hit.to_owned()).chain(values).collect::<Vec<_>>().join(" ")
        };
        (0..places.len()).map(answer).collect()
    }
}

/// The first table of a checkpoint, as it is restored.
pub(crate) fn restored(form: Form, checkpoint: &Checkpoint) -> Table {
    let mut table = Table::new(form);
    let mut source = checkpoint.tables().expect("tables").remove(0);
    while let Some(lane) = source.next().expect("changes") {
        assert!(lane.at_rows.iter().all(|&row| row == 0) && lane.turns.is_empty() && !lane.is_empty());
        table.apply(&lane);
    }
    table
}

pub(crate) fn job(form: Form) -> Job {
    Job {
        query: BTreeMap::from([("trades".to_owned(), "trades.csv".to_owned())]),
        tables: vec![spec("table", form.look_up)],
        keep: 2,
    }
}

/// A cut behind so many trades, all of which found their row.
pub(crate) fn cut(trades: u64, output: impl Prepared + 'static) -> Cut {
    let mut ledger = Ledger::new(1);
    (ledger.rows_read, ledger.enriched, ledger.tables[0].matched) = (trades, trades, trades);
    Cut {
        source: SourcePosition::default(),
        trades,
        position: Position(trades),
        ledger,
        held: None,
        bad: Default::default(),
        output: Box::new(output),
        end: None,
    }
}

pub(crate) fn keep(keeper: &mut Keeper, trades: u64) -> u64 {
    keeper.keep(cut(trades, NothingPrepared)).expect("kept")
}

/// Goes on from the latest checkpoint, if there is one.
pub(crate) fn reopen(disk: Arc<dyn Disk>, job: Job) -> (Keeper, Option<Checkpoint>) {
    let store = Store::open(disk, Path::new(FOLDER)).expect("opened");
    let latest = store.latest().expect("whole");
    (store.begin(job, latest.as_ref()).expect("begun"), latest)
}
