//! What is refused, what stays and what goes; and what a run gets back.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::types::Int8Type;
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::Schema;
use tradejoin_checkpoint::{Checkpoint, CheckpointError, CheckpointErrorKind, EndState, Job, Keeper, Store};
use tradejoin_disk::{Disk, FaultyDisk, RealDisk, SimulatedDisk};
use tradejoin_flow::{BoxError, End, InputPosition, Keep as _, NothingPrepared, OutputPosition, Prepared};
use tradejoin_model::{
    Column, ColumnType, Held, HeldRows, HeldTrade, Keys, LookUp, OptionPart, OutputColumn, OutputSource,
    RecentTrade, RecentTrades, TableSpec, TextColumn, Written,
};

use crate::support::{FOLDER, Form, Op, cut, job, keep, lane, reopen, spec};

pub(crate) const FORM: Form = Form { look_up: LookUp::Latest, texts: false };

fn open(folder: &Path) -> Result<Store, CheckpointError> {
    Store::open(Arc::new(RealDisk), folder)
}

pub(crate) fn op(value: u8) -> Op {
    Op { key: usize::from(value % 6), deletes: false, value, from: 0, time: 0, version: 0 }
}

pub(crate) fn names(disk: &dyn Disk) -> Vec<String> {
    disk.list(Path::new(FOLDER)).expect("listed")
}

#[test]
fn a_folder_is_made_for_its_owner_and_locked_by_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("new");
    let first = open(&folder).expect("made");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let error = open(&folder).expect_err("it is locked");
    assert_eq!(error.kind(), CheckpointErrorKind::Locked);
    assert!(error.to_string().contains("another run keeps its checkpoints here"), "{error}");
    let mut keeper = first.begin(job(FORM), None).expect("begun");
    keep(&mut keeper, 1);
    assert_eq!(mode(&folder.join("manifest-1.json")), 0o600);
    assert_eq!(open(&folder).expect_err("a run has it").kind(), CheckpointErrorKind::Locked);
    let look = Store::inspect(Arc::new(RealDisk), &folder).expect("it can be looked at");
    let latest = look.latest().expect("whole").expect("one");
    let error = look.begin(job(FORM), Some(&latest)).expect_err("not locked");
    assert_eq!(error.kind(), CheckpointErrorKind::Locked);
    drop(keeper);
    open(&folder).expect("free");
}

#[test]
fn nothing_is_kept_in_the_folder_of_another_run() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("state");
    let mut keeper = open(&folder).and_then(|store| store.begin(job(FORM), None)).expect("begun");
    keep(&mut keeper, 1);
    for is_there in [false, true] {
        fs::rename(&folder, parent.path().join(is_there.to_string())).expect("moved");
        let other = is_there.then(|| open(&folder).expect("free"));
        let error = keeper.keep(cut(2, NothingPrepared)).expect_err("it has lost its folder");
        let error = error.downcast::<CheckpointError>().expect("of checkpoints");
        assert_eq!(error.kind(), CheckpointErrorKind::Io);
        let why = error.source().expect("why").to_string();
        assert!(error.to_string().ends_with("state/lock"), "{error}");
        assert_eq!(why, "somebody has removed or replaced it while this run wrote it");
        assert_eq!(
            fs::read_dir(&folder).map_or(0, Iterator::count),
            usize::from(is_there),
            "the lock of the other"
        );
        drop(other);
        fs::create_dir_all(&folder).expect("a folder");
    }
}

#[test]
fn a_folder_that_others_may_write_in_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for mode in [0o770, 0o707] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).expect("set");
        let error = open(folder.path()).expect_err("refused");
        assert!(error.to_string().contains("chmod go-w"), "{error}");
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("set");
    open(folder.path()).expect("others may look");
}

#[test]
fn the_last_checkpoints_stay_and_nothing_else_does() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    let (mut keeper, _) = reopen(Arc::clone(&disk), Job { keep: 3, ..job(FORM) });
    for trades in 1..=9 {
        keeper.rows(0, &lane(FORM, &[op(trades as u8)])).expect("taken");
        keep(&mut keeper, trades);
        let store = Store::inspect(Arc::clone(&disk), Path::new(FOLDER)).expect("there");
        let all = store.verify().expect("listed");
        let epochs: Vec<_> = all.iter().map(|listed| listed.epoch).collect();
        let expected: Vec<_> = (1..=trades).rev().take(3).collect();
        assert_eq!(epochs, expected);
        assert!(all.iter().all(|listed| listed.state.is_ok()));
        let needed: std::collections::BTreeSet<_> = all
            .iter()
            .filter_map(|listed| listed.state.as_ref().ok())
            .flat_map(|whole| &whole.manifest().tables[0].segments)
            .map(|segment| segment.file.clone())
            .collect();
        let there: Vec<_> =
            names(disk.as_ref()).into_iter().filter(|name| name.starts_with("table")).collect();
        assert!(there.iter().eq(&needed), "{there:?} instead of {needed:?}");
    }
}

