//! A file as the arguments that say the same.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::file::{Config, ReadyAfterConfig, TableConfig};

impl Config {
    /// The arguments that say what it says, but for flags that are given already: each as
    /// `--flag=value`, or `--flag`. Flags are asked for by their names with `_` for `-`, those that
    /// say something of a table with its name, which is empty for all that are not named.
    #[must_use]
    pub fn arguments(&self, is_given: impl Fn(&str, Option<&str>) -> bool) -> Vec<OsString> {
        let Self { input, tables, output, reload, checkpoint, limits, engine } = self;
        let mut arguments = Arguments { is_given: &is_given, all: Vec::new() };
        arguments.path("trades", &input.trades);
        arguments.path("instruments", &input.instruments);
        arguments.path("users", &input.users);
        arguments.path("messages", &input.messages);
        arguments.text("tables", input.tables.as_ref().map(|tables| tables.join(",")));
        match &input.table_ready_after {
            Some(ReadyAfterConfig::All(_)) if is_given("table_ready_after", Some("")) => {}
            Some(ReadyAfterConfig::All(condition)) => {
                arguments.push("table_ready_after", condition.as_ref());
            }
            Some(ReadyAfterConfig::ByTable(by_table)) => {
                arguments.by_table("table_ready_after", Some(by_table));
            }
            None => {}
        }
        arguments.text("gate_timeout", input.gate_timeout.as_ref());
        arguments.path("table_changes", &input.table_changes);
        arguments.text("changes_by", input.changes_by.as_ref());
        arguments.text("changes_wait", input.changes_wait.as_ref());
        arguments.text("format", input.format.as_ref());
        arguments.text("on_bad_record", input.on_bad_record.as_ref());
        arguments.text("max_bad", input.max_bad.as_ref());
        arguments.text("linger", input.linger.as_ref());
        arguments.flag("strict", input.strict);
        arguments.text("limit", input.limit);
        if !arguments.is_given("table") {
            tables.iter().for_each(|table| arguments.push("table", &table.argument()));
        }
        arguments.path("output", &output.file);
        arguments.text("output_format", output.format.as_ref());
        if output.csv_safe == Some(true) && !arguments.is_given("csv_safe") {
            arguments.all.push("--csv-safe".into());
        }
        arguments.path("dead_letters", &output.dead_letters);
        arguments.text("dead_letters_max", output.dead_letters_max.as_ref());
        arguments.text("dead_letters_rotate", output.dead_letters_rotate.as_ref());
        arguments.text("dead_letters_keep", output.dead_letters_keep);
        arguments.flag("dead_letter_time", output.dead_letter_time);
        arguments.text("wait_column", output.wait_column.as_ref());
        arguments.text("correct", output.correct.as_ref());
        arguments.path("corrections", &output.corrections);
        arguments.text("columns", output.columns.as_ref().map(|columns| columns.join(",")));
        arguments.text("watch", reload.watch.as_ref());
        arguments.text("max_removed", reload.max_removed.as_ref());
        arguments.text("min_rows", reload.min_rows);
        arguments.path("journal", &reload.journal);
        arguments.path("replay_journal", &reload.replay_journal);
        if !arguments.is_given("reload_group") {
            let groups = reload.groups.iter().flatten();
            groups.for_each(|group| arguments.push("reload_group", group.join("+").as_ref()));
        }
        arguments.text("settle", reload.settle.as_ref());
        arguments.path("control", &reload.control);
        arguments.text("keep_generations", reload.keep_generations);
        arguments.path("generations", &reload.generations);
        arguments.path("checkpoint", &checkpoint.folder);
        arguments.text("checkpoint_every", checkpoint.every.as_ref());
        arguments.text("checkpoint_keep", checkpoint.keep);
        arguments.text("max_line", limits.max_line.as_ref());
        arguments.text("max_fields", limits.max_fields);
        arguments.text("max_depth", limits.max_depth);
        arguments.text("max_unpacked", limits.max_unpacked.as_ref());
        arguments.text("max_ratio", limits.max_ratio);
        arguments.text("max_message", limits.max_message.as_ref());
        arguments.text("max_in_flight", limits.max_in_flight.as_ref());
        arguments.text("max_tables", limits.max_tables);
        arguments.text("workers", engine.workers);
        arguments.text("batch_len", engine.batch_len);
        arguments.text("queue_depth", engine.queue_depth);
        arguments.text("order", engine.order.as_ref());
        arguments.text("unmatched", engine.unmatched.as_ref());
        arguments.by_table("on_miss", engine.on_miss.as_ref());
        arguments.text("hold_rows", engine.hold_rows);
        arguments.text("hold_bytes", engine.hold_bytes.as_ref());
        arguments.text("stall_warning", engine.stall_warning.as_ref());
        arguments.by_table("distribution", engine.distribution.as_ref());
        arguments.by_table("mode", engine.mode.as_ref());
        arguments.by_table("tolerance", engine.tolerance.as_ref());
        arguments.by_table("version_column", engine.version_column.as_ref());
        arguments.all
    }
}

impl TableConfig {
    /// As `--table` has it.
    fn argument(&self) -> OsString {
        let Self { name, file, key, columns, distribution, mode, tolerance, version, on_miss } = self;
        let mut argument = OsString::from(format!("{name}="));
        argument.push(file);
        argument.push(format!(",key={key}"));
        if let Some(columns) = columns {
            argument.push(format!(",columns={}", columns.join(":")));
        }
        let options = [
            ("distribution", distribution),
            ("mode", mode),
            ("tolerance", tolerance),
            ("version", version),
            ("on-miss", on_miss),
        ];
        for (option, value) in options {
            value.iter().for_each(|value| argument.push(format!(",{option}={value}")));
        }
        argument
    }
}

/// Arguments in the making.
struct Arguments<'g> {
    is_given: &'g dyn Fn(&str, Option<&str>) -> bool,
    all: Vec<OsString>,
}

impl Arguments<'_> {
    fn is_given(&self, name: &str) -> bool {
        (self.is_given)(name, None)
    }

    fn path(&mut self, name: &str, path: &Option<PathBuf>) {
        if let Some(path) = path.as_ref().filter(|_| !self.is_given(name)) {
            self.push(name, path.as_os_str());
        }
    }

    fn flag(&mut self, name: &str, value: Option<bool>) {
        if value == Some(true) && !self.is_given(name) {
            self.all.push(format!("--{}", name.replace('_', "-")).into());
        }
    }

    fn text(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value.filter(|_| !self.is_given(name)) {
            self.push(name, value.to_string().as_ref());
        }
    }

    /// A flag that is given once for each table: for those for which it is not.
    fn by_table(&mut self, name: &str, said: Option<&BTreeMap<String, String>>) {
        for (table, what) in said.into_iter().flatten() {
            if !(self.is_given)(name, Some(table)) {
                self.push(name, format!("{table}={what}").as_ref());
            }
        }
    }

    fn push(&mut self, name: &str, value: &OsStr) {
        let mut argument = OsString::from(format!("--{}=", name.replace('_', "-")));
        argument.push(value);
        self.all.push(argument);
    }
}
