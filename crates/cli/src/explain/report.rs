//! What `tradejoin explain` says.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::HumanCount;
use serde_json::{Value, json};
use tradejoin_connectors::{NamedText, Place, key_for_people, validity_for_people};
use tradejoin_model::{LookUp, OwnedKey, TableSpec, Validity, Verdict};

use crate::arg_values::time_of_units;
use crate::args::RunArgs;
use crate::failure;
use crate::print::{self, json_line};
use crate::style::{FAINT, HEADING};

use super::Wanted;
use super::find::{Found, Trade};
use super::trace::{Event, Explained, Origin, Traced};
use super::why::{Reason, Why, why};

/// Most rows of other times that are shown.
const ROWS_MAX: usize = 5;

/// Prints what is known of the trades, and gives the exit code.
pub(super) fn print(run: &RunArgs, wanted: &Wanted, found: &Found, traced: &Traced) -> anyhow::Result<u8> {
    let text = if run.report.json { json_line(&json(found, traced))? } else { text(wanted, found, traced) };
    print::print(&text)?;
    Ok(if found.trades.is_empty() { failure::NO } else { failure::OK })
}

fn text(wanted: &Wanted, found: &Found, traced: &Traced) -> String {
    let mut text = String::new();
    let what = match wanted {
        Wanted::TradeId(id) => format!("trade_id {id}"),
        Wanted::Number(number) => format!("the number {number}"),
    };
    let read = HumanCount(found.trades_read);
    let _ = match found.trades.len() {
        0 => writeln!(text, "{HEADING}none of {read} trades has {what}{HEADING:#}"),
        1 => Ok(()),
        count => writeln!(text, "{HEADING}{count} trades have {what}{HEADING:#}\n"),
    };
    let of_trades: Vec<_> = found.trades.iter().zip(&traced.explained).collect();
    for (at, (trade, explained)) in of_trades.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        Sayer { traced, trade, explained }.say(&mut text);
    }
    if found.trades.is_empty() && traced.refused > 0 {
        text.push_str("records that were refused have no number; the first:\n");
        traced.first_refused.iter().for_each(|record| {
            let _ = writeln!(text, "  {record}");
        });
    } else if traced.refused > 0 {
        let records = if traced.refused == 1 { "record was" } else { "records were" };
        let refused = HumanCount(traced.refused);
        let _ = writeln!(
            text,
            "{FAINT}{refused} {records} refused (--on-bad-record skip), and may have had this key{FAINT:#}"
        );
    }
    text
}

/// What is to be said of one trade.
struct Sayer<'t> {
    traced: &'t Traced,
    trade: &'t Trade,
    explained: &'t Explained,
}

impl Sayer<'_> {
    fn say(&self, text: &mut String) {
        let place =
            self.trade.place.as_ref().map(|(name, place)| format!(" · {name}, {place}")).unwrap_or_default();
        let _ = writeln!(text, "{HEADING}trade {}{place}{HEADING:#}", HumanCount(self.trade.number));
        let _ = writeln!(text, "  {}", fields(&self.trade.fields));
        let tables = &self.traced.tables;
        let names = tables.iter().map(|table| table.name.chars().count());
        let width = names.chain(["outcome".len()]).max().unwrap_or_default();
        for (index, table) in tables.iter().enumerate() {
            let key = self.trade.keys[index].as_ref().map(|key| key_for_people(key, table));
            let key = key.map_or("no key".to_owned(), |key| format!("key {key}"));
            let _ = writeln!(text, "  {:width$}  {key}: {}", table.name, self.of_table(index, table));
            for more in self.more_of_table(index, table) {
                let _ = writeln!(text, "  {:width$}  {more}", "");
            }
        }
        let _ = writeln!(text, "  {:width$}  {}", "outcome", self.outcome());
    }

    fn why(&self, index: usize, table: &TableSpec) -> Why<'_> {
        why(self.trade, index, table, &self.traced.events)
    }

    /// The row that was found, or why none was.
    fn of_table(&self, index: usize, table: &TableSpec) -> String {
        if let Some(event) = self.explained.rows[index].map(|row| &self.traced.events[row]) {
            let came = if event.trades_before >= self.trade.number {
                format!(", which came while it waited, behind trade {}", HumanCount(event.trades_before))
            } else {
                String::new()
            };
            return format!("finds {}{came}", row(event));
        }
        let why = self.why(index, table);
        let first = why.rows.first();
        match why.reason {
            Reason::NoKey => format!("finds nothing: the trade has no value in its {}", table.key_column),
            Reason::NoTime => {
                "finds nothing: the trade has no timestamp, and the table is looked up by it".to_owned()
            }
            Reason::NeverThere => "finds nothing: no row ever has this key".to_owned(),
            Reason::Later => "finds nothing: no row before the trade has this key".to_owned(),
            Reason::Removed => match first {
                Some(removal) => format!("finds nothing: its row was removed before, by {}", row(removal)),
                None => "finds nothing: its row was removed before".to_owned(),
            },
            Reason::OtherTimes => "finds nothing: its rows are valid at other times".to_owned(),
            Reason::TooOld => {
                let LookUp::AsOf { tolerance: Some(most) } = table.look_up else { return String::new() };
                let age = first
                    .zip(self.trade.time)
                    .map_or_else(String::new, |(event, time)| age(time, event.validity));
                let most = time_of_units(Duration::from_nanos(most));
                format!("finds nothing: the row valid then began {age}, and --tolerance allows {most}")
            }
        }
    }

    /// What else shows why.
    fn more_of_table(&self, index: usize, table: &TableSpec) -> Vec<String> {
        let mut lines = Vec::new();
        if self.explained.rows[index].is_some() {
            return lines;
        }
        let why = self.why(index, table);
        if matches!(why.reason, Reason::OtherTimes | Reason::TooOld) {
            lines.extend(why.rows.iter().take(ROWS_MAX).map(|event| row(event)));
            if why.rows.len() > ROWS_MAX {
                lines.push(format!("and {} more", why.rows.len() - ROWS_MAX));
            }
        }
        if let Some(later) = why.later {
            lines.push(format!("it comes later: {}", row(later)));
        }
        let near = &self.explained.near[index];
        if !near.is_empty() {
            let near: Vec<_> = near.iter().map(|key| key_for_people(key, table)).collect();
            lines.push(format!("keys next to it that were there: {}", near.join(", ")));
        }
        lines
    }

    fn outcome(&self) -> String {
        let waited = match self.explained.waited {
            0 => String::new(),
            1 => ", after 1 more trade was read while it waited".to_owned(),
            trades => format!(", after {} more trades were read while it waited", HumanCount(trades)),
        };
        let Some((verdict, table)) = self.explained.verdict else {
            return format!("enriched with {}{waited}", fields(&self.explained.added));
        };
        let name = &self.traced.tables[table].name;
        match verdict {
            Verdict::Keep => format!("kept with {}{waited}", fields(&self.explained.added)),
            Verdict::Drop => format!("dropped, for {name}{waited}"),
            Verdict::DeadLetter => format!("put aside as a dead letter, for {name}{waited}"),
            Verdict::Fail => format!("ends the run, for {name}: --on-miss {name}=fail"),
            Verdict::Hold => format!("waits for {name}"),
        }
    }
}