#[test]
fn what_a_dead_run_left_goes_when_the_next_begins() {
    let disk = SimulatedDisk::new();
    let (mut keeper, _) = reopen(Arc::new(disk.clone()), job(FORM));
    keeper.rows(0, &lane(FORM, &[op(1)])).expect("taken");
    keep(&mut keeper, 1);
    drop(keeper);
    let whole = names(&disk);
    // It dies at each of the operations of the next checkpoint in turn.
    for at in 1.. {
        let faults = format!("eio@{at}:ever").parse().expect("faults");
        let faulty: Arc<dyn Disk> = Arc::new(FaultyDisk::new(Arc::new(disk.crash(0)), faults));
        let store = Store::open(Arc::clone(&faulty), Path::new(FOLDER));
        let begun = store.and_then(|store| {
            let latest = store.latest()?;
            store.begin(job(FORM), latest.as_ref())
        });
        let ended = begun.map_err(BoxError::from).and_then(|mut keeper| {
            keeper.rows(0, &lane(FORM, &[op(2), op(3)]))?;
            keeper.keep(cut(2, NothingPrepared))
        });
        let left = names(faulty.as_ref());
        if ended.is_ok() {
            assert!(at > 8 && left.contains(&"manifest-2.json".to_owned()), "{left:?}");
            break;
        }
        assert!(whole.iter().all(|name| left.contains(name)), "{whole:?} and {left:?}");
    }
    let stray = ["manifest.tmp", "held-9.arrow", "table-0-2-0.arrow", "notes.txt"];
    stray.iter().for_each(|name| {
        drop(disk.create(&Path::new(FOLDER).join(name), tradejoin_disk::Mode::Private).expect("made"))
    });
    drop(reopen(Arc::new(disk.clone()), job(FORM)));
    let expected: Vec<_> = whole.iter().cloned().chain(["notes.txt".to_owned()]).collect();
    assert!(names(&disk).iter().all(|name| expected.contains(name)), "{:?}", names(&disk));
    assert!(names(&disk).contains(&"notes.txt".to_owned()), "what is not ours stays");
}

#[test]
fn an_error_of_the_system_is_told_as_it_is() {
    let disk = SimulatedDisk::new();
    let (mut keeper, _) = reopen(Arc::new(disk.clone()), job(FORM));
    disk.set_capacity(Some(100));
    keeper.rows(0, &lane(FORM, &[op(1)])).expect("it is not written yet");
    let error = keeper.keep(cut(1, NothingPrepared)).expect_err("the disk is full");
    let error = error.downcast::<CheckpointError>().expect("an error of this crate");
    assert_eq!(error.kind(), CheckpointErrorKind::Io);
    let CheckpointError::Io { source, file, .. } = *error else { panic!("{error}") };
    assert_eq!(
        (source.kind(), file),
        (std::io::ErrorKind::StorageFull, Path::new(FOLDER).join("table-0-1-0.arrow"))
    );
}

fn misfit(checkpoint: &Checkpoint, job: &Job) -> String {
    let error = checkpoint.fits(job).expect_err("another job");
    assert_eq!(error.kind(), CheckpointErrorKind::DoesNotFit);
    error.to_string()
}

#[test]
fn a_checkpoint_of_another_job_is_refused_with_the_difference() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    let (mut keeper, none) = reopen(Arc::clone(&disk), job(FORM));
    assert!(none.is_none());
    keep(&mut keeper, 1);
    let (_, latest) = reopen(Arc::clone(&disk), job(FORM));
    let latest = latest.expect("one");
    let mut other = job(FORM);
    other.query.insert("trades".to_owned(), "other.csv".to_owned());
    assert_eq!(
        misfit(&latest, &other),
        "checkpoints/manifest-1.json: the checkpoint is of another job: trades is \"trades.csv\" there, and \
         \"other.csv\" now"
    );
    other.query.remove("trades");
    assert!(misfit(&latest, &other).ends_with("trades is \"trades.csv\" there, and nothing now"));
    let other = Job { tables: vec![spec("users", LookUp::Latest)], ..job(FORM) };
    assert!(misfit(&latest, &other).ends_with("it has tables table, and the job users"));
    let store = Store::open(disk, Path::new(FOLDER)).expect("opened");
    store.begin(other, Some(&latest)).expect_err("refused here, too");
}

