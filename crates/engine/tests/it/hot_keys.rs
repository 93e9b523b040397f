//! Few keys that have nearly all trades, in tables that are looked up by time.

use proptest::prelude::*;
use tradejoin_model::{Distribution, LookUp};

use crate::properties::config;
use crate::streams::{Case, Step, TABLES, case, equals_oracle};

/// How the times of trades differ from those that [`case`] draws.
#[derive(Clone, Copy, Debug)]
enum Times {
    /// Any.
    Any,
    /// Of a few moments, so that most trades of a batch find the same row.
    Near(i64),
    /// Rising with the trades, but for every fourth, which is late.
    Rising,
}

prop_compose! {
    fn hot_case()(
        case in case(),
        hot in 1..4_u32,
        times in prop_oneof![Just(Times::Any), (1..4_i64).prop_map(Times::Near), Just(Times::Rising)],
        tolerances in prop::array::uniform4(prop::option::of(0..12_u64)),
        shards in 2..6_u32,
        cut in 40..120_usize,
    ) -> Case {
        let mut case = Case { shards, distributions: [Distribution::Partitioned; TABLES], ..case };
        case.look_ups = tolerances.map(|tolerance| LookUp::AsOf { tolerance });
        // One batch of many, so that a sample finds what is hot.
        case.cuts.push(cut);
        let mut trades = 0;
        for step in &mut case.steps {
            if let Step::Trade(keys, time) = step {
                keys.iter_mut().flatten().for_each(|key| *key = if *key < 9 { *key % hot } else { *key });
                trades += 1;
                *time = time.map(|time| match times {
                    Times::Any => time,
                    Times::Near(near) => 10 + time % near,
                    Times::Rising => trades / 8 - if trades % 4 == 0 { time } else { 0 },
                });
            }
        }
        case
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn hot_keys_are_looked_up_as_of_each_trades_time(case in hot_case()) {
        let (ledger, report) = equals_oracle(&case, case.run_correcting())?;
        // Each trade is looked up, or spared it, in each table whose key it has.
        let keyed = |step: &Step| if let Step::Trade(keys, _) = step { keys.iter().flatten().count() } else { 0 };
        let keyed = case.steps.iter().map(keyed).sum::<usize>() as u64;
        let counted = report.shards.iter().map(|shard| shard.looked_up + shard.repeated).sum::<u64>();
        prop_assert_eq!(counted, keyed);
        prop_assert!(ledger.check().is_ok());
    }
}
