//! What determines the output of a run, by names: a run goes on only from one of which all of
//! it is the same.

use std::collections::BTreeMap;

use crate::settings::Settings;

/// What may change from one run to the one that goes on: it says how the work is done, and
/// the output does not depend on it.
const FREE: &[&str] = &[
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

/// The settings that count, as `SECTION.SETTING`, and what is `held` of the tables, whose
/// names are of several words.
pub(super) fn of(settings: &Settings, held: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let settings = settings.all().filter(|(_, name, _)| !FREE.contains(name));
    let settings = settings.map(|(section, name, value)| (format!("{section}.{name}"), value));
    settings.chain(held.clone()).collect()
}
