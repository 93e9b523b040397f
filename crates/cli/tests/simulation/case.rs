//! What a simulation is of: a stream, its tables and policies, and an output.

use tradejoin_connectors::{AddedColumn, Compression, Encoding, Format};
use tradejoin_engine::{CorrectionConfig, Order};
use tradejoin_model::{
    ColumnType, Distribution, Expired, Hold, HoldLimit, LookUp, MissPolicy, OptionPart, OutputColumn,
    TableSpec,
};

use crate::chance::Chance;

/// Keys are below this: few, so that they meet.
const KEYS: usize = 8;
/// Rows begin before this time.
const TIMES: usize = 30;

/// One message.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Trade {
        /// By table; those of tables that the case does not have are not looked at.
        keys: [Option<u32>; 4],
        time: Option<i64>,
        note: Option<u32>,
    },
    Change {
        table: usize,
        key: u32,
        delete: bool,
        value: u8,
        from: Option<i64>,
        lasts: Option<i64>,
        version: i64,
    },
    /// A trade that is refused, or with a table one of its rows, and its number.
    Bad(Option<usize>, u64),
}

/// What the rows of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Options,
    Names,
    Numbers,
    /// Names by a key that is a text.
    ByText,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) kinds: Vec<Kind>,
    look_ups: Vec<LookUp>,
    on_miss: Vec<MissPolicy>,
    /// Rows before the first trade.
    pub(crate) loaded: Vec<Step>,
    /// Whether they come with the stream, and not from tables with sources of their own.
    pub(crate) gated: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) order: Order,
    pub(crate) hold_rows_max: u64,
    pub(crate) wait_column: bool,
    pub(crate) encoding: Encoding,
    /// How the dead letters are packed.
    pub(crate) letters: Compression,
    /// How many checkpoints stay.
    pub(crate) keep: usize,
    /// Whether trades are written again.
    pub(crate) corrections: Option<CorrectionConfig>,
}

impl Case {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let kinds = (0..chance.within(1, 5))
            .map(|_| chance.of(&[Kind::Options, Kind::Names, Kind::Numbers, Kind::ByText]))
            .collect::<Vec<_>>();
        let tables = kinds.len();
        let share = chance.within(1, 10);
        let len = chance.of(&[20, 60, 120, 200]);
        let (loaded, steps) = (chance.below(20), chance.below(len));
        let bad = chance.of(&[0, 0, 8]);
        let step = |chance: &mut Chance| match () {
            () if bad > 0 && chance.once_in(bad) => {
                let table = if chance.once_in(2) { Some(chance.below(tables)) } else { None };
                Step::Bad(table, chance.below(1_000) as u64)
            }
            () if chance.below(10) < share => change(chance, tables),
            () => trade(chance),
        };
        Self {
            look_ups: kinds.iter().map(|_| look_up(chance)).collect(),
            on_miss: kinds.iter().map(|_| policy(chance)).collect(),
            kinds,
            loaded: (0..loaded).map(|_| change(chance, tables)).collect(),
            gated: chance.once_in(2),
            steps: (0..steps).map(|_| step(chance)).collect(),
            order: chance.of(&[Order::Input, Order::Strict, Order::Arrival]),
            hold_rows_max: chance.of(&[0, 3, 10, u64::MAX, u64::MAX]),
            wait_column: chance.once_in(2),
            encoding: encoding(chance),
            letters: chance.of(&[Compression::None, Compression::None, Compression::Zstd]),
            keep: chance.within(1, 4),
            corrections: corrections(chance),
        }
    }

    /// The tables, spread like this.
    pub(crate) fn tables(&self, distributions: &[Distribution]) -> Vec<TableSpec> {
        let table = |(number, kind): (usize, &Kind)| TableSpec {
            name: format!("table{number}"),
            look_up: self.look_ups[number],
            on_miss: self.on_miss[number],
            distribution: distributions[number % distributions.len()],
            ..kind.spec()
        };
        self.kinds.iter().enumerate().map(table).collect()
    }

    /// The columns that they add.
    pub(crate) fn added(&self) -> Vec<AddedColumn> {
        let types = self.kinds.iter().flat_map(|kind| kind.spec().outputs).map(|output| output.column_type);
        let waited = self.wait_column.then_some(ColumnType::Integer);
        let plain = |(number, of_type)| AddedColumn::plain(&format!("c{number}"), of_type, number);
        types.chain(waited).enumerate().map(plain).collect()
    }

    /// How the trades are encoded that are written again: as text.
    pub(crate) fn corrected(&self) -> Encoding {
        Encoding::plain(if self.encoding.format.is_text() { self.encoding.format } else { Format::Csv })
    }

    /// Whether trades may be put aside.
    pub(crate) fn has_letters(&self) -> bool {
        self.on_miss.iter().any(|policy| match policy {
            MissPolicy::DeadLetter => true,
            MissPolicy::Hold(hold) => hold.then == Expired::DeadLetter,
            _ => false,
        })
    }
}

