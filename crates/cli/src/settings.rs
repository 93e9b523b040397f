//! What a run is going to do: what was asked for, and what nobody said.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::HumanBytes;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use tradejoin_connectors::{AddedColumn, Encoding, KeyPair, Location};
use tradejoin_engine::EngineConfig;
use tradejoin_model::{Expired, Hold, HoldLimit, LookUp, MissPolicy, TableSpec};

use crate::arg_values::time_text as time;
use crate::args::{RunArgs, StreamArgs};
use crate::bad::LetterArgs;
use crate::checkpoint::streams;
use crate::correct::CorrectArgs;
use crate::destination::Destination;
use crate::plan;
use crate::reload::{ReloadGroup, every_text};
use crate::style::FAINT;
use crate::table_arg::TableArg;

/// Letters of a line of one column: two columns fit a wide terminal.
const LINE: usize = 56;
/// Between two settings of a line.
const AND: &str = " · ";

/// The settings of a run. Their JSON form names them, and those that are defaults.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    input: Section,
    output: Section,
    tables: Vec<Section>,
    engine: Section,
}

/// Settings that belong together.
#[derive(Clone, Debug)]
struct Section {
    name: String,
    settings: Vec<Setting>,
}

/// One setting, under the name of its flag.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    name: &'static str,
    value: Value,
    /// For people; `None` for what need not be said.
    text: Option<String>,
    /// Whether nobody said it.
    is_default: bool,
}

impl Settings {
    /// The settings of a run whose inputs are open; `added` is what its output adds.
    ///
    /// # Errors
    /// If an input has no format: then it could not be opened.
    pub(crate) fn new(
        args: &RunArgs,
        destination: &Destination,
        config: &EngineConfig,
        added: &[AddedColumn],
    ) -> anyhow::Result<Self> {
        let tables = config.tables.iter().map(|table| of_table(args, table));
        Ok(Self {
            input: input(args)?,
            output: output(args, destination, added),
            tables: tables.collect::<anyhow::Result<_>>()?,
            engine: engine(args, config),
        })
    }

    /// Every setting: the section that it is of, its name and its value.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &'static str, String)> {
        let sections = [("input", &self.input), ("output", &self.output)].into_iter();
        let tables = self.tables.iter().map(|table| (table.name.as_str(), table));
        let sections = sections.chain(tables).chain([("engine", &self.engine)]);
        sections.flat_map(|(section, all)| {
            all.settings.iter().map(move |setting| {
                let value = setting.value.as_str().map_or_else(|| setting.value.to_string(), str::to_owned);
                (section, setting.name, value)
            })
        })
    }

    /// A line for each section, with what was asked for before what nobody said, and
    /// a newline at the end.
    pub(crate) fn text(&self) -> String {
        let sections = [&self.input, &self.output].into_iter().chain(&self.tables).chain([&self.engine]);
        let rows: Vec<_> = sections.map(|section| (&section.name, section.lines())).collect();
        let width = |texts: &mut dyn Iterator<Item = &String>| {
            texts.map(|text| text.chars().count()).max().unwrap_or_default()
        };
        let names = width(&mut rows.iter().map(|(name, _)| *name));
        let given = width(&mut rows.iter().flat_map(|(_, [given, _])| given)).max("given".len());
        let mut out = String::new();
        let _ = writeln!(out, "{FAINT}{:names$}  {:given$}  default{FAINT:#}", "", "given");
        for (name, [left, right]) in &rows {
            for line in 0..left.len().max(right.len()).max(1) {
                let name = if line == 0 { name.as_str() } else { "" };
                let [left, right] = [left, right].map(|lines| lines.get(line).map_or("", String::as_str));
                let head = format!("{name:names$}  {left:given$}");
                let _ = match right {
                    "" => writeln!(out, "{}", head.trim_end()),
                    right => writeln!(out, "{head}  {FAINT}{right}{FAINT:#}"),
                };
            }
        }
        out
    }
}

