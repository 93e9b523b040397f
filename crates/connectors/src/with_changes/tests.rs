use std::collections::VecDeque;
use std::sync::Mutex;

use arrow_array::{ArrayRef, Int64Array, UInt32Array};
use proptest::prelude::*;
use tradejoin_flow::InputPosition;
use tradejoin_model::{ChangeKind, ChangeLane, Column, Key};

use super::*;
use crate::change_feed::Fed;
use crate::flaw::{Flaw, Place, Reason};
use crate::table_changes::{Change, ChangeBlock};

const TABLES: usize = 2;

/// Trades, each with its number as its key, in blocks of these lengths.
struct Trades(VecDeque<Messages>);

impl Trades {
    fn new(times: &[Option<i64>], lens: &[usize]) -> Self {
        let mut lens = lens.iter().copied().cycle();
        let (mut blocks, mut at) = (VecDeque::new(), 0);
        while at < times.len() {
            let end = times.len().min(at + lens.next().unwrap_or(times.len()));
            let ids: UInt32Array = (at..end).map(|id| id as u32).collect();
            let column: ArrayRef = Arc::new(ids.clone());
            let trades = RecordBatch::try_from_iter([("instrument_id", column)]).expect("one column");
            let (keys, lanes) = (vec![Keys::from(ids); TABLES], vec![ChangeLane::default(); TABLES]);
            let messages = Messages::new(trades, keys, lanes).expect("messages");
            let times: Int64Array = times[at..end].iter().copied().collect();
            blocks.push_back(messages.with_times(times).expect("as many times"));
            at = end;
        }
        Self(blocks)
    }
}

impl Source for Trades {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        Ok(self.0.pop_front().map(Block::from))
    }

    fn position(&self) -> Option<SourcePosition> {
        Some(InputPosition::default().into())
    }

    fn go_on_from(&mut self, _: &SourcePosition) -> Result<(), BoxError> {
        Ok(())
    }
}

/// What a feed has, one after the other.
struct Script(VecDeque<Fed>);

impl ChangeFeed for Script {
    fn next(&mut self, _: Instant) -> Fed {
        self.0.pop_front().unwrap_or(Fed::End)
    }

    fn start(&self) -> Option<InputPosition> {
        Some(InputPosition::default())
    }
}

/// Changes by table and time, whose keys are their numbers from `first` on.
fn block(changes: &[(usize, i64)], first: usize) -> ChangeBlock {
    let mut lanes = vec![ChangeLane::default(); TABLES];
    for (number, &(table, _)) in changes.iter().enumerate() {
        let lane = &mut lanes[table];
        let keys = vec![Key((first + number) as u32)].into();
        let fields = vec![Column::Integers(vec![1])];
        let one = ChangeLane {
            at_rows: vec![0],
            keys,
            kinds: vec![ChangeKind::Upsert],
            fields,
            ..ChangeLane::default()
        };
        lane.append_rows(&one, &[0]);
    }
    let changes = changes.iter().map(|&(table, time)| Change { table, line: 0, time, place: None }).collect();
    ChangeBlock { changes, lanes, ..ChangeBlock::default() }
}

/// Blocks of these lengths; before some of them there is nothing at first.
fn script(changes: &[(usize, i64)], lens: &[usize], pauses: &[usize]) -> Script {
    let (mut lens, mut pauses) = (lens.iter().copied().cycle(), pauses.iter().copied().cycle());
    let (mut fed, mut at) = (VecDeque::new(), 0);
    while at < changes.len() {
        let end = changes.len().min(at + lens.next().unwrap_or(changes.len()));
        fed.extend((0..pauses.next().unwrap_or(0)).map(|_| Fed::NotYet));
        fed.push_back(Fed::Block(block(&changes[at..end], at)));
        at = end;
    }
    Script(fed)
}

fn options(changes_max: usize) -> WithChangesOptions {
    WithChangesOptions {
        by: ChangesBy::Timestamp,
        tables: TABLES,
        changes_max,
        wait: None,
        stop: None,
        progress: ChangesProgress::default(),
        is_kept: true,
    }
}

/// Of each change its number and the trades before it, by table; and how many trades
/// there were.
type Sequence = (Vec<Vec<(u32, u64)>>, u64);

