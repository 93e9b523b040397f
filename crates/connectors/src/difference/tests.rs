//! Removals of all rows of a key.

use super::*;

/// Changes of a table with times: key, beginning, and a value or nothing for a removal.
fn lane(of_texts: bool, changes: &[(u32, i64, Option<i64>)]) -> ChangeLane {
    let mut texts = TextColumn::default();
    changes.iter().for_each(|(key, ..)| texts.push(Some(&"x".repeat(*key as usize))));
    let kind = |value: Option<i64>| if value.is_some() { ChangeKind::Upsert } else { ChangeKind::Delete };
    ChangeLane {
        at_rows: vec![0; changes.len()],
        keys: if of_texts {
            texts.into()
        } else {
            changes.iter().map(|change| Key(change.0)).collect::<Vec<_>>().into()
        },
        kinds: changes.iter().map(|change| kind(change.2)).collect(),
        fields: vec![Column::Integers(
            changes.iter().map(|change| change.2.unwrap_or(INTEGER_NULL)).collect(),
        )],
        valid_from: changes.iter().map(|change| change.1).collect(),
        valid_to: vec![INTEGER_NULL; changes.len()],
        ..ChangeLane::default()
    }
}

#[test]
fn removing_keys_looks_at_their_rows_alone() {
    for of_texts in [false, true] {
        let mut fingerprints = Fingerprints::new(LookUp::AsOf { tolerance: None });
        let mut rows: AHashMap<(u32, i64), i64> = AHashMap::new();
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..40 {
            let mut changes = Vec::new();
            for _ in 0..50 {
                let (key, from) = (random(20) as u32, random(10) as i64);
                match random(10) {
                    // The first rounds only add rows.
                    0 if round > 5 => {
                        rows.retain(|row, _| row.0 != key);
                        changes.push((key, INTEGER_NULL, None));
                    }
                    1 | 2 if round > 5 => {
                        rows.remove(&(key, from));
                        changes.push((key, from, None));
                    }
                    _ => {
                        // A row that is valid since ever is one of these rows, too.
                        let from = if from == 0 { INTEGER_NULL } else { from };
                        let value = random(3) as i64;
                        rows.insert((key, from), value);
                        changes.push((key, from, Some(value)));
                    }
                }
            }
            fingerprints.take(&lane(of_texts, &changes));
            let there: Vec<_> = rows.iter().map(|(&(key, from), &value)| (key, from, Some(value))).collect();
            let mut naive = Fingerprints::new(LookUp::AsOf { tolerance: None });
            naive.take(&lane(of_texts, &there));
            assert_eq!((fingerprints.len(), fingerprints.digest()), (naive.len(), naive.digest()));

            let Places::Others(others) = &fingerprints.places else { panic!("rows by their times") };
            let Some(beginnings) = &fingerprints.beginnings else {
                assert!(round <= 6, "keys were removed by a walk through all rows");
                continue;
            };
            let mut expected: AHashMap<Box<[u8]>, BTreeSet<i64>> = AHashMap::new();
            for (key, from) in others.keys().map(|bytes| key_and_time(bytes)) {
                expected.entry(key.into()).or_default().insert(from);
            }
            assert_eq!(*beginnings, expected, "no row was looked for among those of other keys");
        }
        assert!(fingerprints.beginnings.is_some());
    }
}