impl Section {
    fn new(name: &str, settings: Vec<Setting>) -> Self {
        Self { name: name.to_owned(), settings }
    }

    /// The lines of what was asked for, and of what nobody said.
    fn lines(&self) -> [Vec<String>; 2] {
        [false, true].map(|is_default| {
            let settings = self.settings.iter().filter(|setting| setting.is_default == is_default);
            let mut lines: Vec<String> = Vec::new();
            for text in settings.filter_map(|setting| setting.text.as_deref()) {
                match lines.last_mut() {
                    Some(line)
                        if line.chars().count() + AND.chars().count() + text.chars().count() <= LINE =>
                    {
                        line.push_str(AND);
                        line.push_str(text);
                    }
                    _ => lines.push(text.to_owned()),
                }
            }
            lines
        })
    }
}

impl Setting {
    pub(crate) fn new(name: &'static str, value: impl Into<Value>, is_default: bool) -> Self {
        let value = value.into();
        let text = match &value {
            // What is not done need not be said.
            Value::Null | Value::Bool(false) => None,
            Value::Bool(true) => Some(flag(name)),
            Value::String(text) => Some(format!("{} {text}", flag(name))),
            other => Some(format!("{} {other}", flag(name))),
        };
        Self { name, value, text, is_default }
    }

    /// Its name, with _ for -.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Shows it under another name.
    fn renamed(self, name: &str) -> Self {
        let text = self.value.as_str().map(|value| format!("{name} {value}"));
        Self { text, ..self }
    }

    /// Shows this in its place.
    pub(crate) fn shown(self, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..self }
    }

    /// Shows it to programs alone.
    fn unshown(self) -> Self {
        Self { text: None, ..self }
    }

    /// A file, which needs no name.
    fn file(name: &'static str, path: &Path) -> Self {
        let text = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
        Self::new(name, path.display().to_string(), false).shown(text)
    }

    /// A format, which the ending of a name says unless the user does.
    fn format(encoding: Encoding, is_default: bool) -> Self {
        Self::new("format", encoding.to_string(), is_default)
    }
}

fn input(args: &RunArgs) -> anyhow::Result<Section> {
    let input = &args.input;
    let forced = input.format.as_deref();
    let (name, file, encoding) = match (&input.trades, &input.messages) {
        (Some(path), _) => ("trades", Setting::file("trades", path), plan::input(path, forced, None)?),
        (None, Some(path)) => {
            ("messages", Setting::file("messages", path), plan::input(path, forced, Some("jsonl"))?)
        }
        (None, None) => return Ok(generated(&args.stream)),
    };
    let mut settings = vec![
        file,
        Setting::format(encoding.encoding, forced.is_none()),
        Setting::new("limit", args.stream.limit, args.stream.limit.is_none()),
        Setting::new("on_bad_record", name_of(input.bad.on_bad_record), !args.is_given("on_bad_record")),
        Setting::new("linger", time(input.linger), !args.is_given("linger")),
        Setting::new("strict", input.strict, !input.strict),
    ];
    settings.extend(input.bad.max_bad.map(|max| Setting::new("max_bad", max.to_string(), false)));
    settings
        .extend(args.input.gate_timeout.map(|timeout| Setting::new("gate_timeout", time(timeout), false)));
    settings.extend(changes(args));
    settings.extend(reload(args));
    Ok(Section::new(name, settings))
}

/// The changes beside the trades, if there are any.
fn changes(args: &RunArgs) -> Vec<Setting> {
    let changes = &args.changes;
    let Some(path) = &changes.table_changes else { return Vec::new() };
    let wait = changes.changes_wait.map(time);
    vec![
        Setting::new("table_changes", path.display().to_string(), false),
        Setting::new("changes_by", name_of(changes.changes_by), !args.is_given("changes_by")),
        Setting::new("changes_wait", wait.clone(), wait.is_none()),
    ]
}