fn sequence<F: ChangeFeed>(merged: &mut WithChanges<Trades, F>) -> Result<Sequence, BoxError> {
    let (mut places, mut trades) = (vec![Vec::new(); TABLES], 0);
    while let Some(block) = merged.next()? {
        let messages = block.decode()?;
        let rows = messages.trades.num_rows();
        for row in 0..rows {
            let id = messages.keys[0].get(row).expect("an id").to_string();
            assert_eq!(id, (trades + row as u64).to_string(), "trades keep their order");
        }
        assert!(messages.lanes.iter().map(ChangeLane::len).sum::<usize>() <= merged.options.changes_max);
        for (lane, places) in messages.lanes.iter().zip(&mut places) {
            assert!(lane.at_rows.is_sorted() && lane.at_rows.iter().all(|&row| row as usize <= rows));
            for change in 0..lane.len() {
                let number = lane.keys.get(change).to_string().parse().expect("a number");
                places.push((number, trades + u64::from(lane.at_rows[change])));
            }
        }
        trades += rows as u64;
    }
    Ok((places, trades))
}

/// The same, as it is defined.
fn expected(times: &[Option<i64>], changes: &[(usize, i64)]) -> Sequence {
    let (mut places, mut reached) = (vec![Vec::new(); TABLES], i64::MIN);
    for (number, &(table, time)) in changes.iter().enumerate() {
        reached = reached.max(time);
        let sees = |of_trade: &Option<i64>| of_trade.is_some_and(|of_trade| of_trade >= reached);
        let before = times.iter().position(sees).unwrap_or(times.len());
        places[table].push((number as u32, before as u64));
    }
    (places, times.len() as u64)
}

fn merge(times: &[Option<i64>], changes: &[(usize, i64)]) -> Sequence {
    let mut merged = WithChanges::new(Trades::new(times, &[3]), script(changes, &[2], &[1]), options(100));
    sequence(&mut merged).expect("merged")
}

#[test]
fn of_equal_times_the_change_goes_first() {
    let places = merge(&[Some(1), Some(2), Some(2)], &[(0, 2), (0, 2), (0, 3)]);
    assert_eq!(places, (vec![vec![(0, 1), (1, 1), (2, 3)], vec![]], 3));
}

#[test]
fn times_that_go_back_count_as_the_latest_before_them() {
    // Of the changes, and of the trades; a trade without a time lets nothing in.
    assert_eq!(merge(&[Some(1), Some(5)], &[(0, 3), (0, 1)]).0[0], [(0, 1), (1, 1)]);
    assert_eq!(merge(&[Some(5), Some(1), Some(6)], &[(0, 5), (0, 6)]).0[0], [(0, 0), (1, 2)]);
    assert_eq!(merge(&[None, Some(1)], &[(0, 1)]).0[0], [(0, 1)]);
}

#[test]
fn either_side_may_end_first() {
    assert_eq!(merge(&[Some(1), Some(2)], &[]), (vec![vec![], vec![]], 2));
    assert_eq!(merge(&[], &[(1, 1), (0, 2)]), (vec![vec![(1, 0)], vec![(0, 0)]], 0));
    assert_eq!(merge(&[Some(1)], &[(0, 7), (0, 9)]).0[0], [(0, 1), (1, 1)]);
    assert_eq!(merge(&[Some(1), Some(7)], &[(0, 1)]).0[0], [(0, 0)]);
}

#[test]
fn what_stands_before_an_error_goes_on_and_what_is_behind_it_does_not() {
    let mut bad = block(&[(0, 1), (0, 3)], 0);
    let flaw = Flaw::record(Reason::NotAnObject);
    bad.failure = Some(flaw.at(&"changes".into(), Place::Line(3)).into());
    let trades = Trades::new(&[Some(1), Some(2), Some(3), Some(4)], &[10]);
    let mut merged = WithChanges::new(trades, Script([Fed::Block(bad)].into()), options(100));
    let messages = merged.next().expect("what stands before").expect("a block").decode().expect("decoded");
    assert_eq!((messages.trades.num_rows(), &messages.lanes[0].at_rows), (2, &vec![0, 2]));
    let error = merged.next().expect_err("a bad line").to_string();
    assert!(error.starts_with("changes, line 3"), "{error}");
}

