//! Keys next to one that is not there.

use std::collections::BTreeSet;
use std::ops::Bound;

use tradejoin_connectors::key_for_people;
use tradejoin_model::{OwnedKey, TableSpec};

/// Most keys that are told.
const KEYS_MAX: usize = 3;

/// Bytes of a text up to which it is compared with others letter by letter.
const LETTERS_MAX: usize = 200;

/// The keys next to `key` among those that a table has: ids and texts of digits by their
/// difference, other texts that are not long by how many letters are to be changed.
pub(super) fn nearest(key: &OwnedKey, keys: &BTreeSet<OwnedKey>, table: &TableSpec) -> Vec<OwnedKey> {
    let mut near: Vec<(u64, &OwnedKey)> = match key {
        OwnedKey::Id(id) => {
            let below = keys.range(..key).rev().take(KEYS_MAX);
            let above = keys.range((Bound::Excluded(key), Bound::Unbounded)).take(KEYS_MAX);
            let distance = |other: &OwnedKey| match other {
                OwnedKey::Id(other) => u64::from(id.abs_diff(*other)),
                OwnedKey::Text(_) => u64::MAX,
            };
            below.chain(above).map(|other| (distance(other), other)).collect()
        }
        OwnedKey::Text(_) => {
            let text = key_for_people(key, table);
            // Further off, a key is another one and no slip.
            let most = (text.chars().count() / 2).max(2) as u64;
            let number = text.parse::<u64>().ok();
            let distance = |other: &OwnedKey| {
                let other = key_for_people(other, table);
                match number.zip(other.parse::<u64>().ok()) {
                    Some((number, other)) => Some(number.abs_diff(other)),
                    // It takes as many steps as both have letters, multiplied.
                    None if text.len().max(other.len()) > LETTERS_MAX => None,
                    None => {
                        Some(strsim::damerau_levenshtein(&text, &other) as u64).filter(|edits| *edits <= most)
                    }
                }
            };
            keys.iter().filter_map(|other| Some((distance(other)?, other))).collect()
        }
    };
    near.sort();
    near.into_iter().take(KEYS_MAX).map(|(_, key)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(keys: &[OwnedKey]) -> Vec<String> {
        keys.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_nearest_keys_come_first() {
        let ids: BTreeSet<_> = [1, 5, 9, 90, 4_000_000_000].map(OwnedKey::Id).into();
        let table = TableSpec::instruments();
        assert_eq!(shown(&nearest(&OwnedKey::Id(8), &ids, &table)), ["9", "5", "1"]);
        assert_eq!(shown(&nearest(&OwnedKey::Id(4_000_000_001), &ids, &table)), ["4000000000", "90", "9"]);
        let text = |text: &str| OwnedKey::Text(text.as_bytes().into());
        let texts: BTreeSet<_> = ["XNAS", "XNYS", "XPAR", "BATS", "17", "20"].map(text).into();
        let table = TableSpec::new("venues", "mic");
        assert_eq!(shown(&nearest(&text("XNSA"), &texts, &table)), ["XNAS", "XNYS"]);
        assert_eq!(shown(&nearest(&text("18"), &texts, &table))[..2], ["17", "20"]);
        assert!(nearest(&text("elsewhere"), &BTreeSet::new(), &table).is_empty());
        // Years, if they were compared.
        let long = |end: &str| text(&("x".repeat(10_000_000) + end));
        assert!(nearest(&long("a"), &[long("b"), text("xx")].into(), &table).is_empty());
    }
}