/// What becomes of tables that change, if anything was said of it.
fn reload(args: &RunArgs) -> Vec<Setting> {
    let reload = &args.reload;
    let mut settings = Vec::new();
    if let Some(every) = reload.watch {
        let guards = reload.guards;
        settings.push(Setting::new("watch", every_text(every), false));
        let share = guards.max_removed.to_string();
        settings.push(Setting::new("max_removed", share, !args.is_given("max_removed")));
        settings.push(Setting::new("min_rows", guards.min_rows, !args.is_given("min_rows")));
        settings.extend(groups(args));
    }
    settings.extend(control(args));
    settings.extend(file_setting("journal", &reload.journal));
    settings.extend(file_setting("replay_journal", &reload.replay_journal));
    settings
}

/// Tables that change together, if there are such.
fn groups(args: &RunArgs) -> Vec<Setting> {
    let groups: Vec<_> =
        args.reload.reload_group.iter().map(|ReloadGroup(tables)| tables.join("+")).collect();
    if groups.is_empty() {
        return Vec::new();
    }
    let text = format!("reload-group {}", groups.join(", "));
    let settle = Setting::new("settle", time(args.reload.settle), !args.is_given("settle"));
    vec![Setting::new("reload_group", groups, false).shown(text), settle]
}

/// How a run is spoken to, if it is.
fn control(args: &RunArgs) -> Vec<Setting> {
    let reload = &args.reload;
    let Some(path) = &args.control.control else { return Vec::new() };
    let mut settings = vec![Setting::new("control", path.display().to_string(), false)];
    if reload.watch.is_some() {
        let is_default = !args.is_given("keep_generations");
        settings.push(Setting::new("keep_generations", reload.keep_generations, is_default));
        let folder = reload.generations.as_ref().map(|folder| folder.display().to_string());
        settings.push(Setting::new("generations", folder, reload.generations.is_none()));
    }
    settings
}

/// A file that was named, if one was.
fn file_setting(name: &'static str, path: &Option<PathBuf>) -> Option<Setting> {
    path.as_ref().map(|path| Setting::new(name, path.display().to_string(), false))
}

fn generated(args: &StreamArgs) -> Section {
    let mix = args.mix.as_ref().map_or("article".to_owned(), ToString::to_string);
    let days = args.days.unwrap_or(1);
    let share = |name, said: Option<f64>, default: f64| {
        let share = said.unwrap_or(default);
        Setting::new(name, share, said.is_none()).shown(format!("{} {share}", flag(name)))
    };
    let mut settings = vec![
        Setting::new("generated", true, true),
        Setting::new("limit", args.limit.unwrap_or(plan::GENERATED_MESSAGES), args.limit.is_none()),
        Setting::new("seed", args.seed.unwrap_or(StreamArgs::SEED), args.seed.is_none()),
        Setting::new("mix", mix, args.mix.is_none()),
        Setting::new("ids", args.ids.unwrap_or(StreamArgs::IDS), args.ids.is_none()),
        Setting::new("keys", args.keys.unwrap_or_default().to_string(), args.keys.is_none()),
        share("unknown_share", args.unknown_share, 0.0),
        Setting::new("days", days, args.days.is_none()),
    ];
    settings.extend((days > 1).then(|| share("reused", args.reused, StreamArgs::REUSED)));
    Section::new("trades", settings)
}