#[test]
fn trades_that_have_waited_in_vain_go_on_and_changes_are_late() {
    let times = [Some(1), Some(2), Some(3), Some(4), Some(5)];
    let fed = [
        Fed::Block(block(&[(0, 1)], 0)),
        // Asked for before trade 1, once more when the first was handed on, and waited for in
        // no time.
        Fed::NotYet,
        Fed::NotYet,
        // Trades 1 and 2 are gone: the first is late, the second is not.
        Fed::Block(block(&[(0, 2), (0, 4)], 1)),
    ];
    let in_no_time = WithChangesOptions { wait: Some(Duration::ZERO), ..options(100) };
    let progress = in_no_time.progress.clone();
    let mut merged = WithChanges::new(Trades::new(&times, &[2]), Script(fed.into()), in_no_time);
    let (places, _) = sequence(&mut merged).expect("merged");
    assert_eq!(places[0], [(0, 0), (1, 2), (2, 3)]);
    assert_eq!((progress.changes(), progress.late(), progress.given_up()), (3, 1, 1));
    assert_eq!(progress.awaited(), None);
    // Whoever goes on from there counts on.
    let mut position = Source::position(&merged).expect("between two blocks");
    let counts_on = |position: &SourcePosition| {
        let mut merged = WithChanges::new(Trades::new(&[], &[1]), Script([].into()), options(100));
        Source::go_on_from(&mut merged, position).expect("the same");
        let progress = merged.options.progress.clone();
        [progress.changes(), progress.refused(), progress.late(), progress.given_up()]
    };
    assert_eq!(counts_on(&position), [3, 0, 1, 1]);
    // An earlier version told no more than the time of the trades that were gone.
    position.state.retain(|name, _| name == GONE || name == TRADES);
    assert_eq!(counts_on(&position), [0, 0, 0, 1]);
}

#[test]
fn a_run_that_is_to_stop_waits_for_nothing() {
    let stop = Arc::new(AtomicBool::new(true));
    let options = WithChangesOptions { stop: Some(stop), ..options(100) };
    let feed = Script([Fed::NotYet, Fed::NotYet].into());
    let mut merged = WithChanges::new(Trades::new(&[Some(1)], &[1]), feed, options.clone());
    assert!(merged.next().expect("no error").is_none());
    // What ends the run ends the input of the changes: that is no end of theirs.
    let feed = Script([Fed::Block(block(&[(0, 2)], 0)), Fed::End].into());
    let mut merged = WithChanges::new(Trades::new(&[Some(1), Some(2)], &[2]), feed, options);
    let messages = merged.next().expect("no error").expect("the first").decode().expect("decoded");
    assert_eq!(messages.trades.num_rows(), 1);
    assert!(merged.next().expect("no error").is_none());
}

#[test]
fn what_ends_the_run_is_no_end_of_the_trades() {
    let stop = Arc::new(AtomicBool::new(false));
    let options = WithChangesOptions { stop: Some(Arc::clone(&stop)), ..options(100) };
    let feed = Script([Fed::Block(block(&[(0, 2), (0, 3)], 0))].into());
    let mut merged = WithChanges::new(Trades::new(&[Some(1), Some(2)], &[1]), feed, options);
    let mut next = || merged.next().expect("no error").map(|block| block.decode().expect("decoded"));
    assert_eq!(next().expect("a trade").trades.num_rows(), 1);
    let second = next().expect("a trade");
    assert_eq!((second.trades.num_rows(), second.lanes[0].len()), (1, 1));
    stop.store(true, Ordering::Relaxed);
    // The last change may have its place behind trades that have not come.
    assert!(next().is_none());
    stop.store(false, Ordering::Relaxed);
    assert_eq!(next().expect("the end of the trades").lanes[0].len(), 1);
}

#[test]
fn a_change_that_has_its_place_is_handed_on_before_others_are_waited_for() {
    // The last block of changes is there only once it has been asked for twice.
    let fed = [Fed::Block(block(&[(0, 15)], 0)), Fed::NotYet, Fed::Block(block(&[(0, 25)], 1))];
    let trades = Trades::new(&[Some(20)], &[1]);
    let mut merged = WithChanges::new(trades, Script(fed.into()), options(100));
    let messages = merged.next().expect("merged").expect("a block").decode().expect("decoded");
    assert_eq!((messages.trades.num_rows(), &messages.lanes[0].at_rows), (0, &vec![0]));
    assert_eq!(sequence(&mut merged).expect("merged"), (vec![vec![(1, 1)], vec![]], 1));
}

#[test]
fn by_arrival_a_change_goes_before_the_trades_that_are_read_after_it() {
    let fed = [Fed::NotYet, Fed::Block(block(&[(0, 9), (1, 1)], 0)), Fed::NotYet];
    let options = WithChangesOptions { by: ChangesBy::Arrival, ..options(100) };
    let times = [Some(1), Some(2), Some(3), Some(4)];
    let mut merged = WithChanges::new(Trades::new(&times, &[2]), Script(fed.into()), options);
    let places = sequence(&mut merged).expect("merged");
    assert_eq!(places, (vec![vec![(0, 2)], vec![(1, 2)]], 4));
}

