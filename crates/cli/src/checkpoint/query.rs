//! What determines the output of a run, by names: a run goes on only from one of which all of
//! it is the same.

use std::collections::BTreeMap;

use arrow_schema::{DataType, FieldRef, Schema};
use tradejoin_checkpoint::TRADE_COLUMNS;
use tradejoin_connectors::Limits;

use crate::settings::Settings;

/// What may change from one run to the one that goes on: it says how the work is done, and
/// the output does not depend on it.
const FREE: &[&str] = &[
    "at_least_once",
    "batch_len",
    "changes_wait",
    "checkpoint",
    "checkpoint_every",
    "checkpoint_keep",
    "control",
    "dead_letters_max",
    "distribution",
    "gate_timeout",
    "generations",
    "keep_generations",
    "linger",
    "max_bad",
    "max_in_flight",
    "max_message",
    "max_ratio",
    "max_removed",
    "max_tables",
    "max_unpacked",
    "min_rows",
    "queue_depth",
    "reload_group",
    "settle",
    "stall_warning",
    "strict",
    "watch",
    "workers",
];

/// Tells of the trades' own columns what a later run has to find again: names, and what their
/// values are. Those of JSON Lines are those of its first lines, which may be more by then.
pub(crate) fn told_columns(schema: &Schema) -> (String, String) {
    let told = |field: &FieldRef| format!("{} {}", field.name(), kind(field.data_type()));
    (TRADE_COLUMNS.to_owned(), schema.fields().iter().map(told).collect::<Vec<_>>().join(", "))
}

/// The same words in every version.
fn kind(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "null".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        integer if integer.is_integer() => "integer".to_owned(),
        float if float.is_floating() => "float".to_owned(),
        decimal if decimal.is_decimal() => "decimal".to_owned(),
        DataType::Dictionary(_, values) => kind(values),
        nested if nested.is_nested() => "nested".to_owned(),
        other => other.to_string(),
    }
}

/// The settings that count, as `SECTION.SETTING`, and what is `held` of the tables, whose
/// names are of several words.
///
/// What a checkpoint from `before` says in other words is said in these.
pub(super) fn of(
    settings: &Settings,
    held: &BTreeMap<String, String>,
    before: Option<&BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let fails = settings.all().any(|(_, name, value)| name == "on_bad_record" && value == "fail");
    let counts = |name: &str, value: &str| !FREE.contains(&name) && !is_free_limit(name, value, fails);
    let settings = settings.all().filter(|(_, name, value)| counts(name, value));
    let settings = settings.map(|(section, name, value)| (format!("{section}.{name}"), value));
    let mut query = settings.chain(held.clone()).collect();
    say_as_before(&mut query, before, fails);
    query
}

/// Whether a setting is a limit that says which records are bad, and one that makes no difference:
/// it is the default; or the run `fails` at the first of those, if there is one, and has written
/// what is the same with any other limit.
fn is_free_limit(name: &str, value: &str, fails: bool) -> bool {
    let limits = Limits::default();
    let default = match name {
        "max_line" => limits.line_bytes,
        "max_fields" => limits.fields,
        "max_depth" => limits.depth,
        _ => return false,
    };
    fails || value == default.to_string()
}

/// Earlier versions told of limits that make no difference, and of times in months.
fn say_as_before(
    query: &mut BTreeMap<String, String>,
    before: Option<&BTreeMap<String, String>>,
    fails: bool,
) {
    for (name, value) in before.into_iter().flatten() {
        let setting = name.rsplit_once('.').map_or(&**name, |(_, setting)| setting);
        let is_the_same = match query.get(name) {
            Some(now) => is_the_same_time(now, value),
            None => is_free_limit(setting, value, fails),
        };
        if is_the_same {
            query.insert(name.clone(), value.clone());
        }
    }
}

/// Whether two values, which may have several parts, differ by how times are written alone.
fn is_the_same_time(now: &str, before: &str) -> bool {
    let time = |part: &str| humantime::parse_duration(part).ok();
    let (now, before) = (now.split(','), before.split(','));
    let is_same =
        |(now, before): (&str, &str)| now == before || time(now).is_some_and(|now| time(before) == Some(now));
    now.clone().count() == before.clone().count() && now.zip(before).all(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_versions_said_in_other_words_is_the_same() {
        let all = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let before = all(&[
            ("v.tolerance", "3months8days16h19m12s"),
            ("output.correct", "1month13h26m24s,5rows"),
            ("engine.max_line", "4096"),
            ("engine.max_depth", "128"),
            ("engine.order", "input"),
        ]);
        let now = [("v.tolerance", "100days"), ("output.correct", "31days,5rows"), ("engine.order", "input")];
        let said = |now: &[(&str, &str)], fails| {
            let mut query = all(now);
            say_as_before(&mut query, Some(&before), fails);
            query
        };
        assert_eq!(said(&now, true), before);
        // Where bad records are left out a limit says which.
        let line = said(&now, false);
        assert_eq!(
            (line.get("engine.max_line"), line.get("engine.max_depth")),
            (None, before.get("engine.max_depth"))
        );
        let others =
            [("v.tolerance", "99days"), ("output.correct", "31days,6rows"), ("engine.order", "arrival")];
        let others = said(&others, true);
        assert!(
            ["v.tolerance", "output.correct", "engine.order"]
                .iter()
                .all(|name| others.get(*name) != before.get(*name))
        );
    }
}