fn output(args: &RunArgs, destination: &Destination, added: &[AddedColumn]) -> Section {
    let is_default = args.output.is_none();
    let file = |value: Value, text: &str| Setting::new("file", value, is_default).shown(text);
    let mut settings = Vec::new();
    match destination.location() {
        None => settings.push(file(Value::Null, "nowhere")),
        Some(location) => {
            settings.push(match location {
                Location::Standard => file("-".into(), "standard output"),
                Location::Path(path) => {
                    let path = path.display().to_string();
                    file(path.clone().into(), &path)
                }
            });
            settings.push(Setting::format(destination.encoding(), args.output_format.is_none()));
            settings.extend(args.csv_safe.then(|| Setting::new("csv_safe", true, false)));
        }
    }
    let names = added.iter().map(|column| column.name.as_str());
    let names: Vec<_> = names.filter(|name| args.wait_column.as_deref() != Some(*name)).collect();
    let columns = Setting::new("columns", names.clone(), args.columns.is_empty());
    settings.push(columns.shown(format!("columns {}", names.join(", "))));
    let LetterArgs {
        dead_letters,
        dead_letters_max,
        dead_letters_rotate,
        dead_letters_keep,
        dead_letter_time,
    } = &args.letters;
    let letters = dead_letters.as_ref().map(|path| path.display().to_string());
    settings.push(Setting::new("dead_letters", letters, dead_letters.is_none()));
    settings.extend(dead_letters_max.map(|max| Setting::new("dead_letters_max", max, false)));
    settings.extend(dead_letters_rotate.map(|size| Setting::new("dead_letters_rotate", size, false)));
    settings.extend(dead_letters_keep.map(|files| Setting::new("dead_letters_keep", files, false)));
    settings.extend(dead_letter_time.then(|| Setting::new("dead_letter_time", true, false)));
    settings.push(Setting::new("wait_column", args.wait_column.clone(), args.wait_column.is_none()));
    let CorrectArgs { correct, corrections } = &args.correct;
    settings.extend(correct.map(|window| Setting::new("correct", window.to_string(), false)));
    settings.extend(file_setting("corrections", corrections));
    if let Some(folder) = &args.kept.checkpoint {
        settings.push(Setting::new("checkpoint", folder.display().to_string(), false));
        let every = args.kept.checkpoint_every.to_string();
        settings.push(Setting::new("checkpoint_every", every, !args.is_given("checkpoint_every")));
        let keep = args.kept.checkpoint_keep;
        settings.push(Setting::new("checkpoint_keep", keep, !args.is_given("checkpoint_keep")));
        // People are told in a line of its own.
        settings.push(Setting::new("at_least_once", streams(args, destination), false).unshown());
    }
    Section::new("output", settings)
}

fn of_table(args: &RunArgs, table: &TableSpec) -> anyhow::Result<Section> {
    let input = &args.input;
    let arg = input.table.iter().find(|arg| arg.table.name == table.name);
    let preset = if table.name == "instruments" { &input.instruments } else { &input.users };
    let mut settings = vec![Setting::new("name", table.name.clone(), false).unshown()];
    if let Some(path) = arg.map(|arg| &arg.file).or(preset.as_ref()) {
        let encoding = plan::input(path, None, input.format.as_deref())?.encoding;
        settings.extend([Setting::file("file", path), Setting::format(encoding, true)]);
    }
    let key = arg.map_or_else(|| table.key_column.clone(), key_text);
    settings.push(Setting::new("key", key, arg.is_none()));
    let look_ups = &args.look_ups;
    let version = look_ups.version_column.iter().find(|(name, _)| *name == table.name);
    let (mode, tolerance) = match table.look_up {
        LookUp::AsOf { tolerance } => ("as-of", tolerance),
        LookUp::Latest | LookUp::LatestVersion => ("latest", None),
    };
    let tolerance = tolerance.map(|tolerance| time(Duration::from_nanos(tolerance)));
    settings.push(Setting::new("mode", mode, !names(&look_ups.mode, table)));
    settings.push(Setting::new("tolerance", tolerance.clone(), tolerance.is_none()));
    let version = version.map(|(_, column)| column.clone());
    settings.push(Setting::new("version_column", version.clone(), version.is_none()));
    let is_judged = names(&args.engine.on_miss, table) || args.is_given("unmatched");
    settings.push(Setting::new("on_miss", policy(table.on_miss), !is_judged));
    let is_spread =
        names(&args.engine.distribution, table) || arg.is_some_and(|arg| arg.distribution.is_some());
    settings.push(Setting::new("distribution", table.distribution.as_str(), !is_spread));
    if input.messages.is_some() {
        let of_table = |name: &Option<String>| name.as_ref().is_none_or(|name| *name == table.name);
        // What names the table goes before what is said of all.
        let said = input.table_ready_after.iter().filter(|(name, _)| of_table(name));
        let said = said.max_by_key(|(name, _)| name.is_some()).map(|(_, after)| after.to_string());
        let default = "its marker, if it has one";
        let after = said.clone().unwrap_or_else(|| default.to_owned());
        settings.push(Setting::new("table_ready_after", after, said.is_none()).renamed("ready after"));
    }
    Ok(Section::new(&table.name, settings))
}

