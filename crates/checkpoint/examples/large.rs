//! How long it takes to keep a table of a million instruments, a thousand changes of it,
//! and to have it back: `cargo run --release -p tradejoin-checkpoint --example large`.
#![expect(clippy::print_stdout, reason = "it is what it is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tradejoin_checkpoint::{Job, Keeper, Store};
use tradejoin_disk::RealDisk;
use tradejoin_flow::{Cut, Keep as _, NothingPrepared, SourcePosition};
use tradejoin_model::{
    ChangeKind, ChangeLane, Column, Expiry, Key, Ledger, OccSymbol, OptionType, Position, StoredTable,
    Strike, TableSpec, Ticker,
};

const ROWS: u32 = 1_000_000;
const CHANGES: u32 = 1_000;
/// By then all rows have been written once more.
const CHECKPOINTS: u64 = 1_000;

fn lane(keys: impl Iterator<Item = u32>, day: i32) -> Result<ChangeLane, Box<dyn Error>> {
    let keys: Vec<_> = keys.map(Key).collect();
    let symbol = |key: &Key| -> Result<_, Box<dyn Error>> {
        Ok(OccSymbol {
            ticker: Ticker::from_bytes(format!("T{}", key.0 % 5_000).as_bytes())?,
            expiry: Expiry::from_epoch_days(19_000 + day + (key.0 % 700) as i32)?,
            option_type: if key.0.is_multiple_of(2) { OptionType::Call } else { OptionType::Put },
            strike: Strike::from_thousandths(key.0 * 50).ok_or("a strike")?,
        })
    };
    Ok(ChangeLane {
        at_rows: vec![0; keys.len()],
        kinds: vec![ChangeKind::Upsert; keys.len()],
        fields: vec![Column::Options(keys.iter().map(symbol).collect::<Result<_, _>>()?)],
        keys: keys.into(),
        ..ChangeLane::default()
    })
}

fn keep(keeper: &mut Keeper, number: u64) -> Result<(u64, Duration), Box<dyn Error>> {
    let cut = Cut {
        source: SourcePosition::default(),
        trades: 0,
        position: Position(number),
        ledger: Ledger::new(1),
        held: None,
        bad: Default::default(),
        output: Box::new(NothingPrepared),
        end: None,
    };
    let start = Instant::now();
    let bytes = keeper.keep(cut).map_err(|error| error.to_string())?;
    Ok((bytes, start.elapsed()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let spec = TableSpec::instruments();
    let job = || Job { query: BTreeMap::new(), tables: vec![spec.clone()], keep: 2 };
    let open = || Store::open(Arc::new(RealDisk), &folder.path().join("checkpoints"));

    let mut keeper = open()?.begin(job(), None)?;
    let all = lane(0..ROWS, 0)?;
    let start = Instant::now();
    keeper.rows(0, &all).map_err(|error| error.to_string())?;
    let taken = start.elapsed();
    let (bytes, kept) = keep(&mut keeper, 0)?;
    println!("{ROWS} rows: {bytes} bytes, taken in {taken:.1?}, kept in {kept:.1?}");
    let mut all = Vec::new();
    for number in 1..=CHECKPOINTS {
        let changed = lane((0..CHANGES).map(|change| (change * 997 + number as u32) % ROWS), 1)?;
        keeper.rows(0, &changed).map_err(|error| error.to_string())?;
        all.push(keep(&mut keeper, number)?);
    }
    for first in [20, 200, all.len()] {
        let mut some = all[..first.min(all.len())].to_vec();
        some.sort_unstable();
        let mean = some.iter().map(|(bytes, _)| bytes).sum::<u64>() / some.len() as u64;
        let (median, _) = some[some.len() / 2];
        let longest = some.iter().map(|(_, elapsed)| *elapsed).max().unwrap_or_default();
        let large = some.iter().filter(|(bytes, _)| *bytes >= 1_000_000).count();
        let most: Vec<_> = some.iter().rev().take(5).map(|(bytes, _)| bytes).collect();
        println!(
            "{CHANGES} changes, first {first}: {mean} bytes, half of them at most {median}, {large} of 1 MB or more, the largest {most:?}; \
             kept in at most {longest:.1?}"
        );
    }
    let (bytes, elapsed) = keep(&mut keeper, CHECKPOINTS + 1)?;
    println!("no change: {bytes} bytes, kept in {elapsed:.1?}");
    drop(keeper);

    for _ in 0..3 {
        let start = Instant::now();
        let latest = open()?.latest()?.ok_or("a checkpoint")?;
        let found = start.elapsed();
        let start = Instant::now();
        let mut table = StoredTable::new(spec.look_up, &spec.outputs);
        let mut source = latest.tables()?.remove(0);
        let (mut rows, mut decoded) = (0, Duration::ZERO);
        loop {
            let start = Instant::now();
            let lane = source.next().map_err(|error| error.to_string())?;
            decoded += start.elapsed();
            let Some(lane) = lane else { break };
            rows += lane.len();
            table.apply(&spec.outputs, &lane, 0..lane.len() as u32, None, false);
            table.settle(None, &mut Vec::new());
        }
        let restored = start.elapsed();
        println!(
            "{rows} changes back: checked in {found:.1?}, read in {decoded:.1?}, with the table {restored:.1?}"
        );
    }
    let start = Instant::now();
    let latest = open()?.latest()?.ok_or("a checkpoint")?;
    let mut keeper = open().and_then(|store| store.begin(job(), Some(&latest)))?;
    keeper.rows(0, &lane(0..ROWS / 2, 2)?).map_err(|error| error.to_string())?;
    let (bytes, elapsed) = keep(&mut keeper, CHECKPOINTS + 2)?;
    println!("a merge of all: {bytes} bytes, kept in {elapsed:.1?} ({:.1?} in all)", start.elapsed());
    Ok(())
}