#[test]
fn a_watermark_frees_the_trades_before_it_and_holds_what_follows() {
    let mark = |time| ChangeBlock { watermark: Some(time), ..block(&[], 0) };
    let fed = [Fed::Block(mark(3)), Fed::NotYet, Fed::Block(mark(5)), Fed::Block(block(&[(0, 9)], 0))];
    let times = [Some(1), Some(2), Some(3), Some(4), Some(5)];
    let mut merged = WithChanges::new(Trades::new(&times, &[5]), Script(fed.into()), options(100));
    let messages = merged.next().expect("merged").expect("a block").decode().expect("decoded");
    assert_eq!((messages.trades.num_rows(), messages.lanes[0].len()), (2, 0));
    let rest = merged.next().expect("merged").expect("a block").decode().expect("decoded");
    assert_eq!(rest.trades.num_rows(), 3);
}

#[test]
fn whoever_is_to_be_told_hears_once_that_trades_wait() {
    let fed =
        [Fed::NotYet, Fed::NotYet, Fed::NotYet, Fed::Block(block(&[(0, 3)], 0)), Fed::NotYet, Fed::NotYet];
    let heard = Arc::<Mutex<Vec<AwaitedChanges>>>::default();
    let says = Arc::clone(&heard);
    let warn = move |awaited| says.lock().expect("one thread").push(awaited);
    let trades = Trades::new(&[Some(2), Some(4)], &[1]);
    let merged = WithChanges::new(trades, Script(fed.into()), options(100));
    let mut merged = merged.with_warning(Duration::ZERO, Box::new(warn));
    sequence(&mut merged).expect("merged");
    assert_eq!(*heard.lock().expect("one thread"), [AwaitedChanges::Beyond(2)]);
}

/// Trades that come when they come; what it is asked for, it notes.
struct Arriving(VecDeque<Arrived>, Arc<Mutex<Vec<bool>>>);

impl TradeFeed for Arriving {
    fn arrive(&mut self, may_wait: bool, _: Option<Instant>) -> Result<Arrived, BoxError> {
        self.1.lock().expect("one thread").push(may_wait);
        Ok(self.0.pop_front().unwrap_or(Arrived::End))
    }
}

#[test]
fn by_arrival_changes_do_not_wait_for_the_next_trade() {
    let fed = [Fed::Block(block(&[(0, 9), (1, 1), (0, 1)], 0)), Fed::NotYet];
    let block = Trades::new(&[Some(1)], &[1]).next().expect("no error").expect("a block");
    let trades = [Arrived::NotYet, Arrived::NotYet, Arrived::Trades(block)];
    let asked = Arc::<Mutex<Vec<bool>>>::default();
    let feed = Arriving(trades.into(), Arc::clone(&asked));
    let options = WithChangesOptions { by: ChangesBy::Arrival, ..options(2) };
    let mut merged = WithChanges::new(feed, Script(fed.into()), options);
    let mut lens = Vec::new();
    while let Some(block) = merged.next().expect("merged") {
        let messages = block.decode().expect("decoded");
        lens.push((messages.trades.num_rows(), messages.lanes.iter().map(ChangeLane::len).sum::<usize>()));
    }
    assert_eq!(lens, [(0, 2), (0, 1), (1, 0)]);
    // Not where more changes may be there: nothing would wake it for them.
    assert_eq!(*asked.lock().expect("one thread"), [true, false, true, true]);
}

#[test]
fn a_journal_has_every_change_at_its_place_in_the_order_of_the_input() {
    let times = [Some(1), Some(2), Some(3)];
    let changes = [(0, 2), (0, 2), (1, 2), (0, 2), (0, 3), (1, 9)];
    let noted: Arc<Mutex<Vec<(u64, usize, usize)>>> = Arc::default();
    let note: Note = {
        let noted = Arc::clone(&noted);
        Box::new(move |entries| {
            let entries = entries.iter().map(|entry| (entry.trades_before, entry.table, entry.changes.len()));
            noted.lock().expect("one thread").extend(entries);
            Ok(())
        })
    };
    let feed = script(&changes, &[10], &[]);
    let mut merged = WithChanges::new(Trades::new(&times, &[2]), feed, options(100)).with_note(note);
    sequence(&mut merged).expect("merged");
    let expected = [(1, 0, 2), (1, 1, 1), (1, 0, 1), (2, 0, 1), (3, 1, 1)];
    assert_eq!(*noted.lock().expect("one thread"), expected);
}