fn engine(args: &RunArgs, config: &EngineConfig) -> Section {
    let engine = &args.engine;
    let mut settings = vec![
        Setting::new("workers", config.shards.get(), engine.workers.is_none()),
        Setting::new(
            "batch_len",
            plan::batch_len(engine.batch_len, config.shards),
            engine.batch_len.is_none(),
        ),
        Setting::new("queue_depth", engine.queue_depth, !args.is_given("queue_depth")),
        Setting::new("order", name_of(engine.order), !args.is_given("order")),
    ];
    if config.tables.iter().any(|table| table.on_miss.hold().is_some()) {
        let bytes = Setting::new("hold_bytes", engine.hold_bytes, !args.is_given("hold_bytes"));
        settings.push(Setting::new("hold_rows", engine.hold_rows, !args.is_given("hold_rows")));
        settings.push(bytes.shown(format!("hold-bytes {}", HumanBytes(engine.hold_bytes))));
    }
    settings.extend(args.input.limits.settings(args));
    let warning = args.is_given("stall_warning").then_some(args.stall.stall_warning);
    settings.extend(warning.map(|after| Setting::new("stall_warning", time(after), false)));
    Section::new("engine", settings)
}

/// A name as flags have it.
fn flag(name: &str) -> String {
    name.replace('_', "-")
}

/// Whether a flag says something of a table.
fn names<T>(said: &[(String, T)], table: &TableSpec) -> bool {
    said.iter().any(|(name, _)| *name == table.name)
}

/// The key of a table as `--table` has it.
fn key_text(arg: &TableArg) -> String {
    let pair = |pair: &KeyPair| {
        if pair.trades == pair.table { pair.table.clone() } else { format!("{}@{}", pair.trades, pair.table) }
    };
    arg.table.key.iter().map(pair).collect::<Vec<_>>().join("+")
}

/// A policy as `--on-miss` has it.
fn policy(policy: MissPolicy) -> String {
    let Some(Hold { limit, then }) = policy.hold() else { return policy.as_str().to_owned() };
    let (limit, clock) = match limit {
        HoldLimit::Rows(rows) => (format!("{rows}rows"), ""),
        HoldLimit::EventTime(nanoseconds) => (time(Duration::from_nanos(nanoseconds)), ""),
        HoldLimit::Processing(duration) => (time(duration), ",clock=processing"),
    };
    format!("hold={limit},then={}{clock}", Expired::as_str(then))
}

/// The name of a flag's value.
fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { input, output, tables, engine } = self;
        json!({ "input": input, "output": output, "tables": tables, "engine": engine }).serialize(serializer)
    }
}

impl Serialize for Section {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for setting in &self.settings {
            map.serialize_entry(setting.name, &setting.value)?;
        }
        let defaults = self.settings.iter().filter(|setting| setting.is_default);
        map.serialize_entry("defaults", &defaults.map(|setting| setting.name).collect::<Vec<_>>())?;
        map.end()
    }
}
