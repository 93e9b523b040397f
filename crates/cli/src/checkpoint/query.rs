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
/// What an earlier version has kept `before` and this one leaves out stays in.
pub(super) fn of(
    settings: &Settings,
    held: &BTreeMap<String, String>,
    before: Option<&BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let fails = |(_, name, value): (&str, &str, String)| name == "on_bad_record" && value == "fail";
    let fails = settings.all().any(fails);
    let limits = Limits::default();
    let limits =
        [("max_line", limits.line_bytes), ("max_fields", limits.fields), ("max_depth", limits.depth)];
    // A limit says which records are bad: at the first of those the run ends, if it does, and has
    // written what is the same with any other limit.
    let is_free = |name: &str, value: &str| {
        let limit = limits.iter().find(|(limit, _)| *limit == name);
        limit.is_some_and(|(_, default)| fails || value == default.to_string()) || FREE.contains(&name)
    };
    let before = before.into_iter().flatten().filter(|(name, value)| {
        name.rsplit_once('.').is_some_and(|(_, name)| !FREE.contains(&name) && is_free(name, value))
    });
    let before = before.map(|(name, value)| (name.clone(), value.clone()));
    let settings = settings.all().filter(|(_, name, value)| !is_free(name, value));
    let settings = settings.map(|(section, name, value)| (format!("{section}.{name}"), value));
    settings.chain(held.clone()).chain(before).collect()
}