/// `trade_id 5 · instrument_id 99`.
fn fields(fields: &[NamedText]) -> String {
    let shown = fields.iter().map(|(name, text)| match text {
        Some(text) => format!("{name} {}", text.escape_debug()),
        None => format!("{name} nothing"),
    });
    shown.collect::<Vec<_>>().join(" · ")
}

/// How long before a trade a row began.
fn age(time: i64, validity: Validity) -> String {
    if validity.from == tradejoin_model::INTEGER_NULL {
        return "since ever".to_owned();
    }
    format!("{} before the trade", time_of_units(Duration::from_nanos(time.abs_diff(validity.from))))
}

/// Where a row stands and what it says of its mode.
fn row(event: &Event) -> String {
    let mut text = match &event.origin {
        Origin::File(name, place) => format!("{name}, {place}"),
        Origin::Journal => "a row of the journal".to_owned(),
    };
    if !event.is_loaded {
        let _ = write!(text, ", behind trade {}", HumanCount(event.trades_before));
    }
    if let Some(version) = event.version {
        let _ = write!(text, ", version {version}");
    }
    if event.validity != Validity::EVER {
        let _ = write!(text, ", valid {}", validity_for_people(event.validity));
    }
    text
}

fn json(found: &Found, traced: &Traced) -> Value {
    let trades = found.trades.iter().zip(&traced.explained);
    let trades: Vec<_> = trades.map(|(trade, explained)| trade_json(trade, explained, traced)).collect();
    json!({ "trades_read": found.trades_read, "refused": traced.refused, "trades": trades })
}

fn trade_json(trade: &Trade, explained: &Explained, traced: &Traced) -> Value {
    let table = |(index, table): (usize, &TableSpec)| {
        let shown = |key: &OwnedKey| key_for_people(key, table);
        let row = explained.rows[index].map(|row| &traced.events[row]);
        let why = row.is_none().then(|| why(trade, index, table, &traced.events));
        json!({
            "table": table.name,
            "key": trade.keys[index].as_ref().map(shown),
            "row": row.map(event_json),
            "why": why.as_ref().map(|why| why.reason.as_str()),
            "rows": why.as_ref().map(|why| why.rows.iter().map(|event| event_json(event)).collect::<Vec<_>>()),
            "later": why.as_ref().and_then(|why| why.later).map(event_json),
            "near_keys": explained.near[index].iter().map(shown).collect::<Vec<_>>(),
        })
    };
    let verdict = explained.verdict.map(|(verdict, table)| (verdict, &traced.tables[table].name));
    let outcome = match verdict {
        None => "enriched",
        Some((Verdict::Keep, _)) => "kept",
        Some((Verdict::Drop, _)) => "dropped",
        Some((Verdict::DeadLetter, _)) => "dead-letter",
        Some((Verdict::Fail, _)) => "fail",
        Some((Verdict::Hold, _)) => "waiting",
    };
    json!({
        "trade": trade.number,
        "file": trade.place.as_ref().map(|(name, _)| name.to_string()),
        "place": trade.place.as_ref().map(|(_, place)| place_json(*place)),
        "fields": object(&trade.fields),
        "outcome": outcome,
        "for_table": verdict.map(|(_, table)| table),
        "waited": explained.waited,
        "added": object(&explained.added),
        "tables": traced.tables.iter().enumerate().map(table).collect::<Vec<_>>(),
    })
}

fn object(fields: &[NamedText]) -> Value {
    fields.iter().map(|(name, text)| (name.clone(), json!(text))).collect::<serde_json::Map<_, _>>().into()
}

fn place_json(place: Place) -> Value {
    match place {
        Place::Line(line) => json!({ "line": line }),
        Place::Row(row) => json!({ "row": row }),
    }
}

fn event_json(event: &Event) -> Value {
    let (file, place) = match &event.origin {
        Origin::File(name, place) => (json!(**name), place_json(*place)),
        Origin::Journal => (json!("journal"), Value::Null),
    };
    json!({
        "file": file,
        "place": place,
        "trades_before": (!event.is_loaded).then_some(event.trades_before),
        "version": event.version,
        "valid": (event.validity != Validity::EVER).then(|| validity_for_people(event.validity)),
    })
}
