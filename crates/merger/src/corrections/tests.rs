//! How many trades may be written again, by batches made by hand.

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use tradejoin_model::{BatchIndex, ChangeKind, ChangeLane, Key, OutputColumn, Position};

use super::*;
use crate::passed::Passed;

/// What a trade of these tests is counted with: its entry, a table, an added value and an id.
const TRADE_BYTES: u64 = 96 + 64 + 24 + 4;

fn spec() -> TableSpec {
    let outputs = vec![OutputColumn::field("value", 0, ColumnType::Integer)];
    TableSpec { outputs, ..TableSpec::new("table", "id") }
}

/// Lets a batch of trades with these ids pass, behind so many others; no key changes.
fn pass(corrections: &mut Corrections, trades_before: u64, ids: &[u32]) -> CorrectionLedger {
    let (account, pieces) = pass_with(corrections, trades_before, ids, ChangeLane::default());
    assert_eq!(pieces, [0; 0], "nothing is written again");
    account
}

/// The same with changes, all of them upserts; tells how many trades are written again in each
/// piece.
fn pass_with(
    corrections: &mut Corrections,
    trades_before: u64,
    ids: &[u32],
    lane: ChangeLane,
) -> (CorrectionLedger, Vec<usize>) {
    let ids = UInt32Array::from(ids.to_vec());
    let len = ids.len();
    let all = (0..lane.len() as u32).map(|change| Effect::of_any_time(change, true)).collect();
    let effects = vec![Effects { all, ..Effects::default() }];
    let trades = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
    let messages = Messages::new(trades.expect("one column"), vec![ids.into()], vec![lane]);
    let messages = Arc::new(messages.expect("they fit together"));
    let passed = Passed::untouched(Enriched {
        index: BatchIndex::default(),
        first_position: Position::default(),
        trades_before,
        numbers: None,
        messages: Arc::clone(&messages),
        columns: vec![Column::Integers(vec![7; len])],
        kept: None,
        rows_kept: len,
        dead_letters: Vec::new(),
    });
    let touched = Touched { messages, trades_before, lacking: Vec::new(), effects };
    let arrivals = passed.arrivals(&touched, &Told::default());
    let mut pieces = Vec::new();
    let give = |revised: Revised| -> Result<(), ArrowError> {
        pieces.push(revised.trades.num_rows());
        Ok(())
    };
    let account = corrections.pass(&touched, Told::default(), passed.enriched(), &arrivals, give);
    (account.expect("few rows"), pieces)
}

fn corrections(config: CorrectionConfig) -> Corrections {
    Corrections::new(&[spec()], false, config)
}

#[test]
fn a_window_is_bounded_whatever_is_said_of_it() {
    let bounds = |rows, bytes| {
        let config = CorrectionConfig::new(None, rows, bytes);
        (config.rows_max, config.bytes_max)
    };
    assert_eq!(bounds(None, None), (2_000_000, 536_870_912));
    assert_eq!(bounds(Some(1), None), (u64::MAX, 536_870_912));
    assert_eq!(bounds(None, Some(1)), (2_000_000, u64::MAX));
}

#[test]
fn over_a_limit_of_rows_or_bytes_the_first_leave_early() {
    let bounded = CorrectionConfig::new(None, None, None);
    let by_rows = CorrectionConfig { rows_max: 3, ..bounded };
    let of_bytes = |bytes_max| CorrectionConfig { bytes_max, ..bounded };
    for config in [by_rows, of_bytes(3 * TRADE_BYTES), of_bytes(4 * TRADE_BYTES - 1)] {
        let mut corrections = corrections(config);
        assert_eq!(pass(&mut corrections, 0, &[1, 2, 3]).early, 0);
        assert_eq!(pass(&mut corrections, 3, &[4, 5]).early, 2);
        assert_eq!(corrections.peak(), RecentPeak { rows: 3, bytes: 3 * TRADE_BYTES });
    }
}

#[test]
fn those_that_a_window_of_bytes_has_no_room_for_do_not_leave_early() {
    let mut corrections = corrections(CorrectionConfig::new(None, None, Some(3 * TRADE_BYTES)));
    assert_eq!(pass(&mut corrections, 0, &[1, 2, 3, 4, 5]).early, 0);
    assert_eq!(corrections.peak(), RecentPeak { rows: 3, bytes: 3 * TRADE_BYTES });
}

#[test]
fn a_trade_leaves_when_so_many_have_been_read_behind_it() {
    let mut corrections = corrections(CorrectionConfig::new(None, Some(2), None));
    for trades_before in 0..5 {
        pass(&mut corrections, trades_before, &[1]);
    }
    assert_eq!(corrections.peak().rows, 2);
    assert_eq!(corrections.recents.len(), 2);
}

#[test]
fn many_trades_are_written_again_in_pieces_that_are_bounded() {
    let mut corrections = corrections(CorrectionConfig::new(None, None, None));
    pass(&mut corrections, 0, &[1; Corrections::ROWS_AT_ONCE + 5]);
    let lane = ChangeLane {
        at_rows: vec![0],
        keys: vec![Key(1)].into(),
        kinds: vec![ChangeKind::Upsert],
        fields: vec![Column::Integers(vec![8])],
        ..ChangeLane::default()
    };
    let trades_before = Corrections::ROWS_AT_ONCE as u64 + 5;
    let (account, pieces) = pass_with(&mut corrections, trades_before, &[], lane);
    assert_eq!(pieces, [Corrections::ROWS_AT_ONCE, 5]);
    assert_eq!(account.changed, trades_before);
}