impl Kind {
    fn spec(self) -> TableSpec {
        match self {
            Self::Options => {
                let mut spec = TableSpec::instruments();
                spec.outputs.push(OutputColumn::option("ticker", OptionPart::Ticker));
                spec
            }
            Self::Names | Self::ByText => TableSpec::users(),
            Self::Numbers => {
                let outputs = vec![OutputColumn::field("number", 0, ColumnType::Integer)];
                TableSpec { outputs, ..TableSpec::users() }
            }
        }
    }
}

fn change(chance: &mut Chance, tables: usize) -> Step {
    // Few values, so that two rows may be the same.
    let values = chance.of(&[4, 256]);
    Step::Change {
        table: chance.below(tables),
        key: chance.below(KEYS) as u32,
        delete: chance.once_in(5),
        value: chance.below(values) as u8,
        from: if chance.once_in(5) { None } else { Some(chance.below(TIMES) as i64) },
        lasts: if chance.once_in(2) { None } else { Some(chance.within(1, 12) as i64) },
        version: chance.below(6) as i64,
    }
}

fn trade(chance: &mut Chance) -> Step {
    let mut key = || if chance.once_in(12) { None } else { Some(chance.below(KEYS) as u32) };
    let keys = [key(), key(), key(), key()];
    let time = if chance.once_in(10) { None } else { Some(chance.below(TIMES + 11) as i64 - 2) };
    let note = if chance.once_in(3) { None } else { Some(chance.below(1_000) as u32) };
    Step::Trade { keys, time, note }
}

fn look_up(chance: &mut Chance) -> LookUp {
    match chance.below(3) {
        0 => LookUp::Latest,
        1 => LookUp::LatestVersion,
        _ => LookUp::AsOf { tolerance: if chance.once_in(2) { None } else { Some(chance.below(12) as u64) } },
    }
}

fn policy(chance: &mut Chance) -> MissPolicy {
    let number = if chance.once_in(4) { u64::MAX } else { chance.below(60) as u64 };
    let limit = if chance.once_in(2) { HoldLimit::Rows(number) } else { HoldLimit::EventTime(number) };
    let then = chance.of(&[Expired::Keep, Expired::Drop, Expired::DeadLetter]);
    match chance.below(6) {
        0 => MissPolicy::Drop,
        1 => MissPolicy::Keep,
        2 => MissPolicy::DeadLetter,
        _ => MissPolicy::Hold(Hold { limit, then }),
    }
}

fn corrections(chance: &mut Chance) -> Option<CorrectionConfig> {
    let window = |chance: &mut Chance, most: usize| chance.once_in(2).then(|| chance.below(most) as u64);
    let (time, rows) = (window(chance, TIMES), window(chance, 60));
    let rows_max = chance.of(&[3, u64::MAX, u64::MAX]);
    let config = CorrectionConfig { time, rows, bytes: None, rows_max, bytes_max: u64::MAX };
    chance.once_in(2).then_some(config)
}

fn encoding(chance: &mut Chance) -> Encoding {
    let text = |format, compression| Encoding { format, compression };
    match chance.below(10) {
        0..=3 => Encoding::plain(Format::Csv),
        4 | 5 => Encoding::plain(Format::JsonLines),
        6 => text(Format::Csv, Compression::Gzip),
        7 => text(Format::JsonLines, Compression::Zstd),
        8 => Encoding::plain(Format::Parquet),
        _ => Encoding::plain(Format::Arrow),
    }
}
