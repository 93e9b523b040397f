//! How properties are tested, and what they say when they fail.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{set_hook, take_hook};
use std::sync::{Mutex, Once, PoisonError};

use proptest::test_runner::Config;

use crate::streams::{Case, Stamp, Step};

/// 500 cases, or as many as `TRADEJOIN_CASES` says: the second tier asks for
/// 10,000.
///
/// A failure is made smaller by 2,000 runs at most, some seconds; without a bound of
/// its own it would be four for each case, hours if a run is long.
pub(crate) fn config() -> Config {
    tell_panics_once();
    let cases =
        std::env::var("TRADEJOIN_CASES").ok().map(|n| n.parse().expect("TRADEJOIN_CASES is a number"));
    Config { cases: cases.unwrap_or(500), max_shrink_iters: 2_000, ..Config::default() }
}

/// A property that fails by a panic does so for every smaller input, too, and each
/// time with a backtrace: of the panics at one place only the first are told.
fn tell_panics_once() {
    const TOLD: u32 = 2;
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = take_hook();
        let places = Mutex::new(BTreeMap::<String, u32>::new());
        set_hook(Box::new(move |panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
            let times = places.entry(place).or_default();
            *times += 1;
            let is_new = *times <= TOLD;
            drop(places);
            if is_new {
                tell(panic);
            }
        }));
    });
}

/// A word: `t1,-,3,4@7` is a trade with its keys and its time, `c2:5=9` a change of
/// a table's key to a value, `c2:5!` a delete; a stamp is `@3+4v1`, from when, for
/// how long, and which version.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trade(keys, time) => {
                let word = |key: &Option<u32>| key.map_or_else(|| "-".to_owned(), |key| key.to_string());
                write!(f, "t{}", keys.iter().map(word).collect::<Vec<_>>().join(","))?;
                time.map_or(Ok(()), |time| write!(f, "@{time}"))
            }
            Self::Change { table, key, delete, value, stamp } => {
                write!(f, "c{table}:{key}")?;
                if *delete {
                    f.write_str("!")?
                } else {
                    write!(f, "={value}")?
                }
                let Stamp { from, lasts, version } = stamp;
                from.map_or(Ok(()), |from| write!(f, "@{from}"))?;
                lasts.map_or(Ok(()), |lasts| write!(f, "+{lasts}"))?;
                write!(f, "v{version}")
            }
        }
    }
}

/// A line for each field: hundreds of steps are some kilobytes.
impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loaded, steps, cuts, distributions, look_ups, shards, queue_depth, order, .. } = self;
        let expected_cuts = &self.expected_cuts;
        writeln!(
            f,
            "\n  loaded {loaded:?}\n  steps {steps:?}\n  cuts {cuts:?}, for the oracle {expected_cuts:?}"
        )?;
        writeln!(f, "  distributions {distributions:?}\n  look_ups {look_ups:?}")?;
        writeln!(f, "  shards {shards}, queue_depth {queue_depth}, order {order:?}")?;
        writeln!(f, "  on_miss {:?}, hold_rows_max {}", self.on_miss, self.hold_rows_max)?;
        writeln!(f, "  corrections {:?}", self.corrections)
    }
}

#[test]
fn a_case_is_told_on_a_few_lines() {
    let trade = Step::Trade([Some(1), None, Some(3), Some(4)], Some(7));
    let stamp = Stamp { from: Some(3), lasts: None, version: 1 };
    let change = Step::Change { table: 2, key: 5, delete: false, value: 9, stamp };
    assert_eq!(format!("{trade:?} {change:?}"), "t1,-,3,4@7 c2:5=9@3v1");
    let delete = Step::Change { table: 2, key: 5, delete: true, value: 9, stamp: Stamp::default() };
    assert_eq!(format!("{delete:#?}"), "c2:5!v0");
}