#[test]
fn what_tables_hold_is_compared_behind_all_else_and_where_it_is_told() {
    let kept = |query: BTreeMap<String, String>| {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
        let (mut keeper, _) = reopen(Arc::clone(&disk), Job { query, ..job(FORM) });
        keep(&mut keeper, 1);
        Store::inspect(disk, Path::new(FOLDER)).expect("there").latest().expect("whole").expect("one")
    };
    let mut query = job(FORM).query;
    let earlier = kept(query.clone());
    query.insert("table a: column n".to_owned(), "Int64".to_owned());
    let latest = kept(query.clone());
    let mut now = Job { query, ..job(FORM) };
    latest.fits(&now).expect("the same");
    earlier.fits(&now).expect("it does not tell");
    now.query.insert("table a: column n".to_owned(), "Timestamp(ms)".to_owned());
    let other = "table a: column n is \"Int64\" there, and \"Timestamp(ms)\" now";
    assert!(misfit(&latest, &now).ends_with(other));
    earlier.fits(&now).expect("it does not tell");
    now.query.remove("table a: column n");
    assert!(misfit(&latest, &now).ends_with("table a: column n is \"Int64\" there, and nothing now"));
    now.query.insert("trades".to_owned(), "other.csv".to_owned());
    assert!(misfit(&latest, &now).contains("trades is \"trades.csv\" there"));
}

#[test]
fn a_checkpoint_fits_a_job_whose_columns_can_be_made_of_its_fields() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    let (mut keeper, _) = reopen(Arc::clone(&disk), job(FORM));
    keeper.changes(0, &[lane(FORM, &[op(1)])]).expect("taken");
    keep(&mut keeper, 1);
    let store = Store::inspect(disk, Path::new(FOLDER)).expect("there");
    let checkpoint = store.latest().expect("whole").expect("one");
    // Field 0 is a text, field 1 an integer, field 2 an option.
    let fits = |output| {
        let table = TableSpec { outputs: vec![output], ..spec("table", LookUp::Latest) };
        checkpoint.fits(&Job { tables: vec![table], ..job(FORM) })
    };
    let option = |field| {
        let source = OutputSource::Option(field, OptionPart::Compact);
        OutputColumn { name: "symbol".to_owned(), source, column_type: ColumnType::Text }
    };
    fits(OutputColumn::field("text", 0, ColumnType::Text)).expect("a text");
    fits(OutputColumn::field("number", 1, ColumnType::Integer)).expect("an integer");
    fits(option(2)).expect("an option");
    for other in [
        OutputColumn::field("text", 1, ColumnType::Text),
        OutputColumn::field("number", 0, ColumnType::Integer),
        OutputColumn::field("number", 3, ColumnType::Integer),
        option(0),
        option(3),
    ] {
        let name = format!("{other:?}");
        let error = fits(other).expect_err(&name);
        assert!(error.to_string().contains("its fields are not those of its table"), "{name}: {error}");
    }
}

#[test]
fn a_run_is_told_the_number_and_the_bytes_of_each_checkpoint() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    let (mut keeper, _) = reopen(Arc::clone(&disk), job(FORM));
    assert_eq!(keeper.epoch(), 1);
    keeper.changes(0, &[lane(FORM, &[op(1)])]).expect("taken");
    let mut cut = cut(1, NothingPrepared);
    cut.held = Some(Held::default());
    let bytes = keeper.keep(cut).expect("kept");
    let sizes = |start: &str| -> u64 {
        let names = names(disk.as_ref()).into_iter().filter(|name| name.starts_with(start));
        names.filter_map(|name| disk.size(&Path::new(FOLDER).join(name)).expect("readable")).sum()
    };
    let parts = ["manifest-", "table-", "held-"].map(sizes);
    assert!(parts.iter().all(|&part| part > 0), "{parts:?}");
    assert_eq!((bytes, keeper.epoch()), (parts.iter().sum(), 2));
    // As large a file again, and the one that the two are made into.
    keeper.changes(0, &[lane(FORM, &[op(2)])]).expect("taken");
    let bytes = keep(&mut keeper, 2);
    assert_eq!(bytes, sizes("table-0-1-") + sizes("table-0-2-") + sizes("manifest-2."));
    drop(keeper);
    let (keeper, _) = reopen(disk, job(FORM));
    assert_eq!(keeper.epoch(), 3);
}