#[test]
fn changes_of_tables_take_effect_in_the_order_of_their_input() {
    // Cut where the last block of changes ends, and not.
    for lens in [[1], [2], [10]] {
        let feed = script(&[(0, 2), (1, 2), (0, 2), (1, 2), (1, 3), (0, 3)], &lens, &[]);
        let mut merged =
            WithChanges::new(Trades::new(&[Some(1), Some(2), Some(3)], &[3]), feed, options(100));
        let messages = merged.next().expect("merged").expect("a block").decode().expect("decoded");
        let messages =
            Messages::new(messages.trades, messages.keys, messages.lanes.to_vec()).expect("in order");
        let turns = |table: usize| {
            let lane = &messages.lanes[table];
            (0..lane.len()).map(|change| (lane.at_rows[change], lane.turn(change))).collect::<Vec<_>>()
        };
        assert_eq!(turns(0), [(1, 0), (1, 1), (2, 1)], "{lens:?}");
        assert_eq!(turns(1), [(1, 0), (1, 1), (2, 0)], "{lens:?}");
    }
}

fn lens() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1_usize..5, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 1_000, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn the_sequence_depends_on_the_inputs_alone(
        times in proptest::collection::vec(proptest::option::weighted(0.9, 0_i64..20), 0..20),
        changes in proptest::collection::vec((0..TABLES, 0_i64..22), 0..20),
        of_trades in lens(),
        of_changes in lens(),
        pauses in proptest::collection::vec(0_usize..3, 1..4),
        changes_max in 1_usize..6,
    ) {
        let feed = script(&changes, &of_changes, &pauses);
        let mut merged = WithChanges::new(Trades::new(&times, &of_trades), feed, options(changes_max));
        let places = sequence(&mut merged).expect("merged");
        prop_assert_eq!(places, expected(&times, &changes));
    }
}

/// Changes that never come.
struct Never;

impl ChangeFeed for Never {
    fn next(&mut self, _: Instant) -> Fed {
        Fed::NotYet
    }

    fn start(&self) -> Option<InputPosition> {
        Some(InputPosition::default())
    }
}

#[test]
fn who_has_something_to_do_meanwhile_makes_no_wait_longer() {
    let options = WithChangesOptions { wait: Some(Duration::from_millis(20)), ..options(100) };
    let mut merged = WithChanges::new(Trades::new(&[Some(1)], &[1]), Never, options);
    let begin = Instant::now();
    loop {
        let block = merged.next_until(Some(Instant::now())).expect("merged").expect("a block");
        let trades = block.decode().expect("decoded").trades.num_rows();
        // Nothing of the trade is handed on before.
        let state = Source::position(&merged).expect("a position").state;
        assert_eq!(state[TRADES], trades as i64);
        if trades == 1 {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "it waits for ever");
    }
    assert_eq!(merged.options.progress.given_up(), 1);
}

#[test]
fn a_line_that_comes_begins_the_wait_anew_however_it_was_read() {
    const WAIT: Duration = Duration::from_secs(3_600);
    let options = WithChangesOptions { wait: Some(WAIT), ..options(100) };
    let of_rest = || Trades(VecDeque::new());
    for trades in [Trades::new(&[Some(5)], &[1]), of_rest()] {
        let early = || Fed::Block(block(&[(0, 1)], 0));
        let feed = Script([Fed::NotYet, early(), Fed::NotYet, Fed::NotYet, Fed::NotYet].into());
        let mut merged = WithChanges::new(trades, feed, options.clone());
        let mut next = || merged.next_until(Some(Instant::now())).expect("merged").expect("a block").decode();
        let nothing = next().expect("decoded");
        assert_eq!((nothing.trades.num_rows(), nothing.lanes.len()), (0, TABLES));
        // The wait is over, but for the line that has come meanwhile.
        merged.waits_since = Instant::now().checked_sub(WAIT);
        assert!(merged.waits_since.is_some());
        let mut next = || merged.next_until(Some(Instant::now())).expect("merged").expect("a block").decode();
        let change = next().expect("decoded");
        assert_eq!((change.trades.num_rows(), change.lanes[0].len()), (0, 1));
        let nothing = next().expect("decoded");
        assert_eq!((nothing.trades.num_rows(), nothing.lanes[0].len()), (0, 0));
        assert_eq!(merged.options.progress.given_up(), 0, "the trade waits on");
    }
}