#[test]
fn a_folder_has_one_owner_however_it_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let owner = |path: &Path| {
        let store = open(path).expect("opened");
        assert_eq!(store.folder(), path);
        store.owner()
    };
    let (of_first, of_second) = (owner(&first), owner(&second));
    assert_ne!(of_first, of_second);
    assert_eq!(owner(&second.join("../first")), of_first);
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    assert!(of_first.len() == 16 && of_first.bytes().all(is_digit), "{of_first}");
}

#[test]
fn a_folder_that_goes_while_it_is_looked_at_has_no_checkpoints() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("checkpoints");
    let mut keeper = open(&folder).expect("made").begin(job(FORM), None).expect("begun");
    keep(&mut keeper, 1);
    drop(keeper);
    let looked_at = Store::inspect(Arc::new(RealDisk), &folder).expect("there");
    assert!(looked_at.latest().expect("whole").is_some());
    let held = open(&folder).expect("free");
    fs::remove_dir_all(&folder).expect("removed");
    assert!(looked_at.latest().expect("nothing to read").is_none());
    let error = held.latest().expect_err("a run needs its folder");
    assert_eq!(error.kind(), CheckpointErrorKind::Io);
    let error = Store::inspect(Arc::new(RealDisk), &folder).expect_err("missing");
    assert_eq!(error.kind(), CheckpointErrorKind::Io);
}

#[test]
fn a_folder_is_cleared_on_request_alone() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    let (mut keeper, _) = reopen(Arc::clone(&disk), job(FORM));
    keep(&mut keeper, 1);
    drop(keeper);
    let store = || Store::open(Arc::clone(&disk), Path::new(FOLDER)).expect("opened");
    let error = store().begin(job(FORM), None).expect_err("there is one");
    assert!(error.to_string().contains("checkpoints of an earlier run"), "{error}");
    store().clear().expect("cleared");
    assert_eq!(names(disk.as_ref()), Vec::<String>::new());
    store().begin(job(FORM), None).expect("begun");
}

/// An output that tells what it is, and when it was called.
struct Told(Arc<SimulatedDisk>);

impl Prepared for Told {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        assert!(self.0.list(Path::new(FOLDER))?.is_empty(), "it is durable before anything else");
        Ok(vec![OutputPosition { name: "out.csv".to_owned(), bytes: 7, ..OutputPosition::default() }])
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        let left = self.0.crash(3);
        assert!(left.size(&Path::new(FOLDER).join("manifest-1.json"))?.is_some(), "the checkpoint counts");
        Ok(())
    }
}

fn texts(texts: &[Option<&str>]) -> TextColumn {
    let mut column = TextColumn::default();
    texts.iter().for_each(|text| column.push(*text));
    column
}

#[test]
fn a_run_gets_back_what_was_cut() {
    let disk = Arc::new(SimulatedDisk::new());
    let (mut keeper, _): (Keeper, _) = reopen(Arc::clone(&disk) as Arc<dyn Disk>, job(FORM));
    let sides: DictionaryArray<Int8Type> = [Some("buy"), None, Some("sell")].into_iter().collect();
    let trades = RecordBatch::try_from_iter_with_nullable([("side", Arc::new(sides) as ArrayRef, true)])
        .expect("a batch");
    let none = RecordBatchOptions::new().with_row_count(Some(1));
    let bare = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &none).expect("a batch");
    let long = "a text that is too long to be held inline";
    let chunks = vec![
        HeldRows {
            trades: trades.clone(),
            keys: vec![UInt32Array::from(vec![Some(1), None, Some(u32::MAX)]).into()],
            columns: vec![
                Column::Text(texts(&[Some(long), None, Some("")])),
                Column::Integers(vec![1, i64::MIN, 3]),
            ],
        },
        HeldRows { trades: bare, keys: vec![texts(&[Some(long)]).into()], columns: vec![] },
    ];
    let waiting = vec![
        HeldTrade {
            chunk: 0,
            row: 2,
            number: 5,
            waits_for: 1,
            lacks: 0,
            waited: Duration::new(3, 4),
            time: None,
        },
        HeldTrade {
            chunk: 1,
            row: 0,
            number: 9,
            waits_for: 0,
            lacks: 1,
            waited: Duration::MAX,
            time: Some(i64::MIN),
        },
    ];
    let mut cut = cut(9, Told(Arc::clone(&disk)));
    cut.source.inputs.push(InputPosition {
        name: "trades.csv".to_owned(),
        records: 9,
        ..InputPosition::default()
    });
    cut.end = Some(End::Interrupted);
    let recent = |chunk, row, time| RecentTrade {
        chunk,
        row,
        number: 3,
        time,
        last_time: i64::MAX,
        until: u64::MAX,
        lacks: 1,
        revision: u32::MAX,
    };
    let recents = [vec![recent(1, 0, None), recent(0, 1, Some(-7))], vec![recent(0, 0, Some(0))]];
    let [written, caught_up] = recents
        .clone()
        .map(|trades| RecentTrades { chunks: chunks[..=trades[0].chunk as usize].to_vec(), trades });
    let written = Some(Written { recent: written, waiting: caught_up, latest_time: i64::MIN });
    cut.held = Some(Held { chunks, trades: waiting.clone(), latest_time: -1, written });
    let (source, ledger) = (cut.source.clone(), cut.ledger.clone());
    keeper.keep(cut).expect("kept");

    let (_, latest) = reopen(disk, job(FORM));
    let latest = latest.expect("one");
    let manifest = latest.manifest();
    assert_eq!(
        (&manifest.source, &manifest.ledger, manifest.end),
        (&source, &ledger, Some(EndState::Interrupted))
    );
    assert_eq!((manifest.outputs[0].bytes, manifest.outputs[0].name.as_str()), (7, "out.csv"));
    assert_eq!((manifest.tradejoin.as_str(), manifest.created.len()), (env!("CARGO_PKG_VERSION"), 20));
    let resume = latest.resume().expect("resumed");
    assert_eq!((resume.trades, resume.position.0, &resume.ledger), (9, 9, &ledger));
    let held = resume.held.expect("held");
    assert_eq!((held.trades, held.latest_time), (waiting, -1));
    let Some(Written { recent, waiting, latest_time: i64::MIN }) = held.written else { panic!("written") };
    assert_eq!([recent.trades, waiting.trades], recents);
    assert_eq!([recent.chunks.len(), waiting.chunks.len()], [2, 1]);
    assert_eq!(recent.chunks[0].trades, trades);
    assert_eq!(manifest.held.as_ref().map(|held| (held.trades, held.recent)), Some((2, 2)));
    let [first, second] = held.chunks.as_slice() else { panic!("two chunks") };
    assert_eq!(first.trades, trades);
    assert_eq!((second.trades.num_rows(), second.trades.num_columns()), (1, 0));
    let Keys::Ids(ids) = &first.keys[0] else { panic!("ids") };
    assert_eq!(ids, &UInt32Array::from(vec![Some(1), None, Some(u32::MAX)]));
    assert_eq!(second.keys[0].get(0).expect("a key").to_string(), long);
    let [Column::Text(column), Column::Integers(numbers)] = first.columns.as_slice() else {
        panic!("two columns")
    };
    let got: Vec<_> = (0..3).map(|row| column.get(row)).collect();
    assert_eq!(
        (got, numbers.as_slice()),
        (vec![Some(long.as_bytes()), None, Some(&b""[..])], &[1, i64::MIN, 3][..])
    );
}

#[test]
fn a_checkpoint_that_could_not_be_read_again_is_not_made() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    let (mut keeper, _) = reopen(Arc::clone(&disk), job(FORM));
    keep(&mut keeper, 1);
    // As of very many files that were written since the one before.
    let mut long = cut(2, NothingPrepared);
    let input = InputPosition { name: "x".repeat(64 << 20), ..InputPosition::default() };
    long.source = input.into();
    let error = keeper.keep(long).expect_err("too long");
    let error = error.source().expect("a cause").to_string();
    assert!(error.contains("bytes of at most 67108864: make checkpoints more often"), "{error}");
    drop(keeper);
    let (_, latest) = reopen(disk, job(FORM));
    assert_eq!(latest.expect("the one before").manifest().epoch, 1);
}
